"""How a task asks about one item: prompt, gate, request, and a reply that is whole and of the form that is wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from xinglin.data.records import Message
from xinglin.endpoint import Client, Endpoint, Reply, Request
from xinglin.endpoint.client import SCHEMA
from xinglin.evaluate.extraction import final_answer
from xinglin.synthesis.gate import Gate
from xinglin.synthesis.task import Form, FormType, Item, Rejected, TaskConfig
from xinglin.synthesis.wording import Wording

SAMPLES_PER_TRY = 1000
"""Numbers of replies to the same prompt that belong to one try."""


@dataclass(frozen=True)
class Desk:
    """What the items of a stage share."""

    config: TaskConfig
    wording: Wording
    gate: Gate
    writer: Client
    judge: Client


@dataclass
class Asking:
    """An ``Ask`` for one try at one item; it remembers what was asked and said."""

    desk: Desk
    item: Item
    trial: int = 0
    prompts: dict[str, None] = field(default_factory=dict)
    """Ids of the prompts that were used, in order."""
    said: list[dict[str, str]] = field(default_factory=list)
    """Prompt and reply."""
    models: dict[str, None] = field(default_factory=dict)
    date: str = ""
    """Of the last reply."""

    @property
    def chinese(self) -> bool:
        return self.item.chinese

    async def __call__(
        self,
        prompt: str,
        *,
        history: Sequence[Message] = (),
        sample: int = 0,
        temperature: float | None = None,
        judge: bool = False,
        **values: Any,
    ) -> str:
        rendered = self.desk.wording.render(prompt, chinese=self.chinese, **values)
        messages = (Message("system" if history else "user", rendered.text), *history)
        return await self._reply(rendered.id, messages, judge, self._parameters(judge, temperature), sample)

    async def form(
        self, prompt: str, form: type[FormType], *, judge: bool = False, **values: Any
    ) -> FormType:
        rendered = self.desk.wording.render(prompt, chinese=self.chinese, **values)
        messages = (Message("user", rendered.text),)
        parameters = {**self._parameters(judge, 0.0 if judge else None), SCHEMA: _schema(form)}
        text = await self._reply(rendered.id, messages, judge, parameters, 0)
        try:
            return form.model_validate_json(_json_in(text))
        except ValidationError as error:
            repair = self.desk.wording.render("repair", chinese=self.chinese, problem=_problem(error))
        messages = (*messages, Message("assistant", text), Message("user", repair.text))
        text = await self._reply(repair.id, messages, judge, parameters, 0)
        try:
            return form.model_validate_json(_json_in(text))
        except ValidationError as error:
            raise Rejected("wrong_form", _problem(error)) from None

    def provenance(self) -> dict[str, Any]:
        """``meta.synthesis`` of what is made."""
        return {
            "task": self.desk.config.name,
            "model": ", ".join(self.models),
            "date": self.date,
            "prompts": list(self.prompts),
            "source": str(self.item.record.origin),
        }

    def _parameters(self, judge: bool, temperature: float | None) -> dict[str, Any]:
        config, endpoint = self.desk.config, self._client(judge).endpoint
        return {
            endpoint.limit_name: config.max_new_tokens,
            "temperature": config.temperature if temperature is None else temperature,
            **endpoint.parameters,
        }

    def _client(self, judge: bool) -> Client:
        return self.desk.judge if judge else self.desk.writer

    async def _reply(
        self, prompt: str, messages: Sequence[Message], judge: bool, parameters: dict[str, Any], sample: int
    ) -> str:
        client = self._client(judge)
        sent = self.desk.gate.outgoing(messages, self.item.record.origin)
        number = self.trial * SAMPLES_PER_TRY + sample
        reply = await client.ask(Request(client.endpoint.model, sent, parameters, number))
        self.prompts[prompt] = None
        self.models[client.endpoint.model] = None
        self.date = max(self.date, reply.date)
        text = final_answer(reply.text).strip()
        self.said.append({"prompt": prompt, "text": text})
        return _whole(reply, text)


def endpoints(writer: Endpoint, config: TaskConfig) -> list[Endpoint]:
    """The one that writes and, if the task has one of its own, the one that judges."""
    judge: Endpoint | None = getattr(config, "judge", None)
    return [writer, judge] if judge else [writer]


def _whole(reply: Reply, text: str) -> str:
    if reply.finish == "length":
        raise Rejected("cut_off", f"after {reply.completion_tokens} tokens")
    if reply.finish == "content_filter":
        raise Rejected("content_filter")
    if not text:
        raise Rejected("empty")
    return text


def _json_in(text: str) -> str:
    """From the first brace to the last: models like to put words and fences around."""
    return text[text.find("{") : text.rfind("}") + 1]


def _schema(form: type[Form]) -> dict[str, Any]:
    schema = {"name": form.__name__, "strict": True, "schema": form.model_json_schema()}
    return {"type": "json_schema", "json_schema": schema}


def _problem(error: ValidationError) -> str:
    """The first thing wrong, without what the reply said."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]
