"""Records -> text with an exact loss mask. The only file that runs chat templates.

A conversation fills the skeleton of its shape (``skeleton.py`` says what that is and which text an answer
owns), and the result is compared with a real rendering, so a template that treats some content differently is
caught and never mis-masked.

Reasoning is ``<think>…</think>`` at the start of an answer. An answer is trained behind the generation prompt that
asks for it: the thinking one if it has reasoning, the other if not. Which earlier answers keep theirs is up to the
template: Qwen3 prints reasoning, and the empty block that stands for none, after the last question only, and so the
answers before it are trained without either (``keeps_answers``).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Literal

from jinja2 import Template, TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import _compile_jinja_template

from xinglin.data.encoding import Encoded, Memo, Segment, SegmentEncoder
from xinglin.data.records import Message
from xinglin.data.shape import Pieces, Shape, pieces_of, rows_of, shape_of, without_reasoning
from xinglin.data.skeleton import Part, Skeleton, SkeletonReader, first_difference
from xinglin.data.templates import load_template, template_names
from xinglin.errors import DataError, ModelError

Reasoning = Literal["auto", "keep", "drop"]
Tools = Sequence[Mapping[str, Any]]

_MODE = "reasoning"
"""Key of ``tokenizer_config.json``."""
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
        reasoning: ``auto`` asks an answer with reasoning to think and one without not to; ``keep`` asks every
            answer to think, so that one without learns to write the empty block; ``drop`` takes reasoning out.
            Prompts ask to think with ``keep`` only. None: as the tokenizer says (``imprint``), else ``auto``.

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
        reasoning: Reasoning | None = None,
    ):
        self.tokenizer = tokenizer
        self.reasoning: Reasoning = reasoning or tokenizer.init_kwargs.get(_MODE, "auto")
        self.template_text: str | None = None
        """The template's Jinja source, for the folder of the model that is trained with it."""
        if template:
            self.template_text = load_template(template)
        elif tokenizer.chat_template:
            self.template_text = tokenizer.get_chat_template()
        self._name = f"'{template}'" if template else "of the tokenizer"
        self._encoder = SegmentEncoder(tokenizer)
        bos = str(tokenizer.bos_token or "")
        self._bos = bos if bos != self._encoder.eos else ""
        """What a text that is rendered already would begin with; '' if that says nothing."""
        self._reader = SkeletonReader(
            self._render,
            name=self._name,
            added_token=self._encoder.added_token,
            bos=bos,
            eos=self._encoder.eos,
            thinks=self.reasoning == "keep",
        )
        self.stop_ids: tuple[int, ...] = self._ids([self._encoder.eos])
        """Ids of the tokens that end an assistant turn; generation stops at any of them."""
        if self.template_text is not None:
            self._check_template()

    @cached_property
    def fingerprint(self) -> str:
        """Changes whenever the same record could become other tokens."""
        tokens = self.tokenizer.special_tokens_map
        identity = [self._encoder.backend.to_str(), tokens, self.template_text, self.reasoning]
        return hashlib.sha256(json.dumps(identity, sort_keys=True, default=str).encode()).hexdigest()[:16]

    def imprint(self) -> None:
        """Write template and reasoning into the tokenizer: a model saved with it is asked as it was trained."""
        self.tokenizer.chat_template = self.template_text
        self.tokenizer.init_kwargs[_MODE] = self.reasoning

    def conversation(self, messages: Sequence[Message], *, tools: Tools = ()) -> tuple[Segment, ...]:
        """The template's rendering, in which every assistant message counts as its ``train`` says.

        Raises:
            DataError: the template refuses, rewrites or omits a message, a call or a tool, or an answer to train
                on is empty.
            ModelError: there is no template.
        """
        messages = self._as_trained(messages)
        pieces = [pieces_of(message) for message in messages]
        for index, message in enumerate(messages):
            if not pieces[index] and message.role == "assistant" and message.train:
                raise DataError(
                    f"message {index + 1} (assistant) is empty; give it a text or leave the row out"
                )
        return self._fill(messages, pieces, tools, generation=False)

    def keeps_answers(self, messages: Sequence[Message], *, tools: Tools = ()) -> bool:
        """Whether every trained answer is shown, once others follow it, as it is shown when it is the last.

        If not (Qwen3), earlier answers of the conversation are trained in a form that no prompt asks for. Raises as
        ``conversation`` does.
        """
        messages = self._as_trained(messages)
        shape, pieces = shape_of(messages, tools), [pieces_of(message) for message in messages]
        whole = self._render(shape, pieces, generation=False)
        answered = (
            end
            for end, message in enumerate(messages[:-1], start=1)
            if message.role == "assistant" and message.train
        )
        return all(
            whole.startswith(self._render(shape.before(end), pieces[:end], generation=False))
            for end in answered
        )

    def preference(
        self, prompt: Sequence[Message], answer: str | Message, *, tools: Tools = ()
    ) -> tuple[Segment, ...]:
        """``prompt`` and ``answer`` as a conversation in which only the answer is trained. Raises as it does."""
        history = [replace(message, train=False) for message in prompt]
        said = answer if isinstance(answer, Message) else Message("assistant", answer)
        return self.conversation([*history, said], tools=tools)

    def document(self, text: str) -> tuple[Segment, ...]:
        """``text`` between the bos token, if the tokenizer adds one by itself, and the eos token; all trained.

        Raises:
            DataError: the text begins with a bos token of its own.
        """
        self._refuse_bos(text, "the document")
        bos = [Segment(self._encoder.bos, True)] if self._encoder.bos else []
        return (*bos, *self._encoder.neutral(text, True), Segment(self._encoder.eos, True))

    def prompt(self, messages: Sequence[Message], *, tools: Tools = ()) -> str:
        """The rendering up to where the model has to answer. Raises as ``conversation`` does."""
        return "".join(segment.text for segment in self.prompt_segments(messages, tools=tools))

    def prompt_segments(self, messages: Sequence[Message], *, tools: Tools = ()) -> tuple[Segment, ...]:
        """``prompt`` in the segments it is encoded in; an answer may be appended to them."""
        untrained = [replace(message, train=False) for message in self._as_trained(messages)]
        return self._fill(untrained, [pieces_of(message) for message in untrained], tools, generation=True)

    def prompt_ids(self, messages: Sequence[Message], *, tools: Tools = ()) -> list[int]:
        """The tokens of ``prompt``: those that stand before the answer when the conversation is trained on."""
        return self.encode([self.prompt_segments(messages, tools=tools)])[0].ids.tolist()

    def encode(self, rendered: Sequence[tuple[Segment, ...]], *, memo: Memo | None = None) -> list[Encoded]:
        """Tokens and weights of many renderings at once; what calls with the same ``memo`` share is encoded once."""
        return self._encoder.encode(rendered, memo=memo)

    def expect(self, num_bytes: int) -> bool:
        """Get ready to encode that much text; returns ``bulk``."""
        return self._encoder.expect(num_bytes)

    @property
    def bulk(self) -> bool:
        """Whether fastokens encodes; from True to False if it was ever wrong, and then what it gave is in doubt."""
        return self._encoder.bulk

    def visible(self, encoded: Encoded) -> list[list[str | bool | float]]:
        """``[text, trained]`` runs of one row, decoded from its tokens: the mask as a person can check it."""
        return self._encoder.visible(encoded)

    def _as_trained(self, messages: Sequence[Message]) -> Sequence[Message]:
        if self.reasoning != "drop":
            return messages
        return [
            replace(message, content=without_reasoning(message.content))
            if message.role == "assistant"
            else message
            for message in messages
        ]

    def _fill(
        self, messages: Sequence[Message], pieces: Pieces, tools: Tools, *, generation: bool
    ) -> tuple[Segment, ...]:
        shape = shape_of(messages, tools)
        self._refuse_special_tokens(messages, shape)
        rendered = self._render(shape, pieces, generation=generation)
        # The second time with a new skeleton: a template may print today's date, and midnight may have passed.
        for fresh in (False, True):
            skeleton = self._reader.read(shape, generation=generation, fresh=fresh)
            segments = self._assemble(skeleton, messages, pieces)
            if "".join([segment.text for segment in segments]) == rendered + skeleton.closing:
                return segments
        index, printed, expected = first_difference(skeleton, pieces, rendered)
        raise DataError(
            f"the chat template {self._name} rewrites message {index + 1} ({messages[index].role}): it prints "
            f"{printed!r} where the data has {expected!r}; change the row or the template"
        )

    def _assemble(
        self, skeleton: Skeleton, messages: Sequence[Message], pieces: Pieces
    ) -> tuple[Segment, ...]:
        """One segment per run of parts with one owner: token boundaries do not depend on ``train`` flags."""
        segments: list[Segment] = []
        before = None
        for owner, parts in skeleton.runs:
            weight = messages[owner].train if owner >= 0 else False
            for text, plain in self._stretches(parts, pieces):
                if owner == before and not (plain or segments[-1].plain):
                    segments[-1] = Segment(segments[-1].text + text, weight)
                else:
                    segments.append(Segment(text, weight, plain))
                before = owner
        return tuple(segments)

    def _stretches(self, parts: Sequence[Part], pieces: Pieces) -> list[tuple[str, bool]]:
        """The texts of ``parts``, and whether each is plain: one, as long as no content spells a special token."""
        texts = [part.text or part.fill(pieces) for part in parts]
        for part, text in zip(parts, texts, strict=True):
            if part.slot and self._encoder.may_spell(text):
                break
        else:
            whole = "".join(texts)
            return [(whole, False)] if whole else []
        cut = (
            self._encoder.neutral(text, False) if part.slot else [Segment(text, False)]
            for part, text in zip(parts, texts, strict=True)
        )
        return [(segment.text, segment.plain) for each in cut for segment in each if segment.text]

    @cached_property
    def _template(self) -> tuple[Template, dict[str, Any]]:
        """The template, and what it sees in every rendering."""
        if self.template_text is None:
            known = ", ".join(template_names())
            raise ModelError(f"the tokenizer has no chat template; name one in the recipe: {known}")
        # What ``apply_chat_template`` renders with, without the copies that it makes of every message.
        template = _compile_jinja_template(self.template_text)
        return template, {**template.globals, **self.tokenizer.special_tokens_map, "documents": None}

    def _render(self, shape: Shape, pieces: Pieces, *, generation: bool, thinking: bool | None = None) -> str:
        try:
            template, seen = self._template
            own = {
                "messages": rows_of(shape, pieces),
                "tools": json.loads(shape.tools) if shape.tools else None,
                "add_generation_prompt": generation,
                "enable_thinking": self.reasoning == "keep" if thinking is None else thinking,
            }
            return "".join(template.root_render_func(template.new_context(seen | own, shared=True)))
        except (TemplateError, TypeError) as error:
            raise DataError(f"the chat template {self._name} refuses the conversation: {error}") from error

    def _check_template(self) -> None:
        try:
            (trained,) = self.encode([self.conversation(_PROBE)])
            prompt = self.prompt_ids(_PROBE[:-1])
        except DataError as error:
            raise ModelError(f"cannot use the chat template {self._name}: {error}") from error
        if trained.ids[: len(prompt)].tolist() != prompt:
            raise ModelError(
                f"the chat template {self._name} asks for an answer with {self.prompt(_PROBE[:-1])[-40:]!r}, but does "
                f"not show answers that way; change reasoning or name one of {', '.join(template_names())}"
            )
        stops = self._reader.read(shape_of(_PROBE), generation=False).stops
        self.stop_ids = tuple(dict.fromkeys([*self.stop_ids, *self._ids(sorted(stops))]))

    def _ids(self, tokens: list[str]) -> tuple[int, ...]:
        found = (self._encoder.backend.token_to_id(token) for token in tokens)
        return tuple(index for index in found if index is not None)

    def _refuse_special_tokens(self, messages: Sequence[Message], shape: Shape) -> None:
        """Where the template writes them itself, special tokens that data spell could not be told from its own."""
        for index, form in enumerate(shape.forms):
            if not (self._bos or form.calls or form.name):
                continue
            message = messages[index]
            place = f"message {index + 1} ({message.role})"
            self._refuse_bos(message.content, place)
            for text in form.calls if form.name is None else (*form.calls, form.name):
                self._refuse_special(text, f"a call in {place}")
        self._refuse_special(shape.tools, "the description of the tools")

    def _refuse_special(self, text: str, place: str) -> None:
        if text and (token := self._encoder.special_token_in(text)):
            raise DataError(f"{place} spells the special token {token!r}; reword it or leave the row out")

    def _refuse_bos(self, text: str, place: str) -> None:
        if self._bos and text.lstrip().startswith(self._bos):
            raise DataError(
                f"{place} begins with the bos token {self._bos!r}, so it is already rendered; give the bare text"
            )
