"""xinglin on a prepared job: the stage itself runs, with its own config, session, loop and checkpoint.

    python benchmarks/contenders/ours.py FOLDER SETTING

Timed: the loop, from the first step (or rollout) to the end of the last one, and the reference's pass of DPO. Not
timed: imports, loading, tokenising (that is the task ``prepare``), saving.
"""

import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from job import Job

from xinglin import plugins
from xinglin.runtime.artifact import Artifact
from xinglin.runtime.stage_run import StageRun

TRAINED = {
    "model": "base",
    "data": "stage:data",
    "tuning": "full",
    "precision": "bf16",
    "max_tokens": 1024,
    "save_every_steps": 10**6,
    "optimizer": {"learning_rate": 1e-6},
}


def main() -> None:
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    job = Job()
    if job.task == "prepare":
        job.spent(prepare(job))()
    else:
        data = run_stage(job, "data", {"splits": {"train": source(job)}, "tokenizer": "base"}, {})
        watch(job)
        run_stage(job, job.task, settings(job), {"stage:data": data})
    job.report()


def settings(job: Job) -> dict[str, Any]:
    """The stage's settings; whatever is not here is at its default."""
    if job.task not in ("grpo", "ppo"):
        return {**TRAINED, "batch_size": job.rows_per_step, "micro_batch_tokens": int(job.setting)}
    shared = {
        **TRAINED,
        "max_new_tokens": job.rl["new_tokens"],
        "rollout_prompts": job.rl["prompts"],
        "micro_batch_tokens": int(job.setting),
    }
    if job.task == "grpo":
        rule = {"name": "length", "longest": 10}
        return {**shared, "answers_per_prompt": job.rl["answers"], "rewards": [rule]}
    rewards = [{"name": "model", "model": "stage:reward", "normalise": False}]
    return {**shared, "tuning": "lora", "rollout_epochs": job.rl["epochs"], "rewards": rewards}


def source(job: Job) -> dict[str, Any]:
    return {"sources": [{"path": str(job.folder / "rows.jsonl")}]}


def prepare(job: Job) -> Callable[[], object]:
    """From the JSON Lines file to the first batch, as a training stage does it; what imports take is left out."""
    import gc

    from xinglin.data.packing import Plan, pack
    from xinglin.data.rendering import Renderer
    from xinglin.data.splits import open_shards
    from xinglin.models.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(job.model)
    gc.freeze()  # as the process does that stages are copied from

    def first_batch() -> object:
        path, places = job.folder / "rows.jsonl", [Path(tempfile.mkdtemp(dir=job.folder))]
        shards = open_shards(path, Renderer(tokenizer), max_tokens=1024, policy="split", places=places)
        plan = Plan(shards.lengths, shards.counts, batch_size=job.rows_per_step, micro_batch_tokens=2048)
        return pack(shards, plan[0].micro_batches[0][0])

    return first_batch


def watch(job: Job) -> None:
    from xinglin.train import reference
    from xinglin.train.loop import Loop
    from xinglin.train.rl import training

    run, step = Loop._run, Loop._step

    def begun(loop: Loop, bar: Any) -> None:
        job.begin()
        run(loop, bar)

    def ended(loop: Loop, *arguments: Any) -> None:
        step(loop, *arguments)
        job.end()

    Loop._run, Loop._step = begun, ended  # type: ignore[method-assign]
    reference.summed_log_probs = job.spent(reference.summed_log_probs)
    sampling = training.Sampling

    def endless(most: int, stops: tuple[int, ...], *others: Any) -> Any:
        """No token ends an answer, so that all contenders write equally much."""
        return sampling(most, (-1,), *others)

    training.Sampling = endless  # type: ignore[misc, assignment]


def run_stage(job: Job, kind: str, config: dict[str, Any], inputs: dict[str, Any]) -> Artifact:
    """Run a stage as the pipeline would, in this process."""
    module = plugins.load("xinglin.stages", kind)
    out = Path(tempfile.mkdtemp(dir=job.folder))
    run = StageRun(
        name=kind,
        seed=0,
        out=out,
        final=out,
        scratch=out / "scratch",
        cache=out / "cache",
        base=job.model,
        inputs={"base": job.model, "stage:reward": str(job.folder / "reward"), **inputs},
    )
    outcome = module.run(module.Config.model_validate({"kind": kind, **config}), run)
    return Artifact(out, kind, outcome.kind, kind, kind, config=config, details=outcome.details)


if __name__ == "__main__":
    main()
