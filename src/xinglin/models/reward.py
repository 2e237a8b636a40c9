"""A reward model: how good is an answer to a conversation? One number per answer, the higher the better."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from xinglin.data.packing import Packed, first_fit, pack_groups
from xinglin.data.records import Message
from xinglin.data.rendering import Renderer
from xinglin.data.window import fit_window
from xinglin.errors import DataError, ModelError
from xinglin.models.attention import is_packing, isolated, packed_attention, quadratic
from xinglin.models.packed import PackedModel, read_scores
from xinglin.models.score_head import load_classifier
from xinglin.models.tokenizer import load_tokenizer
from xinglin.models.trunk import add_frozen_adapter, reason_apart, using_adapter

ADAPTER = "reward"
"""What the reward model's adapter is called on a trunk that it shares."""
SCALE_FILE = "reward.json"
QUADRATIC_TOKENS = 2048
"""Tokens of a batch at the most, for models whose packed attention needs a mask."""
_UNBOUNDED = 1 << 20

Ids = npt.NDArray[Any]
"""(T,) token ids."""
Request = tuple[Sequence[Message], str]
"""A conversation that ends on a user message, and an answer to it."""


class Scale(NamedTuple):
    """Of the scores that a reward model gives to the answers it was trained on."""

    mean: float
    std: float


