"""Ask a model everything once: its answers are kept, so that neither a crash nor a later stage asks again.

Answers lie in one append-only file per (model, questions, settings), named by the hash of all three. They are
scored anew each time, so a better scorer needs no new answers. Items are asked longest first, in blocks that do
not depend on where an earlier attempt was cut off: a resumed evaluation forms the same batches as one that was
not interrupted, and a prompt that does not fit into memory fails at once.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xinglin.engines import Engine
from xinglin.errors import Interrupted
from xinglin.evaluate.task import Item, Output, Task, num_requests, output_from_json, output_to_json
from xinglin.runtime import atomic

BLOCK_ITEMS = 128
_VERSION = 1


@dataclass(frozen=True)
class Model:
    """A model to be evaluated. It is loaded when a question has no answer yet."""

    name: str
    """As the reader knows it: its stage, or its id."""
    stage_kind: str
    """``sft``, ``dpo``, …; ``base`` for a model that no stage made."""
    fingerprint: str
    """Equal for equal weights and tokenizer."""
    load: Callable[[], Engine]


@dataclass(frozen=True)
class Predictions:
    """Where answers are kept, and what they depend on besides model and questions."""

    folder: Path
    settings: Mapping[str, Any]
    """What else may change an answer, such as the engine and its versions."""
    seed: int
    stop_requested: Callable[[], bool] = lambda: False

    def of(
        self, model: Model, task: Task, *, advance: Callable[[int], None] = lambda done: None
    ) -> list[Output]:
        """The answers to the items of ``task``, in their order.

        ``advance`` is told how many more requests are done, those answered earlier included.

        Raises:
            Interrupted: a stop was requested; finished blocks are kept.
        """
        order = sorted(range(len(task.items)), key=lambda index: -_size(task.items[index]))
        queue = [task.items[index] for index in order]
        path = self.folder / f"{self._key(model, task)}.jsonl"
        outputs = _read(path, queue)
        advance(sum(num_requests(item) for item in queue[: len(outputs)]))
        engine: Engine | None = None
        while len(outputs) < len(queue):
            if self.stop_requested():
                raise Interrupted
            engine = engine or model.load()
            block = queue[len(outputs) : len(outputs) + BLOCK_ITEMS]
            answers = self._ask(engine, task, block, advance)
            _append(path, answers)
            outputs += answers
        return [output for _, output in sorted(zip(order, outputs, strict=True), key=lambda pair: pair[0])]

    def _ask(
        self, engine: Engine, task: Task, block: Sequence[Item], advance: Callable[[int], None]
    ) -> Sequence[Output]:
        if task.free:
            return engine.generate(
                [item.prompt for item in block],
                max_new_tokens=task.config.max_new_tokens,
                seed=self.seed,
                progress=advance,
            )
        requests = [(item.prompt, choice) for item in block for choice in item.choices]
        likelihoods = iter(engine.log_likelihoods(requests, progress=advance))
        return [tuple(next(likelihoods) for _ in item.choices) for item in block]

    def _key(self, model: Model, task: Task) -> str:
        asked = [[[[m.role, m.content] for m in item.prompt], item.choices] for item in task.items]
        facts = {
            "version": _VERSION,
            "model": model.fingerprint,
            "asked": asked,
            "max_new_tokens": task.config.max_new_tokens if task.free else None,
            "settings": dict(self.settings),
            "seed": self.seed,
        }
        text = json.dumps(facts, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


def _size(item: Item) -> int:
    return sum(len(message.content) for message in item.prompt)


def _append(path: Path, outputs: Sequence[Output]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(output_to_json(output), ensure_ascii=False) + "\n" for output in outputs)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, queue: Sequence[Item]) -> list[Output]:
    """The answers of whole blocks; what a crash left after them is cut off the file."""
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    outputs = []
    for line, _ in zip(lines, queue, strict=False):
        if not line.endswith(b"\n"):
            break
        try:
            outputs.append(output_from_json(json.loads(line)))
        except (ValueError, KeyError):
            break
    if len(outputs) < len(queue):
        del outputs[len(outputs) // BLOCK_ITEMS * BLOCK_ITEMS :]
    if len(outputs) < len(lines):
        atomic.write_bytes(path, b"".join(lines[: len(outputs)]))
    return outputs
