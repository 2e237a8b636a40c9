"""The engine: answers do not depend on batching, likelihoods equal a plain forward pass."""

import pytest
import torch

from xinglin.config.tiny import ARCHITECTURES
from xinglin.data.records import Message
from xinglin.data.rendering import Renderer
from xinglin.engines.transformers import TransformersEngine
from xinglin.errors import DataError

QUESTIONS = ["你好", "Which drug is first-line for hypertension?", "孕妇发热怎么办？请说明。", "chest pain"]


@pytest.fixture
def engine(tiny, tokenizer):
    def build(architecture="qwen3", *, template="chatml", batch_tokens=8192):
        return TransformersEngine(
            tiny(architecture), Renderer(tokenizer, template=template), batch_tokens=batch_tokens
        )

    return build


def ask(text):
    return [Message("user", text)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_do_not_depend_on_the_batch(engine, architecture):
    together = engine(architecture).generate([ask(q) for q in QUESTIONS], max_new_tokens=12)
    for question, answer in zip(QUESTIONS, together, strict=True):
        assert engine(architecture, batch_tokens=1).generate([ask(question)], max_new_tokens=12) == [answer]


def test_a_stream_is_the_generated_text_in_pieces(engine):
    engine = engine()
    whole = engine.generate([ask(QUESTIONS[2])], max_new_tokens=20)[0]
    pieces = list(engine.stream(ask(QUESTIONS[2]), max_new_tokens=20))
    assert "".join(pieces).strip().startswith(whole.text.rstrip("\ufffd")[:10])
    assert not any(piece.endswith("\ufffd") for piece in pieces)


@pytest.mark.parametrize("template", ["chatml", "glm4", "llama2", "vicuna", "qwen3"])
def test_likelihoods_equal_a_plain_forward_pass(engine, template):
    engine = engine(template=template)
    answers = ["氨氯地平", "rest", "请立即就医。"]
    measured = engine.log_likelihoods([(ask(QUESTIONS[1]), answer) for answer in answers])
    for answer, likelihood in zip(answers, measured, strict=True):
        prompt = engine.renderer.prompt_ids(ask(QUESTIONS[1]))
        full = engine.renderer.encode([engine.renderer.preference(ask(QUESTIONS[1]), answer)])[0].ids.tolist()
        assert full[: len(prompt)] == prompt
        with torch.no_grad():
            rows = engine.model(torch.tensor([full])).logits[0].double().log_softmax(-1)
        ends = range(len(prompt), len(full))
        text = engine.renderer.tokenizer.decode
        end = next(i for i in ends if text(full[len(prompt) : i + 1]).strip() == answer)
        expected = sum(rows[i - 1, full[i]].item() for i in range(len(prompt), end + 1))
        assert likelihood.total == pytest.approx(expected, abs=1e-3)
        assert likelihood.tokens == end + 1 - len(prompt)


def test_a_prompt_beyond_the_window_is_refused(engine):
    with pytest.raises(DataError, match="exceed the model's window of 2048"):
        engine().generate([ask("很长" * 4000)], max_new_tokens=8)


def test_likelihoods_of_a_model_that_cannot_be_packed(engine, monkeypatch):
    """Sequences that would see each other are scored one by one, to the same numbers."""
    answers = ["氨氯地平", "rest", "请立即就医。"]
    expected = engine().log_likelihoods([(ask(QUESTIONS[1]), answer) for answer in answers])
    leaking = engine()
    monkeypatch.setattr("xinglin.engines.transformers.isolated", lambda model: False)
    measured = leaking.log_likelihoods([(ask(QUESTIONS[1]), answer) for answer in answers])
    for one, other in zip(measured, expected, strict=True):
        assert one.total == pytest.approx(other.total, abs=1e-4)


def test_a_history_beyond_the_window_loses_its_oldest_exchanges_and_says_so(engine):
    engine = engine()
    history = [
        part
        for _ in range(40)
        for part in (Message("user", "发热" * 20), Message("assistant", "多喝水" * 20))
    ]
    long = [Message("system", "你是医生。"), *history, *ask(QUESTIONS[0])]
    answer, short = engine.generate([long, ask(QUESTIONS[0])], max_new_tokens=8)
    assert 0 < answer.left_out < 40 and short.left_out == 0
    kept = [long[0], *long[1 + 2 * answer.left_out :]]
    assert len(engine.renderer.prompt_ids(kept)) + 8 <= engine.context_tokens
    assert engine.generate([kept], max_new_tokens=8)[0].text == answer.text
