"""The baseline of KTO: how far the model has moved from the reference, measured on answers to other prompts."""

import numpy as np
import torch
from torch import Tensor, nn

from xinglin.data.packing import Example, Ints, Packed, Plan, Step, pack_sequences
from xinglin.data.shards import Shards
from xinglin.errors import TrainingError
from xinglin.models.packed import sequence_sums
from xinglin.train.batches import turns
from xinglin.train.objectives.dpo import Objective
from xinglin.train.reference import measuring, summed_log_probs, without_adapter
from xinglin.train.session import Session


class KlBaseline:
    """Sets ``objective.kl`` before each step (arXiv 2402.01306, section 4.1).

    It is the log-ratio between model and reference of answers that do not belong to their prompts, averaged over the
    prompts of the step, no less than 0 and without gradient. A prompt always meets the same foreign answer, so that
    the reference's part can be computed once and the result depends neither on the order of pairs nor on packing.

    Raises:
        TrainingError: there is only one pair.
    """

    def __init__(self, session: Session, shards: Shards, objective: Objective, *, precompute: bool):
        if len(shards) < 4:
            raise TrainingError(
                "loss kto needs two preferences at least: each prompt is given another's answer"
            )
        self.session, self.shards, self.objective = session, shards, objective
        self.reference = self._precomputed() if precompute else None

    def __call__(self, model: nn.Module, step: Step) -> None:
        accelerator = self.session.accelerator
        total = torch.zeros((), device=accelerator.device)
        with measuring(model), accelerator.autocast():
            for indices, share in turns(step, accelerator):
                pairs = indices[::2] // 2
                packed = self._pack(pairs).to(accelerator.device)
                policy = sequence_sums(model(packed, want="log_probs"), packed)
                total += share * (policy - self._reference(model, packed, pairs)).sum()
        summed: Tensor = accelerator.reduce(total, "sum")  # type: ignore[assignment]
        self.objective.kl = (summed / step.groups).clamp_min(0)

    def _reference(self, model: nn.Module, packed: Packed, pairs: Ints) -> Tensor:
        if self.reference is not None:
            return self.reference[torch.from_numpy(pairs)].to(packed.input_ids.device, non_blocking=True)
        with without_adapter(model):
            return sequence_sums(model(packed, want="log_probs"), packed)

    def _precomputed(self) -> Tensor:
        examples = [self.foreign(pair) for pair in range(len(self.shards) // 2)]
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

    def _pack(self, pairs: Ints) -> Packed:
        return pack_sequences([self.foreign(int(pair)) for pair in pairs])

    def foreign(self, pair: int) -> Example:
        """The prompt of ``pair`` and the chosen or rejected answer, in turn, of the pair half the data away, cut to
        the longest sequence that the model is otherwise given."""
        number = len(self.shards) // 2
        other = (pair + number // 2) % number
        own, theirs = self.shards[2 * pair], self.shards[2 * other + pair % 2]
        prompt = own.ids[: own.trained.argmax()]
        ids = np.concatenate([prompt, theirs.ids[theirs.trained.argmax() :]])[: self.shards.lengths.max()]
        return ids, np.arange(len(ids)) >= len(prompt)
