"""TRL's trainers on a prepared job.

    python benchmarks/contenders/with_trl.py FOLDER SETTING

Timed: from the first optimizer step to the end of the last one, generation included, and the reference's pass of DPO.
Common to all settings: bf16 autocast, no gradient checkpointing, no saving; what differs is in ``OPTIONS``.
"""

import json
import warnings
from typing import Any

from job import Job

WHOLE = {"max_length": None}
OPTIONS: dict[str, dict[str, Any]] = {
    "padding-free": {**WHOLE, "padding_free": True},
    "packed": {"packing": True, "packing_strategy": "bfd_split", "max_length": 1024},
    "padded": WHOLE,
    "one-by-one": WHOLE,
    "generate": {},
}
PER_PASS = {"packed": 1, "one-by-one": 1}
"""Rows of a forward pass where it is not a whole step."""


def main() -> None:
    warnings.filterwarnings("ignore")
    import torch

    torch.set_num_threads(1)
    job = Job()
    trainer = {"sft": sft, "reward": reward, "dpo": dpo, "grpo": grpo, "prepare": prepare}[job.task](job)
    if trainer is not None:
        trainer.add_callback(job.callback())
        trainer.train()
    job.report()


def arguments(job: Job) -> dict[str, Any]:
    each = PER_PASS.get(job.setting, job.rows_per_step)
    return {
        "output_dir": str(job.folder / "trl"),
        "use_cpu": True,
        "bf16": True,
        "gradient_checkpointing": False,
        "per_device_train_batch_size": each,
        # A packed row is as long as an average step.
        "gradient_accumulation_steps": 1 if job.setting == "packed" else job.rows_per_step // each,
        "num_train_epochs": 1,
        "learning_rate": 1e-6,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        **OPTIONS[job.setting],
    }


def tokenizer(job: Job) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(job.model)


def sft(job: Job) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = job.rows("tokens")
    return SFTTrainer(
        job.model,
        args=SFTConfig(**arguments(job)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(job),
    )


def reward(job: Job) -> Any:
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    rows = [
        {
            "chosen_ids": row["prompt_ids"] + row["chosen_ids"],
            "rejected_ids": row["prompt_ids"] + row["rejected_ids"],
        }
        for row in job.rows("tokens")
    ]
    return RewardTrainer(
        AutoModelForSequenceClassification.from_pretrained(job.model, num_labels=1),
        args=RewardConfig(**arguments(job), center_rewards_coefficient=0.01),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(job),
    )


def dpo(job: Job) -> Any:
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    DPOTrainer._precompute_ref_logps = job.spent(DPOTrainer._precompute_ref_logps)
    rows = [{**row, "chosen": [row["chosen"]], "rejected": [row["rejected"]]} for row in job.rows()]
    return DPOTrainer(
        job.model,
        args=DPOConfig(**arguments(job), precompute_ref_log_probs=True),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer(job),
    )


def grpo(job: Job) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    own = arguments(job)
    answers = job.rl["prompts"] * job.rl["answers"]
    own |= {
        "per_device_train_batch_size": job.rl["answers"],
        "gradient_accumulation_steps": job.rl["prompts"],
    }

    def shortness(completions: list[Any], **others: Any) -> list[float]:
        return [-len(completion[0]["content"]) / 100 for completion in completions]

    return GRPOTrainer(
        job.model,
        args=GRPOConfig(
            **own,
            num_generations=job.rl["answers"],
            generation_batch_size=answers,
            max_completion_length=job.rl["new_tokens"],
            # Nothing ends an answer, so that all contenders write equally much.
            generation_kwargs={"eos_token_id": None},
        ),
        reward_funcs=shortness,
        train_dataset=Dataset.from_list([{"prompt": row["messages"][:-1]} for row in job.rows()]),
        processing_class=tokenizer(job),
    )


def prepare(job: Job) -> None:
    """From a JSON Lines file in TRL's own form to the first batch; the model plays no part in it."""
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    path = job.folder / "prompts.jsonl"
    rows = [{"prompt": row["messages"][:-1], "completion": row["messages"][-1:]} for row in job.rows()]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")

    def load() -> Any:
        return load_dataset("json", data_files=str(path), split="train")

    SFTTrainer._prepare_dataset = job.spent(SFTTrainer._prepare_dataset)
    trainer = SFTTrainer(
        job.model,
        args=SFTConfig(**arguments(job)),
        train_dataset=job.spent(load)(),
        processing_class=tokenizer(job),
    )
    job.spent(lambda: next(iter(trainer.get_train_dataloader())))()


if __name__ == "__main__":
    main()