class RewardModel:
    """One reward model in memory. It reads text with its own tokenizer and template, whoever wrote that text.

    Args:
        model: has a ``score`` head, unless ``head`` is given, which reads its last hidden states.
        active: entered while the model reads, where it does not always stand ready.
        batch_tokens: bounds the tokens of one forward pass.
        scale: by which ``score`` may normalise.
    """

    def __init__(
        self,
        model: PackedModel,
        renderer: Renderer,
        *,
        head: nn.Module | None = None,
        active: Callable[[], AbstractContextManager[None]] = nullcontext,
        batch_tokens: int = 8192,
        scale: Scale | None = None,
    ):
        core: Any = model.core
        self.model = model
        self.renderer = renderer
        self.head = head
        if head is None and core.score.weight.dtype != torch.float32:
            core.score.float()
        self.active = active
        self.scale = scale
        self.context_tokens: int = getattr(core.config, "max_position_embeddings", None) or _UNBOUNDED
        self.batch_tokens = min(batch_tokens, QUADRATIC_TOKENS) if quadratic(core) else batch_tokens
        self._packs = is_packing(core) or isolated(core)
        self._shares = not is_packing(core) and isolated(core, share=True)
        _check_vocabulary(core, renderer)

    @classmethod
    def load(
        cls,
        spec: str,
        *,
        device: str | None = None,
        batch_tokens: int = 8192,
        trust_remote_code: bool = False,
    ) -> "RewardModel":
        """From the folder of a reward stage, any sequence classifier with one label, or ``hub:org/name``.

        Raises:
            ModelError: nothing loadable there, no reward model, or one without a chat template.
        """
        model, tokenizer = load_classifier(spec, trust_remote_code=trust_remote_code)
        place: Any = device or ("cuda" if torch.cuda.is_available() else "cpu")
        return cls(
            PackedModel(model.to(place)),
            readable(Renderer(tokenizer), spec),
            batch_tokens=batch_tokens,
            scale=read_scale(Path(spec)),
        )

    @classmethod
    def on(
        cls, trunk: PackedModel, spec: str, *, base: str, seed: int = 0, batch_tokens: int = 8192
    ) -> "RewardModel":
        """The reward adapter in ``spec`` as one more adapter and a head on a model that is in memory already.

        Build it outside of ``packed_attention``; ``score`` may be called within. It leaves the adapter that was
        active before, and what of it is trained, as they were.

        Args:
            trunk: a language model with an adapter; its base must stay as it is.
            base: folder or id that the trunk's base was loaded from, with the ``seed`` of a ``tiny:`` one.

        Raises:
            ModelError: the reward model cannot share this base; ``load`` it instead.
        """
        if reason := reason_apart(spec, base=base, seed=seed):
            raise ModelError(f"{spec}: cannot share the model of {base}, since {reason}; load it beside it")
        adapted, folder = trunk.model, Path(spec)
        weight = add_frozen_adapter(adapted, folder, name=ADAPTER)["score.weight"]
        head = nn.Linear(weight.shape[1], 1, bias=False, device="meta")
        head.load_state_dict({"weight": weight.to(trunk.core.device, torch.float32)}, assign=True)
        return cls(
            trunk,
            readable(Renderer(load_tokenizer(spec)), spec),
            head=head,
            active=partial(using_adapter, adapted, ADAPTER),
            batch_tokens=batch_tokens,
            scale=read_scale(folder),
        )

    def score(
        self,
        requests: Sequence[Request],
        *,
        normalise: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> list[float]:
        """One score per request, in order. Neighbours with the same conversation share its computation.

        A conversation that is longer than the model's window loses its oldest exchanges.

        Args:
            normalise: subtract the mean and divide by the standard deviation of the scores on training data.
            progress: told how many more requests are done.

        Raises:
            DataError: an answer that the template cannot print, or that with its own question exceeds the window.
            ModelError: ``normalise``, but the model does not know its scale.
        """
        if normalise and self.scale is None:
            raise ModelError(
                f"the reward model has no {SCALE_FILE}, so its scale is not known; train one with kind: reward"
            )
        ids = iter(self._encoded(requests))
        neighbours = groupby(requests, key=lambda request: tuple(request[0]))
        groups = [[next(ids) for _ in members] for _, members in neighbours]
        scores = [score for group in self.score_tokens(groups, progress=progress) for score in group]
        mean, std = self.scale if normalise and self.scale else (0.0, 1.0)
        return [(score - mean) / std for score in scores]

    def score_tokens(
        self, groups: Sequence[Sequence[Ids]], *, progress: Callable[[int], None] | None = None
    ) -> list[list[float]]:
        """One score per sequence of tokens; what the sequences of a group begin with is computed once."""
        parts = [(number, part) for number, group in enumerate(groups) for part in self._parts(group)]
        costs = np.array([sum(map(len, part)) for _, part in parts], dtype=np.int64)
        scores: list[list[float]] = [[]] * len(parts)
        with self._scoring(), torch.no_grad():
            for members in first_fit(costs, self.batch_tokens):
                chosen = [parts[index][1] for index in members]
                found = self._read(self._packed(chosen)).split([len(part) for part in chosen])
                for index, values in zip(members.tolist(), found, strict=True):
                    scores[index] = values.tolist()
                if progress:
                    progress(sum(map(len, chosen)))
        result: list[list[float]] = [[] for _ in groups]
        for (number, _), values in zip(parts, scores, strict=True):
            result[number] += values
        return result

    def _read(self, packed: Packed) -> Tensor:
        """(S,) scores. A head of the model's own is read within its ``forward``, where sharded weights are whole."""
        if self.head is None:
            scores: Tensor = self.model(packed, want="scores")
            return scores
        return read_scores(self.head, self.model(packed, want="last_hidden"))

    def _parts(self, group: Sequence[Ids]) -> Iterator[list[Ids]]:
        """``group`` in runs that may share their beginning and fit into a batch."""
        part: list[Ids] = []
        room = self.batch_tokens
        for ids in group:
            room -= len(ids)
            if part and (room < 0 or not self._shares):
                yield part
                part, room = [], self.batch_tokens - len(ids)
            part.append(ids)
        if part:
            yield part

    @contextmanager
    def _scoring(self) -> Iterator[None]:
        """The model as it is to be read; afterwards it is as it was."""
        training = self.model.training
        self.model.eval()
        try:
            with self.active(), packed_attention(self.model.core) if self._packs else nullcontext():
                yield
        finally:
            self.model.train(training)

    def _packed(self, groups: Sequence[Sequence[Ids]]) -> Packed:
        nothing_trained = [[(ids, np.zeros(len(ids), np.bool_)) for ids in group] for group in groups]
        return pack_groups(nothing_trained).to(self.model.core.device)

    def _encoded(self, requests: Sequence[Request]) -> list[Ids]:
        encoded = self.renderer.encode([self._rendered(*request) for request in requests])
        return [
            item.ids if len(item.ids) <= self.context_tokens else self._windowed(*request)
            for item, request in zip(encoded, requests, strict=True)
        ]

    def _rendered(self, messages: Sequence[Message], answer: str) -> Any:
        """As for training, except that an answer may be empty here."""
        return self.renderer.conversation([*messages, Message("assistant", answer, train=False)])

    def _windowed(self, messages: Sequence[Message], answer: str) -> Ids:
        def encode(kept: Sequence[Message]) -> Ids:
            return self.renderer.encode([self._rendered(kept, answer)])[0].ids

        kept = fit_window(messages, room=self.context_tokens, count=lambda kept: len(encode(kept))).messages
        ids = encode(kept)
        if len(ids) > self.context_tokens:
            raise DataError(
                f"an answer of {len(answer)} characters, with its question {len(ids)} tokens, exceeds the reward "
                f"model's window of {self.context_tokens}; shorten it"
            )
        return ids


def read_scale(folder: Path) -> Scale | None:
    """What ``write_scale`` left beside a reward model."""
    path = folder / SCALE_FILE
    return Scale(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None


def write_scale(folder: Path, scale: Scale) -> None:
    """Keep ``scale`` beside the reward model in ``folder``."""
    (folder / SCALE_FILE).write_text(json.dumps(scale._asdict()), encoding="utf-8")


def readable(renderer: Renderer, spec: str) -> Renderer:
    """``renderer``, refused without a chat template."""
    if renderer.template_text is None:
        raise ModelError(
            f"{spec}: the reward model's tokenizer has no chat template; put chat_template.jinja beside it"
        )
    return renderer


def share_or_load(
    spec: str, trunk: PackedModel, *, base: str, seed: int = 0, trust_remote_code: bool = False
) -> RewardModel:
    """``RewardModel.on`` where it can share the trunk's base, else ``RewardModel.load``, and a line that says why."""
    adapted = isinstance(trunk.model, PeftModel)
    reason = reason_apart(spec, base=base, seed=seed) if adapted else "the policy's own weights are trained"
    if reason is None:
        return RewardModel.on(trunk, spec, base=base, seed=seed)
    print(f"reward model {spec} is loaded beside the policy: {reason}")
    return RewardModel.load(spec, device=str(trunk.core.device), trust_remote_code=trust_remote_code)


def _check_vocabulary(core: PreTrainedModel, renderer: Renderer) -> None:
    embedding: Any = core.get_input_embeddings()
    rows, tokens = embedding.weight.shape[0], len(renderer.tokenizer)
    if tokens > rows:
        raise ModelError(
            f"the reward model's tokenizer has {tokens} tokens and its embedding {rows} rows; put the tokenizer "
            "that it was trained with beside it"
        )
