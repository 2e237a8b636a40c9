"""Optimizer steps over rollouts that are made when the first of their steps is asked for.

Rollouts lie in the stage's scratch folder until no checkpoint is older than their last step, and ``schedule.json``
says at which step each began. So a step can be asked for again, by a resumed run in the middle of a rollout too, and
is the same.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from xinglin.data.packing import Example, Ints, Packed, Plan, Step, pack_groups, pack_sequences, shared_tokens
from xinglin.runtime import atomic
from xinglin.train import checkpoint
from xinglin.train.rl.rollout import Rollout, rounded

SCHEDULE = "schedule.json"


class Make(Protocol):
    """Makes rollout ``number`` with the weights as they are now."""

    def __call__(self, number: int, *, coefficient: float) -> Rollout: ...


@dataclass
class Begun:
    """A rollout in the schedule."""

    first: int
    """Its first step."""
    steps: int
    """How many it takes: fewer than planned if it was left early."""
    next_coefficient: float
    """The KL coefficient of the rollout after it."""
    last: bool = False
    """Whether the stage ends with it, since it is too far from the reference."""


class Place(NamedTuple):
    rollout: Rollout
    local: Ints
    """Numbers within the rollout."""


@dataclass(frozen=True)
class Layout:
    """How rollouts are cut into steps and micro-batches."""

    rollouts: int
    """How many there are."""
    steps: int
    """Of each, unless it is left early."""
    passes: int
    """Over the answers of each."""
    answers: int
    """Of each."""
    max_steps: int | None
    epochs_per_rollout: float
    """Of the prompts."""
    micro_batch_tokens: int
    share: bool
    """Whether answers to one prompt are computed behind one copy of it."""
    seed: int
    max_update_kl: float | None
    max_kl: float | None


class RolloutSteps:
    """The steps of a stage, as the loop takes them.

    Args:
        layout: sizes.
        scratch: the stage's folder for checkpoints, in which there will be ``rollouts``.
        make: see ``Make``.
        coefficient: the KL coefficient of the first rollout.
        next_coefficient: (coefficient, KL of a rollout) -> that of the next.
        accelerator: the processes that share each step.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        scratch: Path,
        make: Make,
        coefficient: float,
        next_coefficient: Callable[[float, float], float],
        accelerator: Accelerator,
    ):
        self.layout = layout
        self.checkpoints = scratch / "checkpoints"
        self.folder = scratch / "rollouts"
        self.make = make
        self.coefficient, self.next_coefficient = coefficient, next_coefficient
        self.accelerator = accelerator
        self.write: Callable[[dict[str, Any]], None] = lambda row: None
        """Takes a row of metrics for each rollout that begins."""
        self._begun: list[Begun] | None = None
        self._current: tuple[int, Rollout, Plan] | None = None
        self._shown = -1
        self._step = 0
        self._waiting: list[bool] = []
        self._drift = torch.zeros(2, dtype=torch.float64)

    def __len__(self) -> int:
        most = self.layout.rollouts * self.layout.steps
        return min(most, self.layout.max_steps or most)

    def __getitem__(self, step: int) -> Step:
        if not 0 <= step < len(self):
            raise IndexError(step)
        number = self._number(step)
        begun = self._schedule[number]
        plan = self._load(number)[1]
        inner = plan[step - begun.first]
        offset = number * self.layout.answers
        found = replace(
            inner,
            epoch=(number + inner.epoch / self.layout.passes) * self.layout.epochs_per_rollout,
            micro_batches=tuple(tuple(indices + offset for indices in part) for part in inner.micro_batches),
        )
        self._step, self._drift = step, torch.zeros(2, dtype=torch.float64)
        self._waiting = [len(indices) > 0 for indices in found.micro_batches[self.accelerator.process_index]]
        return found

    def locate(self, indices: Ints) -> Place:
        """Which answers the sequence numbers of a micro-batch stand for."""
        number = int(indices[0]) // self.layout.answers
        return Place(self._load(number)[0], indices - number * self.layout.answers)

    def pack(self, indices: Ints) -> Packed:
        """The packed batch of these sequences."""
        if not len(indices):
            return pack_sequences([])
        rollout, local = self.locate(indices)
        return pack_answers(rollout, local, share=self.layout.share)

    def source(self, indices: Ints) -> str:
        """Where sequences come from, for an error message."""
        return f"rollout {int(indices[0]) // self.layout.answers + 1}" if len(indices) else "a rollout"

    @property
    def begun(self) -> int:
        """How many rollouts there were so far."""
        return len(self._schedule)

    def example(self) -> Example:
        """The first sequence of the last rollout."""
        return self._load(len(self._schedule) - 1)[0].example(0)

    def note_drift(self, drift: Tensor) -> None:
        """Told, once for each micro-batch of a step, the (N,) estimates of KL at its tokens; may end the rollout.

        It decides before the step's update: a checkpoint that is made afterwards finds the decision in the schedule.
        """
        limit = self.layout.max_update_kl
        if limit is None:
            return
        if self._waiting.pop(0):  # else it stands in for a micro-batch that is another process's
            self._drift += torch.stack([drift.sum(), torch.tensor(float(len(drift)))]).cpu()
        if not self._waiting:
            total, number = self._summed(self._drift).tolist()
            if number and total / number > limit:
                begun = self._schedule[self._number(self._step)]
                begun.steps = self._step - begun.first + 1
                self._write_schedule()

    def _summed(self, numbers: Tensor) -> Tensor:
        if self.accelerator.num_processes == 1:
            return numbers
        total: Any = self.accelerator.reduce(numbers.to(self.accelerator.device), "sum")
        return total.cpu()

    def _number(self, step: int) -> int:
        """The rollout that ``step`` belongs to; begun now if it is the first one that nobody asked for before.

        Raises:
            IndexError: there are no more.
        """
        if self._begun is None:
            self._begun = self._read_schedule(step)
        number = max((n for n, begun in enumerate(self._begun) if begun.first <= step), default=-1)
        if number < 0 or step >= self._begun[number].first + self._begun[number].steps:
            number = self._begin(step)
        if number > self._shown and step == self._begun[number].first:
            self._shown = number
            facts = self._load(number)[0].facts
            self.write({"kind": "rollout", "step": step + 1, "rollout": number + 1, **rounded(facts)})
        return number

    @property
    def _schedule(self) -> list[Begun]:
        if self._begun is None:
            self._begun = self._read_schedule(len(self))
        return self._begun

    def _begin(self, step: int) -> int:
        number = len(self._schedule)
        if number >= self.layout.rollouts or (number and self._schedule[-1].last):
            raise IndexError(step)
        coefficient = self._schedule[-1].next_coefficient if number else self.coefficient
        try:
            rollout = self.make(number, coefficient=coefficient)
        except IndexError as error:  # would pass for the end of the steps
            raise RuntimeError(f"rollout {number + 1} cannot be made") from error
        kl = rollout.facts.get("kl")
        following = coefficient if kl is None else self.next_coefficient(coefficient, kl)
        too_far = bool(self.layout.max_kl is not None and kl is not None and kl > self.layout.max_kl)
        self._schedule.append(Begun(step, self.layout.steps, following, last=too_far))
        if self.accelerator.is_main_process:
            rollout.save(self._path(number))
            self._write_schedule()
            self._forget()
        self.accelerator.wait_for_everyone()
        self._current = (number, rollout, self._plan(number, rollout))
        return number

    def _load(self, number: int) -> tuple[Rollout, Plan]:
        if self._current is None or self._current[0] != number:
            rollout = Rollout.load(self._path(number))
            self._current = (number, rollout, self._plan(number, rollout))
        return self._current[1:]

    def _plan(self, number: int, rollout: Rollout) -> Plan:
        return plan_of(
            rollout,
            groups_per_step=self.layout.answers // rollout.group * self.layout.passes // self.layout.steps,
            micro_batch_tokens=self.layout.micro_batch_tokens,
            share=self.layout.share,
            epochs=self.layout.passes,
            seed=self.layout.seed * 1_000_003 + number,
            processes=self.accelerator.num_processes,
        )

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"

    def _read_schedule(self, step: int) -> list[Begun]:
        """What was begun up to ``step``; what came after it, in a run that fell back, is made again."""
        path = self.folder / SCHEDULE
        rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
        begun = [Begun(**row) for row in rows if row["first"] <= step]
        if begun and begun[-1].first == step and not self._path(len(begun) - 1).is_file():
            begun.pop()  # forgotten before its checkpoints were damaged; the weights are those that made it
        return begun

    def _write_schedule(self) -> None:
        if self.accelerator.is_main_process:
            rows = [asdict(begun) for begun in self._schedule]
            atomic.write_text(self.folder / SCHEDULE, json.dumps(rows))

    def _forget(self) -> None:
        """Delete rollouts whose steps all lie before the oldest checkpoint."""
        kept = checkpoint.steps(self.checkpoints)
        oldest = int(kept[0].name.removeprefix("step-")) if kept else 0
        for number, begun in enumerate(self._schedule):
            if begun.first + begun.steps <= oldest:
                self._path(number).unlink(missing_ok=True)


