"""The baseline of KTO: how far the model has moved from the reference, measured on answers to other prompts."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from xinglin.data.packing import Example, Ints, Packed, Plan, Step, pack_sequences
from xinglin.data.shards import Shards
from xinglin.errors import TrainingError
from xinglin.models.packed import sequence_sums
from xinglin.train.batches import turns
from xinglin.train.reference import measuring, summed_log_probs, without_adapter
from xinglin.train.session import Session


class HasKl(Protocol):
    """An objective that rewards are measured in from a baseline."""

    kl: Tensor | None


class KlBaseline:
    """Sets ``objective.kl`` before each step (arXiv 2402.01306, section 4.1).

    It is the log-ratio between model and reference of answers that do not belong to their prompts, averaged over the
    prompts of the step, no less than 0 and without gradient. A prompt always meets the same foreign answer, so that
    the reference's part can be computed once and the result depends neither on the order of pairs nor on packing.

    Raises:
        TrainingError: all answers are to the same prompt.
    """

    def __init__(self, session: Session, shards: Shards, objective: HasKl, *, precompute: bool):
        self.session, self.shards, self.objective = session, shards, objective
        self.foreign(0)
        self.reference = self._precomputed() if precompute else None

    def __call__(self, model: nn.Module, step: Step) -> None:
        accelerator = self.session.accelerator
        total = torch.zeros((), device=accelerator.device)
        with measuring(model), accelerator.autocast():
            for indices, share in turns(step, accelerator):
                groups = indices[:: self.shards.group] // self.shards.group
                packed = self._pack(groups).to(accelerator.device)
                policy = sequence_sums(model(packed, want="log_probs"), packed)
                total += share * (policy - self._reference(model, packed, groups)).sum()
        summed: Tensor = accelerator.reduce(total, "sum")  # type: ignore[assignment]
        self.objective.kl = (summed / step.groups).clamp_min(0)

    def _reference(self, model: nn.Module, packed: Packed, groups: Ints) -> Tensor:
        if self.reference is not None:
            return self.reference[torch.from_numpy(groups)].to(packed.input_ids.device, non_blocking=True)
        with without_adapter(model):
            return sequence_sums(model(packed, want="log_probs"), packed)

    def _precomputed(self) -> Tensor:
        examples = [self.foreign(group) for group in range(len(self.shards) // self.shards.group)]
        config = self.session.config
        plan = Plan(
            np.array([len(ids) for ids, _ in examples]),
            np.array([trained.sum() for _, trained in examples]),
            batch_size=len(examples),
            micro_batch_tokens=config.micro_batch_tokens if config.packing else 1,
            processes=self.session.accelerator.num_processes,
            shuffle=False,
        )
        content = f"kto {self.shards.folder.name} {len(self.shards)}"
        return summed_log_probs(self.session, plan, self._pack, number=len(examples), content=content)

    def _pack(self, groups: Ints) -> Packed:
        return pack_sequences([self.foreign(int(group)) for group in groups])

    def foreign(self, group: int) -> Example:
        """The prompt of a pair, or of a rated answer, and the answer half the data away, or after it, to another
        prompt: of pairs the chosen and the rejected one in turn. It is cut to the longest sequence that the model is
        otherwise given."""
        size = self.shards.group
        number = len(self.shards) // size
        prompt = self._parted(size * group)[0]
        for step in range(number):
            other = (group + number // 2 + step) % number
            theirs, answer = self._parted(size * other + group % size)
            if not np.array_equal(prompt, theirs):
                ids = np.concatenate([prompt, answer])[: self.shards.lengths.max()]
                return ids, np.arange(len(ids)) >= len(prompt)
        raise TrainingError(
            "loss kto needs answers to two prompts at least: each prompt is given an answer to another one"
        )

    def _parted(self, sequence: int) -> tuple[Ints, Ints]:
        """Prompt and answer."""
        ids, trained = self.shards[sequence]
        return ids[: trained.argmax()], ids[trained.argmax() :]
