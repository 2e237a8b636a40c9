"""LLaMA-Factory on the job ``import`` of ``data.py``: ``dataset_info.json`` is in the folder.

    PYTHON_OF_LLAMAFACTORY benchmarks/contenders/data_llamafactory.py FOLDER SETTING

Timed: ``get_dataset``, which reads, converts and tokenises; without imports and loading the tokenizer. Its cache is
empty, as on first use.
"""

import warnings
from typing import Any

from job import Job
from with_llamafactory import arguments


class Prepared(Exception):
    """The data are tokenised."""


def main() -> None:
    warnings.filterwarnings("ignore")
    import torch
    from llamafactory.train.sft import workflow
    from llamafactory.train.tuner import run_exp

    torch.set_num_threads(1)
    job = Job()
    get_dataset = job.spent(workflow.get_dataset)

    def prepared(*given: Any, **named: Any) -> None:
        get_dataset(*given, **named)
        raise Prepared

    workflow.get_dataset = prepared
    try:
        asked = {"dataset": ",".join(job.facts["datasets"]), "template": "qwen", "cutoff_len": 1 << 16}
        run_exp({**arguments(job), **asked}, callbacks=[])
    except Prepared:
        job.report()


if __name__ == "__main__":
    main()
