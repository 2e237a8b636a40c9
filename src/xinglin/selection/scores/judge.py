"""Judge: the mark that a model behind an OpenAI-compatible endpoint gives to the last answer."""

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from xinglin.data.deidentify import Deidentification, Deidentifier, project_key
from xinglin.data.records import Conversation, Message, Record
from xinglin.data.writing.language import contains_chinese
from xinglin.endpoint import Budget, CapReached, Caps, Client, Endpoint, Ledger, NoReply, Reply, Request
from xinglin.errors import EndpointError
from xinglin.evaluate.extraction import final_answer
from xinglin.selection.scores import Context, Score, ScoreConfig, Unscored, Value

RECORDS = ("conversation",)
PROMPTS = {
    True: "你是一位严格的医学编辑。请按医学准确性、安全性（该就医时是否建议就医）和是否切中问题，"
    "给下面对话中助手的最后一条回答打分，从1分（错误或有害）到10分（准确、安全、有用）。"
    "回答较长并不更好。只输出一个整数。\n\n{dialogue}",
    False: "You are a strict medical editor. Mark the assistant's last answer in the dialogue below for medical "
    "accuracy, safety (does it send to care what must not wait) and whether it answers the question, from 1 (wrong or "
    "harmful) to 10 (accurate, safe, useful). Longer is not better. Reply with one integer only.\n\n{dialogue}",
}
"""By whether the dialogue is in Chinese."""
_MARK = re.compile(r"(?<![\d./])(?:10|[1-9])(?![\d.]?\d)")
_AT_ONCE = re.compile(rf"({_MARK.pattern})\s*(?:分|/\s*10)?\s*(?:[。.]?\s*(?:\n|$)|[,，;；:：(（])")
"""A mark that stands before its reasons, in which there may be numbers too."""
_OF_THE_TEXT = ("refused_by_server", "bad_request")
"""Reasons to get no reply that asking again does not change."""


class Config(ScoreConfig):
    """A mark from 1 to 10 for medical accuracy, safety and pertinence. Records that are sent to an endpoint that is not
    local are de-identified first, with placeholders."""

    name: Literal["judge"]
    """This score."""
    endpoint: Endpoint
    """Who judges."""
    max_new_tokens: Annotated[int, Field(gt=0)] = 16
    """Of a reply. Models that reason before they answer need some thousand."""
    caps: Caps = Caps()
    """What may be spent. A cap that is reached ends the stage; it goes on with higher ones."""

    @model_validator(mode="after")
    def _prices_for_costs(self) -> Self:
        if self.caps.max_cost and not self.endpoint.prices:
            raise ValueError("caps.max_cost needs the prices of the endpoint; add them")
        return self


def open(config: Config, context: Context) -> Score:
    rules = Deidentification(mode="off" if config.endpoint.is_local else "replace", style="placeholder")
    key = project_key(rules) if rules.mode == "replace" else None
    gate = Deidentifier(rules, key=key)
    # One client for all records: its limits hold from the first request to the last.
    ledger = context.until_done.enter_context(Ledger(context.cache / "judge-replies.jsonl"))
    runner = context.until_done.enter_context(asyncio.Runner())
    budget = Budget(config.caps, context.scratch / f"{config.title}-spent.jsonl")
    client = Client(config.endpoint, ledger, budget)
    runner.run(client.__aenter__())
    context.until_done.callback(lambda: runner.run(client.__aexit__(None, None, None)))

    def score(records: Sequence[Record]) -> list[Value]:
        requests = [_request(gate.apply(record), config) for record in records]
        return [_value(reply) for reply in runner.run(_ask(requests, client))]

    return score


async def _ask(requests: list[Request], client: Client) -> list[Reply | NoReply]:
    """
    Raises:
        EndpointError: no reply can be had as things are, or a cap is reached.
    """

    async def ask(request: Request) -> Reply | NoReply:
        try:
            return await client.ask(request)
        except NoReply as error:
            if error.reason in _OF_THE_TEXT:
                return error
            raise EndpointError(
                f"{client.endpoint.title}: {error.detail}; run again (replies are kept)"
            ) from None

    tasks = [asyncio.create_task(ask(request)) for request in requests]
    try:
        return await asyncio.gather(*tasks)
    except CapReached as error:
        raise EndpointError(f"score judge: {error} is reached; raise it under caps") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _request(record: Record, config: Config) -> Request:
    assert isinstance(record, Conversation)
    dialogue = "\n".join(f"{message.role}: {message.content}" for message in record.messages)
    prompt = PROMPTS[contains_chinese(dialogue)].format(dialogue=dialogue)
    endpoint = config.endpoint
    parameters = {endpoint.limit_name: config.max_new_tokens, "temperature": 0.0, **endpoint.parameters}
    return Request(endpoint.model, (Message("user", prompt),), parameters)


def _value(reply: Reply | NoReply) -> Value:
    """The mark that a reply begins with, else the last one in it, if it was not cut off before its end."""
    if isinstance(reply, NoReply):
        return Unscored(reply.reason, reply.detail)
    said = final_answer(reply.text).strip()
    if first := _AT_ONCE.match(said):
        return float(first[1])
    marks = _MARK.findall(said) if reply.finish != "length" else []
    return float(marks[-1]) if marks else Unscored("no_mark", f"the judge said {reply.text[:80]!r}")
