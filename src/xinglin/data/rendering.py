"""Records -> text with an exact loss mask. The only file that runs chat templates.

A conversation fills the skeleton of its shape (``skeleton.py`` says what that is and which text an answer
owns), and the result is compared with a real rendering, so a template that treats some content differently is
caught and never mis-masked.

Reasoning (``<think>…</think>`` at the start of an answer) is kept where the template keeps it. Qwen3 prints
reasoning, and the empty block that stands for none, after the last question only; earlier answers of a
conversation are trained as that template shows them, without either.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from xinglin.data.encoding import Encoded, Segment, SegmentEncoder
from xinglin.data.records import Message
from xinglin.data.skeleton import Shape, Skeleton, SkeletonReader, first_difference, pieces_of, shape_of
from xinglin.data.templates import load_template, template_names
from xinglin.errors import DataError, ModelError

_PROBE = (
    Message("user", "问 1"),
    Message("assistant", "答 1"),
    Message("user", "问 2"),
    Message("assistant", "答 2"),
)


class Renderer:
    """Renders and encodes records for one tokenizer and one chat template.

    Args:
        tokenizer: a fast tokenizer with an eos token.
        template: name of a packaged template; None takes the tokenizer's own.
        enable_thinking: which generation prompt a template with a thinking switch (Qwen3) prints.

    Raises:
        PluginError: no packaged template of that name.
        ModelError: the tokenizer or the template cannot be used. Where there is no template at all, documents can
            still be rendered and everything else raises.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str | None = None,
        enable_thinking: bool = False,
    ):
        self.tokenizer = tokenizer
        self.enable_thinking = enable_thinking
        self.template_text: str | None = None
        """The template's Jinja source, for the folder of the model that is trained with it."""
        if template:
            self.template_text = load_template(template)
        elif tokenizer.chat_template:
            self.template_text = tokenizer.get_chat_template()
        self._name = f"'{template}'" if template else "of the tokenizer"
        self._encoder = SegmentEncoder(tokenizer)
        self._reader = SkeletonReader(
            self._render,
            name=self._name,
            added_token=self._encoder.added_token,
            bos=str(tokenizer.bos_token or ""),
            eos=self._encoder.eos,
        )
        self.stop_ids: tuple[int, ...] = self._ids([self._encoder.eos])
        """Ids of the tokens that end an assistant turn; generation stops at any of them."""
        if self.template_text is not None:
            self._check_template()

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the same record could become other tokens."""
        tokens = self.tokenizer.special_tokens_map
        identity = [self._encoder.backend.to_str(), tokens, self.template_text, self.enable_thinking]
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def conversation(self, messages: Sequence[Message]) -> tuple[Segment, ...]:
        """The template's rendering, in which every assistant message with ``train`` is trained.

        Raises:
            DataError: the template refuses, rewrites or omits a message, or an answer to train on is empty.
            ModelError: there is no template.
        """
        for index, message in enumerate(messages):
            if message.role == "assistant" and message.train and not message.content:
                raise DataError(
                    f"message {index + 1} (assistant) is empty; give it a text or leave the row out"
                )
        return self._fill(messages, generation=False)

    def preference(self, prompt: Sequence[Message], answer: str) -> tuple[Segment, ...]:
        """``prompt`` and ``answer`` as a conversation in which only the answer is trained. Raises as it does."""
        history = [replace(message, train=False) for message in prompt]
        return self.conversation([*history, Message("assistant", answer)])

    def document(self, text: str) -> tuple[Segment, ...]:
        """``text`` between the bos token, if the tokenizer adds one by itself, and the eos token; all trained.

        Raises:
            DataError: the text begins with a bos token of its own.
        """
        self._refuse_bos(text, "the document")
        bos = [Segment(self._encoder.bos, True)] if self._encoder.bos else []
        return (*bos, *self._encoder.neutral(text, True), Segment(self._encoder.eos, True))

    def prompt(self, messages: Sequence[Message]) -> str:
        """The rendering up to where the model has to answer. Raises as ``conversation`` does."""
        return "".join(segment.text for segment in self.prompt_segments(messages))

    def prompt_segments(self, messages: Sequence[Message]) -> tuple[Segment, ...]:
        """``prompt`` in the segments it is encoded in; an answer may be appended to them."""
        return self._fill([replace(message, train=False) for message in messages], generation=True)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of ``prompt``: those that stand before the answer when the conversation is trained on."""
        return self.encode([self.prompt_segments(messages)])[0].ids.tolist()

    def encode(self, rendered: Sequence[tuple[Segment, ...]]) -> list[Encoded]:
        """Tokens and masks of many renderings at once."""
        return self._encoder.encode(rendered)

    def visible(self, encoded: Encoded) -> list[list[str | bool]]:
        """``[text, trained]`` runs of one row, decoded from its tokens: the mask as a person can check it."""
        return self._encoder.visible(encoded)

    def _fill(self, messages: Sequence[Message], *, generation: bool) -> tuple[Segment, ...]:
        for index, message in enumerate(messages):
            self._refuse_bos(message.content, f"message {index + 1} ({message.role})")
        shape = shape_of(messages)
        pieces = [pieces_of(message) for message in messages]
        rendered = self._render(shape, [message.content for message in messages], generation=generation)
        # The second time with a new skeleton: a template may print today's date, and midnight may have passed.
        for fresh in (False, True):
            skeleton = self._reader.read(shape, generation=generation, fresh=fresh)
            segments = self._assemble(skeleton, messages, pieces)
            if "".join(segment.text for segment in segments) == rendered + skeleton.closing:
                return segments
        index, printed, expected = first_difference(skeleton, pieces, rendered)
        raise DataError(
            f"the chat template {self._name} rewrites message {index + 1} ({messages[index].role}): it prints "
            f"{printed!r} where the data has {expected!r}; change the row or the template"
        )

    def _assemble(
        self, skeleton: Skeleton, messages: Sequence[Message], pieces: Sequence[tuple[str, ...]]
    ) -> tuple[Segment, ...]:
        """One segment per run of parts with one owner: token boundaries do not depend on ``train`` flags."""
        segments: list[Segment] = []
        owner = None
        for part in skeleton.parts:
            trained = part.owner >= 0 and messages[part.owner].train
            text = part.fill(pieces)
            for segment in self._encoder.neutral(text, trained) if part.slot else [Segment(text, trained)]:
                if part.owner == owner and not (segment.plain or segments[-1].plain):
                    segments[-1] = Segment(segments[-1].text + segment.text, trained)
                elif segment.text:
                    segments.append(segment)
                    owner = part.owner
        return tuple(segments)

    def _render(
        self, shape: Shape, contents: Sequence[str], *, generation: bool, thinking: bool | None = None
    ) -> str:
        if self.template_text is None:
            known = ", ".join(template_names())
            raise ModelError(f"the tokenizer has no chat template; name one in the recipe: {known}")
        rows = [
            {"role": role, "content": content} for (role, _), content in zip(shape, contents, strict=True)
        ]
        variables: dict[str, Any] = dict(self.tokenizer.special_tokens_map)
        variables["enable_thinking"] = self.enable_thinking if thinking is None else thinking
        try:
            (rendered,), _ = render_jinja_template(
                [rows], chat_template=self.template_text, add_generation_prompt=generation, **variables
            )
        except (TemplateError, TypeError) as error:
            raise DataError(f"the chat template {self._name} refuses the conversation: {error}") from error
        return rendered

    def _check_template(self) -> None:
        try:
            (trained,) = self.encode([self.conversation(_PROBE)])
            prompt = self.prompt_ids(_PROBE[:-1])
        except DataError as error:
            raise ModelError(f"cannot use the chat template {self._name}: {error}") from error
        if trained.ids[: len(prompt)].tolist() != prompt:
            raise ModelError(
                f"the chat template {self._name} asks for an answer with {self.prompt(_PROBE[:-1])[-40:]!r}, but does "
                f"not show answers that way; change enable_thinking or name one of {', '.join(template_names())}"
            )
        stops = self._reader.read(shape_of(_PROBE), generation=False).stops
        self.stop_ids = tuple(dict.fromkeys([*self.stop_ids, *self._ids(sorted(stops))]))

    def _ids(self, tokens: list[str]) -> tuple[int, ...]:
        found = (self._encoder.backend.token_to_id(token) for token in tokens)
        return tuple(index for index in found if index is not None)

    def _refuse_bos(self, text: str, place: str) -> None:
        bos = self.tokenizer.bos_token
        if bos and bos != self._encoder.eos and text.lstrip().startswith(str(bos)):
            raise DataError(
                f"{place} begins with the bos token {bos!r}, so it is already rendered; give the bare text"
            )
