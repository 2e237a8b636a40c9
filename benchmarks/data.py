"""Useful MB per CPU-second and peak memory of data preparation, beside LLaMA-Factory and data-juicer, in one run.

    python benchmarks/data.py import|clean|all [--data FOLDER] [--repeats N]
                              [--llamafactory PYTHON] [--datajuicer PYTHON]

``import``   the files that both can read, to tokens; xinglin also with its whole chain
``clean``    every text of the folder as a document: cleaned and without copies
``all``      every file of the folder: ``xinglin data check``, and the chain of the data stage

A useful MB is one of text (UTF-8) in the rows that xinglin uses: neither keys nor rows that are quarantined. All
have one process, one thread, the same tokenizer (32,000 tokens, text cut as Qwen's does) and template (Qwen2.5's, which
knows tools), a limit of tokens that no row reaches, and an empty cache; they take turns, and the best of
``--repeats`` runs counts. The peers run in environments of their own (docs/performance.md) and are left out without.
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from training import FACTORY, SCRIPTS, measure

from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.bulk import PATTERNS
from xinglin.data.records import Record, kind_of, texts
from xinglin.data.sources import Source, files, read
from xinglin.data.templates import load_template
from xinglin.errors import DataError
from xinglin.models.tokenizer import END_OF_TEXT, TURN_END, TURN_START

JUICER = "data-juicer 1.6.1"
OURS = "xinglin"
VOCABULARY = 32_000
DATA = Path(__file__).parents[2] / "shared/data/train"
ALPACA: dict[str, Any] = {}
SHAREGPT: dict[str, Any] = {"formatting": "sharegpt", "columns": {"messages": "conversations"}}
BOTH: dict[str, dict[str, Any]] = {
    "huatuo-bencao/llama_data.json": ALPACA,
    "huatuo-bencao/liver_cancer.json": ALPACA,
    "medicalgpt/Belle_open_source_1k.v2023-06.json": ALPACA,
    "chatdoctor/chatdoctor5k.json": ALPACA,
    "llamafactory-demo/alpaca_zh_demo.json": ALPACA,
    "llamafactory-demo/identity.json": ALPACA,
    "shennong-tcm/ChatMed_TCM-v0.2.2records.jsonl": {"columns": {"prompt": "query", "response": "response"}},
    "medicalgpt/medical_sft_1K_format.jsonl": SHAREGPT,
    "medicalgpt/sharegpt_zh_1K_format.jsonl": SHAREGPT,
    "medicalgpt/glaive_toolcall_zh_demo.jsonl": {
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "tools": "tools"},
    },
}
"""Files that LLaMA-Factory reads as they are, and what ``dataset_info.json`` has to say of them."""


class Found(NamedTuple):
    """What is in some files."""

    splits: dict[str, dict[str, Any]]
    """For a data stage: a split for each kind of record."""
    records: list[Record]

    @property
    def megabytes(self) -> float:
        return sum(len(text.encode()) for record in self.records for text in texts(record)) / 1e6


OF_DATA = {OURS: "data_ours.py", FACTORY: "data_llamafactory.py", JUICER: "with_data_juicer.py"}
"""The scripts of this benchmark, in ``contenders/``."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=("import", "clean", "all"))
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--llamafactory", metavar="PYTHON", help="of LLaMA-Factory's environment")
    parser.add_argument("--datajuicer", metavar="PYTHON", help="of data-juicer's environment")
    arguments = parser.parse_args()
    SCRIPTS.update(OF_DATA)
    pythons = {OURS: sys.executable, FACTORY: arguments.llamafactory, JUICER: arguments.datajuicer}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = [arguments.data / file for file in BOTH] if arguments.task == "import" else [arguments.data]
        found = inspect(paths, folder)
        prepare(folder, arguments.task, found, arguments.data)
        contenders = {
            "import": [(OURS, "import"), (FACTORY, "import"), (OURS, "chain")],
            "clean": [(OURS, "clean"), (JUICER, "clean"), (OURS, "copies"), (JUICER, "copies")],
            "all": [(OURS, "check"), (OURS, "chain")],
        }[arguments.task]
        present = [each for each in contenders if pythons[each[0]]]
        print(f"{arguments.task}: {len(found.records):,} records, {found.megabytes:.1f} MB of text")
        results = measure(folder, present, pythons, arguments.repeats)
    first = results[present[0]].cpu_seconds
    print(f"\n{'':36}{'MB/CPU-s':>10}{present[0][1] + ' is':>12}{'peak MiB':>10}")
    for (name, setting), result in results.items():
        speed, ratio = found.megabytes / result.cpu_seconds, result.cpu_seconds / first
        print(f"{f'{name}, {setting}':36}{speed:10.2f}{ratio:11.2f}x{result.peak_mib:10,.0f}")


def inspect(paths: list[Path], folder: Path) -> Found:
    """Read all files; each belongs to the split of the kind that most of its records are of."""
    splits: dict[str, dict[str, Any]] = {}
    records: list[Record] = []
    with Quarantine(folder / "quarantine.jsonl") as quarantine:
        for path in [file for each in paths for file in files(Source(path=str(each)))]:
            try:
                source = Source(path=str(path))
                made = list(read(source, kind="any", account=SourceAccount(), quarantine=quarantine))
            except DataError:
                continue  # a page beside the data
            if made:
                kind = Counter(map(kind_of, made)).most_common(1)[0][0]
                splits.setdefault(kind, {"sources": []})["sources"].append({"path": str(path)})
                records += made
    return Found(splits, records)


def prepare(folder: Path, task: str, found: Found, data: Path) -> None:
    """What the contenders read: the job, a tokenizer and small model, LLaMA-Factory's registry, all texts."""
    sample = random.Random(0).sample(found.records, min(6000, len(found.records)))
    save_tokenizer(folder / "model", sample)
    splits = found.splits
    if task == "clean":
        splits = {"document": {"sources": [{"path": str(folder / "texts.jsonl"), "format": "text"}]}}
        with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
            for record in found.records:
                file.write(json.dumps({"text": "\n".join(texts(record))}, ensure_ascii=False) + "\n")
    described = {Path(name).stem: {"file_name": str(data / name), **facts} for name, facts in BOTH.items()}
    write_json(folder / "dataset_info.json", described)
    write_job(folder, splits, datasets=list(described))


def save_tokenizer(folder: Path, records: list[Record]) -> None:
    """One that cuts text as Qwen's does, trained on ``records``; with a model's config, which LLaMA-Factory reads."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        trainers,
    )
    from transformers import PreTrainedTokenizerFast, Qwen3Config

    tokenizer = Tokenizer(models.BPE())
    cut = pre_tokenizers.Split(Regex(PATTERNS["qwen"]), "isolated")
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=[AddedToken(token, special=True) for token in (END_OF_TEXT, TURN_START, TURN_END)],
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for record in records for text in texts(record)), trainer)
    whole = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=TURN_END, pad_token=END_OF_TEXT)
    whole.chat_template = load_template("qwen2_5")
    whole.save_pretrained(folder)
    Qwen3Config(vocab_size=VOCABULARY).save_pretrained(folder)


def write_job(folder: Path, splits: dict[str, dict[str, Any]], **more: Any) -> None:
    # LLaMA-Factory's settings are those of its training task.
    job = {"task": "prepare", "rows_per_step": 8, "rl": {}, "splits": splits, **more}
    write_json(folder / "job.json", job)


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
