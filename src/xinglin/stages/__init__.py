"""The stages of a recipe; ``kind: sft`` is ``sft.py``.

A stage module has
    Config     a ``StageConfig``; fields of type ``DataInput``, ``ModelInput``, ``RewardInput`` or a list of them are
               its inputs, those of settings within it too (``rewards.0.model``); ``TrainingSplit`` and ``AnySplit``
               name splits of its ``data``
    PRODUCES   the kind of artifact that it makes (``dataset``, ``model``, ``adapter``, ``reward_model``,
               ``evaluation``) or several; then ``produces(config, kinds) -> str`` says which,
               given the kinds that its inputs may be, {field: kinds}
    run(config: Config, run: StageRun) -> Outcome
               writes into ``run.out``, which may hold files of an interrupted attempt; keeps checkpoints in
               ``run.scratch``; raises ``Interrupted`` soon after ``run.stop_requested()`` turns true
and may have
    DISTRIBUTED
               True: where ``torchrun`` started several processes, ``run`` is called in each of them at once, with the
               same arguments; only the first one's artifact counts, and only it may write (``train.processes``)
    LIBRARY    packages of xinglin whose code decides what it makes, beyond those that ``runtime.plan.LIBRARY`` has for
               its kind of artifact; when that code changes, the stage runs again
    check(config, kinds)
               refuses settings that do not fit the artifact kinds of its inputs, {field: kinds}, by a XinglinError
    check_records(config, records)
               refuses settings that do not fit the kinds of record that the splits of its ``data`` hold, {split: kind}
               of those whose kind is known before they are made, by a XinglinError
    check_start(config, descent)
               refuses settings that do not fit where its model comes from (``Descent``), by a XinglinError
    splits(config, given) -> {name: SplitFacts}
               the splits of the data set that it makes, from those of its ``data``: a name that is none of them is
               refused in every later stage before any work
    sources(config) -> {label: hash}
               the content of every file outside the run that it reads; raises DataError for a missing one
    plan(config, run) -> {label: text}
               what ``--dry-run`` shows beside it (tokens, forecast of memory); ``run.inputs`` holds only those
               inputs that are finished already

The first line of its docstring is shown by ``xinglin list stages``. Importing it must not import torch: the
pipeline does so to check recipes. ``run`` is called in a process of its own, where PRELOAD is imported already.
"""

PRELOAD = ("xinglin.train.fit", "xinglin.engines.transformers", "transformers.models.auto.modeling_auto")
