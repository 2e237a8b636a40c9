"""The policy at work: it answers prompts, the answers are scored, and their tokens are measured."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from xinglin.data.packing import Packed
from xinglin.data.rendering import Renderer
from xinglin.errors import Interrupted, RewardError
from xinglin.models.decoding import Answer, Seed
from xinglin.models.packed import PackedModel
from xinglin.rewards import RuleConfig, Sample, Scoring
from xinglin.runtime.progress import progress
from xinglin.train.processes import gather_rows
from xinglin.train.rl.actor import Actor, Reference
from xinglin.train.rl.prompts import Asked
from xinglin.train.rl.rollout import Rollout, mean_and_deviation
from xinglin.train.rl.sampler import Sampler, sampler_gap
from xinglin.train.rl.steps import pack_answers, plan_of
from xinglin.train.sharding import put_together


@dataclass
class Policy:
    """A model with everything that its answers go through. It works in ``packed_attention``."""

    actor: Actor
    reference: Reference | None
    scoring: Scoring
    renderer: Renderer
    sampler: Sampler
    accelerator: Accelerator
    micro_batch_tokens: int
    share: bool
    """Whether answers to one prompt are computed behind one copy of it."""
    missing_stop_penalty: float
    stop_requested: Callable[[], bool]

    def roll_out(
        self, asked: Sequence[Asked], seeds: Sequence[Sequence[Seed]], *, measured: Sequence[str]
    ) -> tuple[Rollout, list[str]]:
        """Answers to every prompt with their scores and the measured numbers of their tokens, and their texts.

        Args:
            seeds: for each prompt, of its answers; the same number for all.
            measured: of ``log_probs``, ``entropy``, ``values``, ``reference``.
        """
        if self.sampler.foreign:
            measured = (*dict.fromkeys((*measured, "log_probs")),)
        with self._at_rest():
            answers = self._answers(asked, seeds)
            flat = [answer for group in answers for answer in group]
            rollout, texts = self._scored(asked, answers)
            numbers = self._measured(rollout, measured) if measured else {}
        entropy = numbers.pop("entropy", None)
        rollout.tokens |= numbers
        rollout.facts |= {
            "answer_tokens": float(rollout.counts.float().mean()),
            "finished": sum(answer.stopped for answer in flat) / len(flat),
        }
        if entropy is not None:
            rollout.facts["entropy"] = float(entropy.mean())
        if self.sampler.foreign:
            rollout.facts["sampler_gap"] = sampler_gap(flat, numbers["log_probs"], self.sampler.sampling)
        if {"log_probs", "reference"} <= set(numbers):
            kl = numbers["log_probs"] - numbers["reference"]
            rollout.facts["kl"] = float(kl.sum()) / len(rollout)
        return rollout, texts

    @contextmanager
    def _at_rest(self) -> Iterator[None]:
        training = self.actor.training
        self.actor.eval()
        try:
            # Together, every process runs it at its own pace: their shares of the answers differ in length.
            with torch.no_grad(), self.accelerator.autocast(), put_together(self.actor):
                yield
        finally:
            self.actor.train(training)

    def _answers(self, asked: Sequence[Asked], seeds: Sequence[Sequence[Seed]]) -> list[list[Answer]]:
        """Every process writes a share of them."""
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        mine = range(rank, len(asked), processes)

        def advance(done: int) -> None:
            bar.advance(done)
            if processes == 1 and self.stop_requested():  # several stop together, after the step
                raise Interrupted("between answers")

        with progress(len(mine), "answering") as bar:
            found = self.sampler(
                [asked[index].ids for index in mine], [seeds[index] for index in mine], progress=advance
            )
        return self._together(list(zip(mine, found, strict=True)))

    def _together(self, numbered: list[tuple[int, Any]]) -> list[Any]:
        """What all processes have, in order of its numbers."""
        return [item for _, item in sorted(gather_rows(numbered), key=lambda pair: pair[0])]

    def _scored(self, asked: Sequence[Asked], answers: list[list[Answer]]) -> tuple[Rollout, list[str]]:
        samples = [
            Sample(
                prompt=prompt.messages,
                answer=self._text(answer),
                finish="stop" if answer.stopped else "length",
                tokens=len(answer.ids),
                meta=prompt.meta,
            )
            for prompt, group in zip(asked, answers, strict=True)
            for answer in group
        ]
        totals, components = self._scores(samples)
        stopped = torch.tensor([answer.stopped for group in answers for answer in group])
        sequences = [
            torch.tensor(prompt.ids + answer.ids, dtype=torch.int32)
            for prompt, group in zip(asked, answers, strict=True)
            for answer in group
        ]
        scores = torch.tensor(totals) - self.missing_stop_penalty * ~stopped
        facts = mean_and_deviation("reward", scores)
        for title, numbers in components.items():
            facts[f"reward_{title}"] = sum(numbers) / len(numbers)
        facts |= self._vetoes(components)
        rollout = Rollout(
            ids=torch.cat(sequences),
            lengths=torch.tensor([len(ids) for ids in sequences]),
            counts=torch.tensor([len(answer.ids) for group in answers for answer in group]),
            group=len(answers[0]),
            stopped=stopped,
            scores=scores,
            facts=facts,
        )
        return rollout, [sample.answer for sample in samples]

    def _scores(self, samples: Sequence[Sample]) -> tuple[list[float], dict[str, list[float]]]:
        rank, processes = self.accelerator.process_index, self.accelerator.num_processes
        mine = range(rank, len(samples), processes)
        rows, failure = [], []
        try:
            totals, components = self.scoring([samples[index] for index in mine])
            rows = [
                (total, {title: numbers[place] for title, numbers in components.items()})
                for place, total in enumerate(totals)
            ]
        except RewardError as error:
            failure.append(str(error))
        if failures := gather_rows(failure):  # of any process is that of all, so that they save together
            raise RewardError(failures[0])
        together = self._together(list(zip(mine, rows, strict=True)))
        titles = [config.title for config in self.scoring.configs]
        return [total for total, _ in together], {
            title: [parts[title] for _, parts in together] for title in titles
        }

    def _vetoes(self, components: dict[str, list[float]]) -> dict[str, float]:
        rules = [each.title for each in self.scoring.configs if isinstance(each, RuleConfig) and each.veto]
        if not rules:
            return {}
        broken = [
            any(score <= -1 for score in row) for row in zip(*(components[r] for r in rules), strict=True)
        ]
        return {"vetoed": sum(broken) / len(broken)}

    def _text(self, answer: Answer) -> str:
        ids = answer.ids[:-1] if answer.stopped else answer.ids
        text: Any = self.renderer.tokenizer.decode(ids, skip_special_tokens=True)
        return str(text).strip()

    def _measured(self, rollout: Rollout, names: Sequence[str]) -> dict[str, Tensor]:
        """(M,) of each name, one packed pass of the policy and one of the reference."""
        own = tuple(name for name in names if name != "reference")
        found = {name: torch.zeros(int(rollout.counts.sum())) for name in names}
        plan = plan_of(
            rollout,
            groups_per_step=len(rollout) // rollout.group,
            micro_batch_tokens=self.micro_batch_tokens,
            share=self.share,
            processes=self.accelerator.num_processes,
            shuffle=False,
        )
        starts = rollout.counts.cumsum(0) - rollout.counts
        for indices in plan[0].micro_batches[self.accelerator.process_index]:
            if not len(indices):
                continue
            packed = pack_answers(rollout, indices, share=self.share).to(self.accelerator.device)
            places = torch.cat(
                [torch.arange(int(rollout.counts[each])) + int(starts[each]) for each in indices]
            )
            for name, numbers in self._asked(packed, own, reference="reference" in names).items():
                found[name][places] = numbers.float().cpu()
        if self.accelerator.num_processes > 1:
            device = self.accelerator.device
            found = {
                name: self.accelerator.reduce(numbers.to(device), "sum").cpu()
                for name, numbers in found.items()
            }
        return found

    def _asked(self, packed: Packed, own: tuple[str, ...], *, reference: bool) -> dict[str, Tensor]:
        found = dict(zip(own, self.actor(packed, want=own), strict=True)) if own else {}
        if reference:
            assert self.reference is not None
            with self.reference.on_duty() as model:
                asked: PackedModel = model
                found["reference"] = asked(packed, want="log_probs")
        return found
