"""A data set made of another one: its split to choose from, and what comes along as it is."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerFast

from xinglin.data.records import texts
from xinglin.data.rendering import Renderer
from xinglin.data.shards import Shards
from xinglin.data.splits import Tokenising, find_shards, read_split, shard_key, split_file
from xinglin.runtime.artifact import Artifact, sha256
from xinglin.selection.choosing import SplitFile

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

    def _shards(self, path: Path) -> Path:
        how = Tokenising(self._renderer, self.limits["max_tokens"], self.limits["policy"])
        return find_shards(shard_key(sha256(path), how), [self._data.folder / SHARDS])


def _limits(data: Artifact) -> dict[str, Any]:
    """What the token shards of ``data`` say, whichever stage made them; what a data stage does where there are none."""
    for meta in sorted((data.folder / SHARDS).glob("*/meta.json")):
        facts = json.loads(meta.read_text(encoding="utf-8"))
        return {"max_tokens": facts["max_tokens"], "policy": facts["policy"]}
    return {"max_tokens": MAX_TOKENS, "policy": "split"}
