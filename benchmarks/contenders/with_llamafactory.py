"""LLaMA-Factory on a prepared job.

    PYTHON_OF_LLAMAFACTORY benchmarks/contenders/with_llamafactory.py FOLDER SETTING

Timed as TRL is. Its own DPO asks a frozen copy of the model at every step. SFT packs rows that do not see each other
(``neat_packing``), which reward and DPO have no counterpart to: they pad.
"""

import json
import tempfile
import warnings
from typing import Any

from job import Job

SHAREGPT = {
    "formatting": "sharegpt",
    "tags": {
        "role_tag": "role",
        "content_tag": "content",
        "user_tag": "user",
        "assistant_tag": "assistant",
        "system_tag": "system",
    },
}
STAGES = {"sft": "sft", "prepare": "sft", "reward": "rm", "dpo": "dpo"}


def main() -> None:
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    job = Job()
    describe_data(job)
    if job.task == "prepare":
        prepare(job)
    else:
        from llamafactory.train.tuner import run_exp

        run_exp(arguments(job), callbacks=[job.callback()])
    job.report()


def describe_data(job: Job) -> None:
    if "messages" in job.rows()[0]:
        columns: dict[str, Any] = {"columns": {"messages": "messages"}}
    else:
        names = {"messages": "prompt", "chosen": "chosen", "rejected": "rejected"}
        columns = {"ranking": True, "columns": names}
    info = {"rows": {"file_name": "rows.jsonl", **SHAREGPT, **columns}}
    (job.folder / "dataset_info.json").write_text(json.dumps(info), encoding="utf-8")


def arguments(job: Job) -> dict[str, Any]:
    packed = {"packing": True, "neat_packing": True} if job.setting == "packed" else {}
    each = job.rows_per_step if job.setting == "padded" else 1
    return {
        "stage": STAGES[job.task],
        "do_train": True,
        "finetuning_type": "full",
        "model_name_or_path": job.model,
        "template": "chatml",
        "flash_attn": "sdpa",
        "disable_gradient_checkpointing": True,
        "dataset_dir": str(job.folder),
        "dataset": "rows",
        "cutoff_len": 1024,
        "output_dir": tempfile.mkdtemp(dir=job.folder),
        "overwrite_cache": True,
        "per_device_train_batch_size": each,
        # A packed row is as long as an average step.
        "gradient_accumulation_steps": 1 if packed else job.rows_per_step // each,
        "num_train_epochs": 1,
        "learning_rate": 1e-6,
        "use_cpu": True,
        "bf16": True,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **packed,
    }


def prepare(job: Job) -> None:
    """From the JSON Lines file to the first batch; training is not begun."""
    from llamafactory.train.sft import workflow
    from llamafactory.train.tuner import run_exp

    class Prepared(Exception):
        """There is a first batch."""

    def train(trainer: Any, **named: Any) -> None:
        job.spent(lambda: next(iter(trainer.get_train_dataloader())))()
        raise Prepared

    workflow.get_dataset = job.spent(workflow.get_dataset)
    workflow.CustomSeq2SeqTrainer.train = train
    try:
        run_exp(arguments(job), callbacks=[])
    except Prepared:
        return


if __name__ == "__main__":
    main()
