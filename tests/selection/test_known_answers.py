"""Scores of questions whose right answer is known."""

import math

import pytest
import torch

from xinglin.data.prompts import exam_question
from xinglin.data.records import Conversation, Message, Origin, Question
from xinglin.data.rendering import Renderer
from xinglin.selection.scores import Context, correct, difficulty

ORIGIN = Origin("exam.jsonl", 1)
KEY = {"options": {"A": "青霉素", "B": "四环素", "C": "头孢"}, "answer": "B"}
QUESTION = Question("孕妇禁用？", KEY["options"], "B", ORIGIN)


def answered(text, **meta):
    asked = Message("user", exam_question(QUESTION, free=True))
    return Conversation((asked, Message("assistant", text)), ORIGIN, meta)


def test_a_teachers_answer_is_right_wrong_or_unknown():
    score = correct.open(correct.Config(name="correct"), None)
    texts = ["孕妇应避免，答案：B", "答案：A", "不好说。", "<think>A？</think>答案：B"]
    assert score([answered(text, exam=KEY) for text in texts]) == [1.0, 0.0, 0.0, 1.0]
    assert score([answered("答案：B")]) == [None]
    several = KEY | {"answer": "CA"}
    assert score([answered("答案：AC", exam=several), answered("答案：A", exam=several)]) == [1.0, 0.0]


@pytest.mark.parametrize("mode", ["letter", "cloze"])
def test_difficulty_is_what_the_wrong_options_get(tmp_path, tokenizer, mode):
    tokenizer.save_pretrained(tmp_path)
    config = difficulty.Config(name="difficulty", model="tiny:qwen3:64x2", template="chatml", mode=mode)
    context = Context(str, tmp_path, 5, tmp_path, tmp_path)
    model = context.engine(config).model
    renderer = Renderer(tokenizer, template="chatml")
    records = [QUESTION, answered("x", exam=KEY), answered("x"), answered("x", exam=KEY | {"answer": "AC"})]
    found = difficulty.open(config, context)(records)
    assert found[2] is None
    for record, value, right in zip(records, found, ("B", "B", "", "AC"), strict=True):
        if value is not None:
            shown = isinstance(record, Conversation) or mode == "letter"
            asked = exam_question(QUESTION, free=True) if shown else QUESTION.question
            assert value == pytest.approx(1 - share(model, renderer, asked, right, mode), abs=1e-4)


@torch.no_grad()
def share(model, renderer, asked, right, mode):
    """The probability of the right options, option by option."""
    prompt = renderer.prompt_ids([Message("user", asked)])
    weights = {}
    for letter, text in KEY["options"].items():
        answer = renderer.tokenizer(f"答案：{letter}" if mode == "letter" else text)["input_ids"]
        logits = model(input_ids=torch.tensor([[*prompt, *answer]])).logits[0].log_softmax(dim=-1)
        total = sum(float(logits[len(prompt) + place - 1, token]) for place, token in enumerate(answer))
        weights[letter] = math.exp(total / (len(answer) if mode == "cloze" else 1))
    return sum(weights[letter] for letter in right) / sum(weights.values())
