"""Useful tokens per CPU-second and peak memory of SFT, beside TRL, in one run.

    make bench            (or: python benchmarks/sft_throughput.py --data FILE.jsonl --rows 200)

Model: Qwen3 shape of 8M parameters (width 256, 4 layers, vocabulary 8192, untied head), random. Data: rows of
conversations (``medical_sft_1K_format.jsonl`` where it is present, else the packaged sample dialogues); all
contenders get the same tokens and the same labels (answers only), at most 512 tokens a row, 8 rows a step, bf16
autocast, one thread. Each contender runs in a process of its own, in turn, ``--repeats`` times; the best run of each
counts. A useful token is one that is not padding. Measured: CPU-seconds from the first step to the last.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from xinglin.runtime.environment import library_variables

CONTENDERS = {
    "trl-defaults": "TRL 1.16, defaults (padding, gradient checkpointing)",
    "trl-grouped": "TRL, padding, grouped by length, no checkpointing",
    "trl-padding-free": "TRL, padding-free batches, no checkpointing",
    "trl-packed": "TRL, packing bfd_split, one 1024-token row, no checkpointing",
    "xinglin": "xinglin, packed, isolated per document",
}
ROWS_PER_STEP = 8
MAX_TOKENS = 512
DEFAULT_DATA = Path("../shared/data/train/medicalgpt/medical_sft_1K_format.jsonl")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default=str(DEFAULT_DATA) if DEFAULT_DATA.is_file() else "sample:dialogues")
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        print(json.dumps(work(arguments.worker, Path(arguments.folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        tokens = prepare(arguments.data, arguments.rows, Path(folder))
        print(f"{arguments.data}: {arguments.rows} rows, {tokens:,} tokens, {ROWS_PER_STEP} rows a step\n")
        report(measure(Path(folder), arguments.repeats))


def prepare(data: str, rows: int, folder: Path) -> int:
    """Tokenise once, for all contenders alike; returns the number of tokens."""
    from itertools import islice

    from xinglin.data.accounting import Quarantine, SourceAccount
    from xinglin.data.records import Conversation, texts
    from xinglin.data.rendering import Renderer
    from xinglin.data.shards import ShardWriter
    from xinglin.data.sources import Source, read
    from xinglin.data.templates import load_template
    from xinglin.models.tokenizer import train_tokenizer

    with Quarantine(folder / "quarantine.jsonl") as quarantine:
        found = read(Source(path=data), kind="conversation", account=SourceAccount(), quarantine=quarantine)
        records = [record for record in found if isinstance(record, Conversation)]
    tokenizer = train_tokenizer((text for record in records for text in texts(record)), vocabulary=8192)
    tokenizer.chat_template = load_template("chatml")
    tokenizer.save_pretrained(folder)
    renderer = Renderer(tokenizer)
    encoded = renderer.encode([renderer.conversation(record.messages) for record in records])
    chosen = list(islice((row for row in encoded if len(row) <= MAX_TOKENS), rows))
    writer = ShardWriter(folder / "shards", vocabulary=8192)
    for number, row in enumerate(chosen):
        writer.add(row.ids, row.mask, row=number)
    return int(writer.close()["tokens"])


def measure(folder: Path, repeats: int) -> dict[str, dict[str, float]]:
    """The best run of each contender; they take turns, so that a busy machine hurts all alike."""
    best: dict[str, dict[str, float]] = {}
    environment = {**library_variables(offline=True), "OMP_NUM_THREADS": "1"}
    for _ in range(repeats):
        for name in CONTENDERS:
            command = [sys.executable, __file__, "--worker", name, "--folder", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, env=environment)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr}")
            result = json.loads(done.stdout.splitlines()[-1])
            if name not in best or result["cpu_seconds"] < best[name]["cpu_seconds"]:
                best[name] = result
            print(f"  {name}: {result['tokens'] / result['cpu_seconds']:,.0f} useful tokens per CPU-second")
    return best


def report(results: dict[str, dict[str, float]]) -> None:
    ours = results["xinglin"]
    print(f"\n{'':58}{'tokens/CPU-s':>13}{'speed-up':>10}{'peak MiB':>10}")
    for name, result in results.items():
        speed = result["tokens"] / result["cpu_seconds"]
        ratio = ours["tokens"] / ours["cpu_seconds"] / speed
        print(f"{CONTENDERS[name]:58}{speed:13,.0f}{ratio:9.2f}x{result['peak_mib']:10,.0f}")


def work(name: str, folder: Path) -> dict[str, float]:
    warnings.filterwarnings("ignore")
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=8192,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        intermediate_size=768,
        tie_word_embeddings=False,
        max_position_embeddings=2048,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    result = (ours if name == "xinglin" else trl)(name, model, folder)
    return {**result, "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def ours(name: str, model: object, folder: Path) -> dict[str, float]:
    from accelerate import Accelerator

    from xinglin.config.parts import Optimizer
    from xinglin.data.packing import Plan
    from xinglin.data.shards import Shards
    from xinglin.models.attention import packed_attention
    from xinglin.models.packed import PackedModel
    from xinglin.train.batches import shard_batches
    from xinglin.train.loop import Loop, Schedule
    from xinglin.train.objectives.language_modeling import Objective

    shards = Shards(folder / "shards")
    wrapped = PackedModel(model)  # type: ignore[arg-type]
    out = Path(tempfile.mkdtemp(dir=folder))
    loop = Loop(
        model=wrapped,
        batches=shard_batches(
            shards,
            Plan(shards.lengths, shards.counts, batch_size=ROWS_PER_STEP, micro_batch_tokens=1024),
            Objective(),
            split="train",
        ),
        optimizer_config=Optimizer(learning_rate=2e-5),
        schedule=Schedule(log_every=10, save_every=10**9, eval_every=None),
        accelerator=Accelerator(mixed_precision="bf16", cpu=True),
        out=out,
        scratch=out,
        seed=0,
    )
    clock: list[float] = []
    step = loop._step

    def timed(*arguments: object) -> None:
        clock.append(time.process_time())
        step(*arguments)  # type: ignore[arg-type]
        clock.append(time.process_time())

    loop._step = timed  # type: ignore[method-assign]
    with packed_attention(wrapped.core):
        state = loop.fit()
    return {"tokens": state.tokens, "cpu_seconds": clock[-1] - clock[0]}


def trl(name: str, model: object, folder: Path) -> dict[str, float]:
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from xinglin.data.shards import Shards

    shards = Shards(folder / "shards")
    rows = []
    for index in range(len(shards)):
        ids, trained = shards[index]
        labels = [int(token) if keep else -100 for token, keep in zip(ids, trained, strict=True)]
        rows.append({"input_ids": ids.tolist(), "labels": labels, "length": len(ids)})
    options = {
        "trl-defaults": {},
        "trl-grouped": {
            "gradient_checkpointing": False,
            "train_sampling_strategy": "group_by_length",
            "length_column_name": "length",
        },
        "trl-padding-free": {"gradient_checkpointing": False, "padding_free": True, "max_length": None},
        "trl-packed": {
            "gradient_checkpointing": False,
            "packing": True,
            "packing_strategy": "bfd_split",
            "max_length": 1024,
            "per_device_train_batch_size": 1,
        },
    }[name]
    settings = {
        "output_dir": str(folder / name),
        "use_cpu": True,
        "bf16": True,
        "per_device_train_batch_size": ROWS_PER_STEP,
        "num_train_epochs": 1,
        "learning_rate": 2e-5,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    clock: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *arguments: object, **keywords: object) -> None:
            clock.append(time.process_time())

        def on_step_end(self, *arguments: object, **keywords: object) -> None:
            clock.append(time.process_time())

    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(**(settings | options)),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(folder),
        callbacks=[Clock()],
    )
    trainer.train()
    return {"tokens": sum(len(row["input_ids"]) for row in rows), "cpu_seconds": clock[-1] - clock[0]}


if __name__ == "__main__":
    main()
