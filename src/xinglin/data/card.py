"""The card of a data set: where it came from, under which terms, what was taken out and why, and what it is like.

``card.json`` holds everything; ``card.md`` is for people. Neither holds personal data that the detectors find.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xinglin.data import licences
from xinglin.data.deidentify import Deidentification
from xinglin.data.records import Conversation, Document, Preference, Question, Record
from xinglin.data.splits import read_split
from xinglin.data.treatment import redactor
from xinglin.report.findings import counted, findings
from xinglin.runtime import atomic

JSON, MARKDOWN = "card.json", "card.md"
SAMPLES = 2
"""Records of each split that are shown."""
SHOWN = 300
"""Characters of each."""


def write(folder: Path, details: Mapping[str, Any], *, files: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write both forms into the folder of a data set.

    Args:
        details: of its artifact.
        files: the account of every file that was read.
    """
    splits: Mapping[str, dict[str, Any]] = details["splits"]
    sources = [_source(name, source) for name, split in splits.items() for source in split["sources"]]
    card = {
        "splits": {name: {**split, "sources": None} for name, split in splits.items()},
        "sources": sources,
        "files": list(files),
        "steps": details.get("steps", {}),
        "samples": {name: list(_samples(folder / f"{name}.jsonl", split)) for name, split in splits.items()},
    }
    for split in card["splits"].values():
        del split["sources"]
    atomic.write_text(folder / JSON, json.dumps(card, ensure_ascii=False, indent=2) + "\n")
    atomic.write_text(folder / MARKDOWN, "\n".join(_page(card)) + "\n")


def _source(split: str, source: Mapping[str, Any]) -> dict[str, Any]:
    named = source["licence"]
    if named is None and (path := Path(source["path"])).exists():
        folder = path if path.is_dir() else path.parent
        named = licences.beside(folder, folder)
    shown = named or licences.UNKNOWN
    own = source["path"].startswith("sample:")
    warning = None if own else licences.warning(named)
    return {
        "split": split,
        **source,
        "licence": "xinglin's own" if own else shown,
        "licence_warning": warning,
    }


def _samples(path: Path, split: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    redact = redactor(Deidentification(mode="replace"), secrets.token_bytes(32))
    for record in read_split(path, every=-(-split["records"] // SAMPLES) or 1):
        text = redact(_text(record))
        yield {"origin": str(record.origin), "text": text[:SHOWN] + ("…" if len(text) > SHOWN else "")}


def _text(record: Record) -> str:
    if isinstance(record, Document):
        return record.text
    if isinstance(record, Question):
        return "\n".join(
            [record.question, *(f"{k}. {v}" for k, v in record.options.items()), f"= {record.answer}"]
        )
    messages = record.messages if isinstance(record, Conversation) else record.prompt
    said = [f"{message.role}: {message.content}" for message in messages]
    if isinstance(record, Preference):
        said += [f"chosen: {record.chosen}", f"rejected: {record.rejected}"]
    return "\n".join(said)


def _page(card: Mapping[str, Any]) -> Iterator[str]:
    yield "# Data card\n"
    splits = [_split_row(name, split) for name, split in card["splits"].items()]
    yield from _table(
        ("split", "records of", "records", "tokens", "trained on", "median", "longest", ""), splits
    )
    yield "## Sources\n"
    rows = [_source_row(each) for each in card["sources"]]
    yield from _table(("split", "source", "format", "licence", "rows in", "used", "quarantined"), rows)
    warned: dict[str, list[str]] = {}
    for each in card["sources"]:
        if each["licence_warning"]:
            line = f"**{each['licence']}**: {each['licence_warning']}"
            warned.setdefault(line, []).append(each["path"])
    for line, paths in warned.items():
        yield f"- {line}: {', '.join(dict.fromkeys(paths))}"
    yield "\n## What was removed\n"
    removed = [
        (name, step, reason, count)
        for name, split in card["splits"].items()
        for step, reasons in split.get("removed", {}).items()
        for reason, count in reasons.items()
    ]
    yield from _table(("split", "step", "reason", "records"), removed) if removed else ["Nothing.\n"]
    yield from (f"{line}\n" for line in findings(card["steps"]))
    yield "## Samples\n"
    for name, samples in card["samples"].items():
        for sample in samples:
            yield f"{name}, {sample['origin']}\n"
            yield from (f"> {line}" for line in sample["text"].splitlines())
            yield ""


def _split_row(name: str, split: Mapping[str, Any]) -> list[Any]:
    lengths = split["lengths"] or {}
    held_out = f"held out of {split['cut_from']}" if split["cut_from"] else "held out"
    counts = [split[key] for key in ("record", "records", "tokens", "trained_tokens")]
    return [name, *counts, lengths.get("p50"), lengths.get("max"), held_out if split["held_out"] else ""]


def _source_row(source: Mapping[str, Any]) -> list[Any]:
    shown = [source[key] for key in ("split", "path", "format", "licence", "rows_in", "rows_used")]
    reasons = f" ({counted(source['reasons'])})" if source["reasons"] else ""
    return [*shown, f"{source['rows_quarantined']:,}{reasons}"]


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    for cells in (columns, ["---"] * len(columns), *rows):
        yield f"| {' | '.join(_cell(cell) for cell in cells)} |"
    yield ""


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value).replace("|", "\\|")
