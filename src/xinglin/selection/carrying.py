"""A data set made of another one: its split to choose from, and what comes along as it is."""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from xinglin.data.copies import leaks
from xinglin.data.copies.leaks import LeakReport
from xinglin.data.records import texts
from xinglin.data.rendering import Renderer
from xinglin.data.shards import Shards
from xinglin.data.splits import Tokenising, find_shards, read_split, shard_key, split_file
from xinglin.runtime import atomic
from xinglin.runtime.artifact import Artifact, sha256
from xinglin.selection.choosing import SplitFile
from xinglin.selection.geometry import Mask

MAX_TOKENS = 1024
SHARDS = "shards"


class Carrier:
    """Takes splits, and token shards that are made already, from one data set into the folder of another."""

    def __init__(self, data: Artifact, folder: Path, tokenizer: PreTrainedTokenizerFast):
        self._data, self._folder = data, folder
        self._renderer = Renderer(tokenizer)
        self.limits = _limits(data)
        """How long sequences are tokenised, as in the data set that they come from."""

    def open(self, name: str) -> SplitFile:
        """A split with the length of each record: in tokens, or in characters where nothing was tokenised."""
        path = split_file(self._data, name)
        count = self._data.details["splits"][name]["records"]
        folder = self._shards(path)
        if not folder.is_dir():
            lengths = [sum(map(len, texts(record))) for record in read_split(path)]
            return SplitFile(path, count, np.array(lengths, np.float64), "characters")
        shards = Shards(folder)
        lengths = np.bincount(shards.rows, weights=shards.lengths, minlength=count).astype(np.float64)
        return SplitFile(path, count, lengths, "tokens")

    def carry(self, but: str) -> dict[str, dict[str, Any]]:
        """Copy every split ``but`` one, with its tokens; returns their descriptions."""
        others = {name: facts for name, facts in self._data.details["splits"].items() if name != but}
        for name in others:
            path = split_file(self._data, name)
            shutil.copyfile(path, self._folder / path.name)
            shards = self._shards(path)
            if shards.is_dir():
                shutil.copytree(shards, self._folder / SHARDS / shards.name, dirs_exist_ok=True)
        return others

    def leaks(
        self,
        splits: Mapping[str, Mapping[str, Any]],
        *,
        subsets: Mapping[str, Mapping[str, Mask]] | None = None,
        made: LeakReport | None = None,
    ) -> dict[str, Any]:
        """Write ``leaks.jsonl``: the leaks that the data set was left with, as far as their records are still there,
        and those into what was ``made``. Evaluation reads it.

        Args:
            splits: of the new data set.
            subsets: split of the old one -> split of the new one -> (N,) which of its records that has.

        Returns:
            The entry ``leaks`` of the details' ``steps``; nothing if no leaks were looked for.
        """
        before = self._data.details.get("steps", {}).get("leaks")
        rows: list[dict[str, Any]] = []
        protected: dict[str, dict[str, int]] = made.to_json()["protected"] if made else {}
        if before and before["mode"] == "report":
            rows = list(_followed(self._data.folder / leaks.FILE, subsets or {}))
            protected |= before["protected"]
        elif made is None:
            return {}
        rows += [leak.to_json() for leak in made.leaks] if made else []
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        atomic.write_text(self._folder / leaks.FILE, "".join(lines))
        records = sum(facts["records"] for facts in splits.values() if not facts["held_out"])
        return {"leaks": {"mode": "report", **leaks.summary(rows, protected, records=records)}}

    def _shards(self, path: Path) -> Path:
        how = Tokenising(self._renderer, self.limits["max_tokens"], self.limits["policy"])
        return find_shards(shard_key(sha256(path), how), [self._data.folder / SHARDS])


def _followed(path: Path, subsets: Mapping[str, Mapping[str, Mask]]) -> Iterator[dict[str, Any]]:
    """The rows of a ``leaks.jsonl``, those about a split with ``subsets`` once for each that has the record."""
    with path.open(encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            if row["split"] not in subsets:
                yield row
            for name, mask in subsets.get(row["split"], {}).items():
                if mask[row["line"] - 1]:
                    yield {**row, "split": name, "line": int(mask[: row["line"]].sum())}


def _limits(data: Artifact) -> dict[str, Any]:
    """What the token shards of ``data`` say, whichever stage made them; what a data stage does where there are none."""
    for meta in sorted((data.folder / SHARDS).glob("*/meta.json")):
        facts = json.loads(meta.read_text(encoding="utf-8"))
        return {"max_tokens": facts["max_tokens"], "policy": facts["policy"]}
    return {"max_tokens": MAX_TOKENS, "policy": "split"}
