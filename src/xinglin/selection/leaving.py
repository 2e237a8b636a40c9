"""What a selection leaves behind: the chosen, the others with the reason, the scores of all, and the report."""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from xinglin.data.building import REMOVED, Removals
from xinglin.data.records import Origin
from xinglin.data.removal import Removal
from xinglin.data.splits import read_split
from xinglin.selection.choosing import Choice, SplitFile
from xinglin.selection.geometry import Mask
from xinglin.selection.pool import STEP
from xinglin.selection.summary import Summary, examples

SCORES = "scores.jsonl"


def write(split: SplitFile, choice: Choice, targets: dict[Path, Mask], folder: Path) -> Counter[str]:
    """Copy the lines of the split to every target whose mask has them; the rest is in ``removed.jsonl``.

    ``targets`` begins with the split of what was chosen. ``scores.jsonl`` has a line for every record.

    Returns:
        How many were removed, by reason.
    """
    with ExitStack() as stack:
        lines = stack.enter_context(split.path.open("rb"))
        removals = stack.enter_context(Removals(folder / REMOVED))
        scores = stack.enter_context((folder / SCORES).open("w", encoding="utf-8"))
        files = [(stack.enter_context(path.open("wb")), mask) for path, mask in targets.items()]
        for number, line in enumerate(lines):
            for file, mask in files:
                if mask[number]:
                    file.write(line)
            origin = json.loads(line)["origin"]
            values = {title: _known(scored.values[number]) for title, scored in choice.scored.items()}
            removal = None if choice.chosen[number] else _why(choice, number)
            if removal:
                removals.add(split.path.stem, Origin(origin["file"], origin["row"]), removal)
            outcome = removal.reason if removal else choice.protected.get(number, "chosen")
            row = {"row": number + 1, "origin": origin, "scores": values, "outcome": outcome}
            scores.write(json.dumps(row, ensure_ascii=False) + "\n")
    return removals.counts[split.path.stem][STEP]


def report(split: SplitFile, choice: Choice, subsets: Mapping[str, Mask]) -> dict[str, Any]:
    """Sizes, shares, scores and examples, as JSON-able data. ``subsets`` are ``chosen`` and perhaps ``random``."""
    summary = Summary(subsets, split.lengths, split.unit)
    values = {title: scored.values for title, scored in choice.scored.items()}
    shown = examples(values, choice.chosen, read_split(split.path))
    return {
        "unit": split.unit,
        "sizes": summary.sizes(),
        "protected": dict(Counter(choice.protected.values()).most_common()),
        "unfilled": choice.pool.unfilled,
        "shares": {field: summary.shares(groups) for field, groups in choice.groups.items()},
        "scores": {
            title: summary.score(scored.values)
            | {
                "computed": scored.computed,
                "unscored": dict(Counter(why.reason for why in scored.unscored.values()).most_common()),
                "examples": shown[title],
            }
            for title, scored in choice.scored.items()
        },
    }


def _why(choice: Choice, number: int) -> Removal:
    known = {title: float(scored.values[number]) for title, scored in choice.scored.items()}
    shown = ", ".join(f"{title} {value:.4g}" for title, value in known.items() if not np.isnan(value))
    return choice.pool.removals.get(number) or Removal(STEP, "not_chosen", shown or "no score")


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