def plan_of(
    rollout: Rollout,
    *,
    groups_per_step: int,
    micro_batch_tokens: int,
    share: bool,
    epochs: int = 1,
    seed: int = 0,
    processes: int = 1,
    shuffle: bool = True,
) -> Plan:
    """The steps over one rollout; the answers to a prompt stay together."""
    lengths = rollout.lengths.numpy()
    return Plan(
        lengths,
        rollout.counts.numpy(),
        group=rollout.group,
        shared=_shared(rollout) if share else None,
        batch_size=groups_per_step,
        micro_batch_tokens=micro_batch_tokens,
        epochs=epochs,
        seed=seed,
        processes=processes,
        shuffle=shuffle,
    )


def pack_answers(rollout: Rollout, indices: Ints, *, share: bool) -> Packed:
    """These sequences as a packed batch; with ``share`` they are whole groups, each behind one copy of its prompt."""
    examples: list[Example] = [rollout.example(int(index)) for index in indices]
    if not share:
        return pack_sequences(examples)
    return pack_groups([examples[at : at + rollout.group] for at in range(0, len(examples), rollout.group)])


def _shared(rollout: Rollout) -> Ints:
    shared = np.zeros(len(rollout), dtype=np.int64)
    for number in range(len(rollout)):
        head = number - number % rollout.group
        if number != head:
            shared[number] = shared_tokens(rollout.example(head)[0], rollout.example(number)[0])
    return shared
