"""The folder that all contenders of ``training.py`` read.

job.json        task, rows per optimizer step, sizes of rollouts
rows.jsonl      the rows as text: messages, or prompt, chosen and rejected
tokens.jsonl    the same rows tokenised, with labels
model/          a random Qwen3 of 8 or 60 million parameters with a tokenizer trained on the rows
reward/         (PPO) a reward adapter on that model;  reward_merged/  the same as a plain sequence classifier
"""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

MAX_TOKENS = 1000
ROWS_PER_STEP = 8
DATA = Path("../shared/data/train")
DIALOGUES = "medicalgpt/medical_sft_1K_format.jsonl"
SOURCES = {
    "conversation": ([DIALOGUES], "sample:dialogues"),
    "preference": (["medicalgpt/dpo_zh_500.jsonl"], "sample:preferences"),
    "prepare": (
        [
            DIALOGUES,
            "medicalgpt/sharegpt_zh_1K_format.jsonl",
            "medicalgpt/Belle_open_source_1k.v2023-06.json",
            "huatuo-bencao/llama_data.json",
            "huatuo-bencao/liver_cancer.json",
            "zhongjing/huatuo26M_test.json",
            "chatdoctor/chatdoctor5k.json",
        ],
        "sample:dialogues",
    ),
}
"""Real rows where they are at hand, else those that come with xinglin."""
SHAPES: dict[str, dict[str, Any]] = {
    "8m": {"hidden_size": 256, "num_hidden_layers": 4, "intermediate_size": 768, "num_attention_heads": 8},
    "60m": {
        "hidden_size": 640,
        "num_hidden_layers": 10,
        "intermediate_size": 1920,
        "num_attention_heads": 20,
    },
}
VOCABULARY = 8192
RL = {
    "grpo": {"prompts": 4, "answers": 8, "new_tokens": 64, "epochs": 1},
    "ppo": {"prompts": 32, "answers": 1, "new_tokens": 64, "epochs": 4},
}


@dataclass(frozen=True)
class Prepared:
    source: str
    rows: int
    tokens: int
    """Useful ones: not padding, and what a pair shares counted in both of its sequences; of PPO and GRPO, prompt and
    answer of every answer."""


def prepare(folder: Path, task: str, *, size: str, rows: int) -> Prepared:
    """Fill ``folder`` for ``task``."""
    from xinglin.data.rendering import Renderer

    kind = "preference" if task in ("reward", "dpo") else "conversation"
    names, packaged = SOURCES[task if task in SOURCES else kind]
    real = [str(DATA / name) for name in names]
    sources = real if all(Path(path).is_file() for path in real) else [packaged]
    records = [record for source in sources for record in _records(source, kind, folder)]
    if len(sources) > 1:
        random.Random(0).shuffle(records)
    tokenizer = _model(folder / "model", records, SHAPES[size])
    renderer = Renderer(tokenizer)
    kept = [row for row in _encoded(renderer, records, kind) if row[1]["length"] <= MAX_TOKENS]
    if rows % RL.get(task, {}).get("prompts", 1):
        raise SystemExit(
            f"{rows} rows make no whole rollouts; --rows must be a multiple of {RL[task]['prompts']}"
        )
    chosen = list(islice(kept, rows))
    for place, name in enumerate(("rows", "tokens")):
        text = "".join(json.dumps(row[place], ensure_ascii=False) + "\n" for row in chosen)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    job = {"task": task, "rows_per_step": ROWS_PER_STEP, "rl": RL.get(task, {})}
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    if task == "ppo":
        _reward_model(folder)
    return Prepared(", ".join(sources), len(chosen), sum(_useful(row, task) for _, row in chosen))


def _records(source: str, kind: Any, folder: Path) -> Iterator[Any]:
    from xinglin.data.accounting import Quarantine, SourceAccount
    from xinglin.data.sources import Source, read

    with Quarantine(folder / "quarantine.jsonl") as quarantine:
        yield from read(Source(path=source), kind=kind, account=SourceAccount(), quarantine=quarantine)


def _model(folder: Path, records: list[Any], shape: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, Qwen3Config

    from xinglin.data.records import texts
    from xinglin.data.templates import load_template
    from xinglin.models.tokenizer import train_tokenizer

    tokenizer = train_tokenizer((text for each in records for text in texts(each)), vocabulary=VOCABULARY)
    tokenizer.chat_template = load_template("chatml")
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        **shape,
        num_key_value_heads=shape["num_attention_heads"] // 2,
        head_dim=32,
        tie_word_embeddings=False,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer


def _encoded(renderer: Any, records: list[Any], kind: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Each record as text and as tokens."""
    for record in records:
        if kind == "conversation":
            messages = [message.to_json() for message in record.messages]
            (row,) = renderer.encode([renderer.conversation(record.messages)])
            ids = row.ids.tolist()
            labels = [token if keep else -100 for token, keep in zip(ids, row.mask, strict=True)]
            prompt = renderer.prompt_ids(record.messages[:-1])
            tokens = {"input_ids": ids, "labels": labels, "prompt_ids": prompt, "length": len(ids)}
            yield {"messages": messages}, tokens
            continue
        prompt = renderer.prompt_ids(record.prompt)
        sides = renderer.encode(
            [renderer.preference(record.prompt, answer) for answer in (record.chosen, record.rejected)]
        )
        chosen, rejected = (side.ids[len(prompt) :].tolist() for side in sides)
        text = {"prompt": [message.to_json() for message in record.prompt]}
        text |= {
            name: {"role": "assistant", "content": getattr(record, name)} for name in ("chosen", "rejected")
        }
        longest = len(prompt) + max(len(chosen), len(rejected))
        yield (
            text,
            {"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected, "length": longest},
        )


def _useful(row: dict[str, Any], task: str) -> int:
    if task in RL:
        return RL[task]["answers"] * (len(row["prompt_ids"]) + RL[task]["new_tokens"])
    if "chosen_ids" in row:
        return 2 * len(row["prompt_ids"]) + len(row["chosen_ids"]) + len(row["rejected_ids"])
    return int(row["length"])


def _reward_model(folder: Path) -> None:
    """A random reward adapter, in xinglin's form and merged into a sequence classifier."""
    from xinglin.config.parts import Lora
    from xinglin.data.rendering import Renderer
    from xinglin.models.adapter import write_base
    from xinglin.models.load import load_model
    from xinglin.models.lora import add_lora, save_lora
    from xinglin.models.score_head import add_score_head

    base = str(folder / "model")
    model, tokenizer = load_model(base)
    adapted: Any = add_lora(add_score_head(model, Renderer(tokenizer), seed=0), Lora(), seed=0)
    save_lora(adapted, folder / "reward", base=base)
    write_base(folder / "reward", base, seed=0)
    tokenizer.save_pretrained(folder / "reward")
    adapted.merge_and_unload().save_pretrained(folder / "reward_merged")
