"""Likelihood scores = a loop over tokens in float64, through the model's own attention."""

import math

import numpy as np
import pytest
import torch

from xinglin.data.records import Conversation, Document, Message, Origin
from xinglin.data.rendering import Renderer
from xinglin.selection.reading import Reader
from xinglin.selection.scores import Turn, Unscored, ifd, necessity, perplexity, superfilter

ORIGIN = Origin("talk.jsonl", 1)
TURNS = ("发热三天了怎么办？", "多喝水，休息。", "What about it?", "See a doctor.", "谢谢", "祝您早日康复。")


def talk(*texts, train=True):
    roles = ("user", "assistant")
    return Conversation(
        tuple(Message(roles[i % 2], text, train=train) for i, text in enumerate(texts)), ORIGIN
    )


@torch.no_grad()
def token_losses(model, prompt, answer):
    """Loss of each token of ``answer`` behind ``prompt``, one at a time."""
    losses = []
    for place in range(len(answer)):
        ids = torch.tensor([[*prompt, *answer[:place]]])
        logits = model(input_ids=ids, use_cache=False).logits[0, -1]
        losses.append(-float(torch.log_softmax(logits.double(), dim=-1)[answer[place]]))
    return losses


def brute_force(model, renderer, messages):
    """(loss, loss alone, tokens) of every answer."""
    found = []
    for place, message in enumerate(messages):
        if message.role == "assistant":
            asked, empty = (
                renderer.encode([renderer.preference(before, message.content)])[0]
                for before in (messages[:place], [Message("user", "")])
            )
            answer = asked.ids[asked.mask].tolist()
            prompts = [encoded.ids[: encoded.mask.argmax()].tolist() for encoded in (asked, empty)]
            told, single = (token_losses(model, prompt, answer) for prompt in prompts)
            found.append((sum(told), sum(single), len(answer)))
    return found


@pytest.mark.parametrize("architecture", ["qwen3", "bloom", "llama"])
def test_losses_with_and_without_the_question_are_those_of_a_plain_loop(tiny, tokenizer, architecture):
    model = tiny(architecture).double()
    renderer = Renderer(tokenizer, template="chatml")
    records = [talk(*TURNS), talk(*TURNS[:2]), talk(*TURNS[2:4])]
    read = Reader(model, renderer, batch_tokens=64).turns(records, alone=True)
    for record, turns in zip(records, read, strict=True):
        expected = brute_force(model, renderer, record.messages)
        assert [turn.tokens for turn in turns] == [tokens for *_, tokens in expected]
        np.testing.assert_allclose([t.loss for t in turns], [loss for loss, *_ in expected], rtol=1e-5)
        np.testing.assert_allclose([t.alone for t in turns], [alone for _, alone, _ in expected], rtol=1e-5)


def test_scores_are_the_papers_formulas():
    turn = Turn(loss=3.0, alone=4.0, tokens=2)
    assert ifd.ratio(turn) == (3 / 2) / (4 / 2)
    assert superfilter.ratio(turn) == pytest.approx(math.exp(3 / 2) / math.exp(4 / 2))
    assert perplexity.perplexity(turn) == math.exp(1.5) and necessity.loss_per_token(turn) == 1.5


def test_a_template_that_shows_earlier_answers_otherwise_is_read_answer_by_answer(tiny, tokenizer):
    thinking = "<think>\n先看体温。\n</think>\n\n多喝水。"
    record = talk(TURNS[0], thinking, TURNS[2], thinking)
    renderer = Renderer(tokenizer, template="qwen3")
    assert not renderer.keeps_answers(record.messages)
    model = tiny()
    (turns,) = Reader(model, renderer).turns([record])
    expected = brute_force(model, renderer, record.messages)
    np.testing.assert_allclose([turn.loss for turn in turns], [loss for loss, *_ in expected], rtol=1e-4)


def test_untrained_answers_do_not_count(tiny, tokenizer):
    reader = Reader(tiny(), Renderer(tokenizer, template="chatml"))
    messages = list(talk(*TURNS[:4]).messages)
    messages[1] = Message("assistant", TURNS[1], train=False)
    both, last = reader.turns([talk(*TURNS[:4]), Conversation(tuple(messages), ORIGIN)], alone=True)
    assert len(both) == 2 and last == [pytest.approx(both[1], rel=1e-5)]


def test_documents_have_a_perplexity(tiny, tokenizer):
    model, renderer = tiny(), Renderer(tokenizer, template="chatml")
    ((turn,),) = Reader(model, renderer).turns([Document("高血压患者应低盐饮食。", ORIGIN)])
    encoded = renderer.encode([renderer.document("高血压患者应低盐饮食。")])[0]
    expected = token_losses(model, encoded.ids[:1].tolist(), encoded.ids[1:].tolist())
    assert turn.loss == pytest.approx(sum(expected), rel=1e-4) and turn.tokens == len(encoded.ids) - 1


def test_what_cannot_be_read_says_why(tiny, tokenizer):
    reader = Reader(tiny(), Renderer(tokenizer, template="chatml"), max_tokens=40)
    long, empty, fine = reader.turns([talk("问" * 60, "答"), talk("问", ""), talk("问", "答")], alone=True)
    assert isinstance(long, Unscored) and long.reason == "too_long" and "the model reads 40" in long.detail
    assert isinstance(empty, Unscored) and empty.reason == "not_renderable"
    assert isinstance(fine, list)


@pytest.mark.parametrize("questions", [False, True])
def test_hidden_means_are_those_of_each_record_alone(tiny, tokenizer, questions):
    model, renderer = tiny(), Renderer(tokenizer, template="chatml")
    records = [talk(*TURNS), talk(*TURNS[:2])]
    found = Reader(model, renderer, batch_tokens=4096).hidden_means(records, questions=questions)
    for record, mean in zip(records, found, strict=True):
        if questions:
            ids = renderer.prompt_ids(record.messages[:-1])
        else:
            ids = renderer.encode([renderer.conversation(record.messages)])[0].ids.tolist()
        with torch.no_grad():
            hidden = model.base_model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        np.testing.assert_allclose(mean, hidden.mean(dim=0).numpy(), atol=1e-5)
