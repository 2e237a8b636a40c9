"""Conversations: how close a model's answer is to the one that was given.

    {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}

The model answers after the messages that went before, as they stand in the data. BLEU-4 and ROUGE measure shared
words, not right advice; lengths in characters are reported beside them because they move with both.
"""

from typing import Literal

from xinglin.data.records import Conversation
from xinglin.data.shape import without_reasoning
from xinglin.engines import Generation
from xinglin.evaluate.extraction import final_answer
from xinglin.evaluate.scorers import bleu_4, rouge
from xinglin.evaluate.task import BenchmarkConfig, Item, Output, Verdict, record_error

RECORD = "conversation"
COMPARED = {"bleu_4": "higher", "rouge_1": "higher", "rouge_2": "higher", "rouge_l": "higher"}


class Config(BenchmarkConfig):
    """Answers in conversations."""

    name: Literal["dialogue"]
    """Which benchmark: a file in ``evaluate/benchmarks/``."""
    turns: Literal["last", "all"] = "last"
    """Answer for the last trained assistant message of a conversation, or for each of them."""


def items(conversation: Conversation, config: Config) -> list[Item]:
    """One item per assistant message to be predicted.

    Raises:
        DataError: nothing was asked before such a message, or the conversation has tools.
    """
    if conversation.tools:
        raise record_error(conversation, "it has tools, which this benchmark does not offer to a model")
    messages = conversation.messages
    places = [
        place for place, message in enumerate(messages) if message.role == "assistant" and message.train
    ]
    asked = places if config.turns == "all" else places[-1:]
    if not asked or all(message.role != "user" for message in messages[: asked[0]]):
        raise record_error(conversation, "no user message before the answer to be predicted")
    return [
        Item(messages[:place], without_reasoning(messages[place].content), conversation) for place in asked
    ]


def score(item: Item, output: Output, config: Config) -> Verdict:
    assert isinstance(output, Generation)
    answer = final_answer(output.text)
    overlap = rouge(answer, reference=item.reference)
    scores = {
        "bleu_4": bleu_4(answer, reference=item.reference),
        **overlap._asdict(),
        "mean_length": float(len(answer)),
        "reference_length": float(len(item.reference)),
        "truncated": output.finish == "length",
        "shortened": output.left_out > 0,
    }
    return Verdict(answer, overlap.rouge_l, scores)
