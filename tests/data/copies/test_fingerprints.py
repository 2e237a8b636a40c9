"""Copies are recognised however they were written down; n-grams are those of brute force."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.copies.fingerprints import _simplified, bare, compared, fold
from xinglin.data.records import Conversation, Document, Message, Origin, Preference, Question

HERE = Origin("rows.jsonl", 1)
MIXED = st.text(st.sampled_from("高血压糖尿病ABcd 12,。\n-é"), max_size=60)


def talk(*texts, system=None):
    roles = ("user", "assistant") * len(texts)
    said = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    return Conversation((Message("system", system), *said) if system else said, HERE)


def key(text):
    return fold([text]).keys(1)[0]


def tokens(text):
    """The units of a text, one character after another."""
    units = []
    for character in unicodedata.normalize("NFKC", text).lower():
        joins = character.isalnum() and ord(character) < 0x2E80
        if joins and units and units[-1] and ord(units[-1][-1]) < 0x2E80:
            units[-1] += character
        elif character.isalnum():
            units.append(character)
        else:
            units.append("")  # ends a word
    return [unit for unit in units if unit]


@pytest.mark.parametrize(
    "copy",
    [
        "问题：二甲双胍怎么吃？\n回答: 每日两次，随餐服用 500mg。",
        "问：二甲双胍怎么吃?答：每日两次,随餐服用500ＭＧ".replace("答", "\n答"),
        "<s>问：\n二甲双胍怎么吃？\n答：\n每日两次，随餐服用５００ｍｇ。",
        "现在你是一个内分泌科医生，请根据患者的问题给出建议：二甲双胍怎么吃？\n医生：每日两次，随餐服用 500㎎",
        "<user>: 二甲双胍怎么吃？\n<bot>: 每日两次，随餐服用500mg",
        "二 甲双胍 怎么吃\n\n每日两次 随餐服用 500 mg",
        "問題：二甲雙胍怎麼吃？\n回答：每日兩次，隨餐服用 500mg。",
        "現在你是一個內分泌科醫生，請根據患者的問題給出建議：二甲雙胍怎麽吃？\n醫生：每日兩次，隨餐服用 500mg。",
    ],
)
def test_a_republished_copy_has_the_key_of_the_conversation(copy):
    original = talk("二甲双胍怎么吃？", "每日两次，随餐服用500mg。")
    assert key(compared(Document(copy, HERE))) == key(compared(original))


@pytest.mark.parametrize(
    "text", ["问题分析：腰部损伤。", "医生说要多休息。", "要求：1. 多休息", "Answers vary: see a doctor."]
)
def test_what_only_looks_like_a_wrapper_stays(text):
    assert bare(text) == text


def test_instructions_of_a_whole_data_set_are_no_content():
    asked = "我腹痛，有什么中药可以推荐吗？"
    assert bare(asked + "要求：1. 请考虑所有症状。2. 请输出推理过程。") == asked
    told = "If you are a doctor, please answer the medical questions based on the patient's description."
    assert bare(told + "\nMy ear hurts.").strip() == "My ear hurts."


def test_what_is_compared_of_each_kind_of_record():
    prompt = (Message("system", "你是医生"), Message("user", "头痛"))
    assert compared(talk("头痛", "休息", system="你是医生")) == "头痛\n休息"
    assert compared(talk("头痛", "休息"), "question") == "头痛"
    assert compared(Preference(prompt, "休息", "手术", HERE)) == "头痛\n休息"
    assert compared(Preference(prompt, "休息", "手术", HERE), "question") == "头痛"
    shuffled = [
        Question("病因", options, "A", HERE) for options in ({"A": "甲", "B": "乙"}, {"A": "乙", "B": "甲"})
    ]
    assert compared(shuffled[0]) == compared(shuffled[1])


def test_nothing_left_has_no_key():
    assert fold(["？！", "", "甲"]).keys(3)[:2] == [b"", b""]


def test_traditional_and_simplified_texts_are_one():
    pairs = [
        ("頭髮乾燥、發熱，瞭解病歷後覆查", "头发干燥、发热，了解病历后复查"),
        ("手腳麻痺，睡著了，衞生署的藥", "手脚麻痹，睡着了，卫生署的药"),
        ("\uf902禍", "车祸"),  # a compatibility form of 車
    ]
    for traditional, simplified in pairs:
        assert fold([traditional]).strings(1) == fold([simplified]).strings(1)
    assert key("乾杯") != key("坤杯")


def test_characters_are_simplified_once():
    simplified = _simplified()
    assert len(simplified) > 3000 and not simplified.keys() & set(simplified.values())
    assert all(min(pair) >= "\u2e80" for pair in simplified.items())


def test_half_a_character_is_nothing():
    assert key("甲\ud800乙") == key("甲乙")


def test_combining_marks_are_those_of_whole_letters():
    assert key("cafe\u0301 I\u0307") == key("café i")


@given(st.text(max_size=40), st.integers(0, 40))
def test_white_space_case_and_width_do_not_count(text, at):
    at = min(at, len(text))
    # White space may part a letter from its accent, which NFKC then does not join.
    if any(unicodedata.combining(character) for character in unicodedata.normalize("NFKC", text)):
        return
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)
    assert key(text) == key(wide) == key(text[:at] + " \n" + text[at:])


@given(st.lists(MIXED, min_size=1, max_size=5), st.integers(1, 14))
def test_grams_are_runs_of_characters_and_words(texts, n):
    grams = fold(texts).units().grams(n)
    expected = [
        (owner, tuple(units[at : at + n]))
        for owner, units in enumerate(map(tokens, texts))
        for at in range(len(units) - n + 1)
    ]
    assert grams.owners.tolist() == [owner for owner, _ in expected]
    hashed = dict(zip((gram for _, gram in expected), grams.hashes.tolist(), strict=True))
    assert [hashed[gram] for _, gram in expected] == grams.hashes.tolist()
    assert len(set(hashed.values())) == len(hashed)


def test_hashes_are_the_same_in_every_process():
    grams = fold(["高血压患者每日服用 Metformin 500mg"]).units().grams(5)
    assert grams.hashes[:2].tolist() == [8918493025998859331, 12267395250010034500]
    assert grams.hashes.dtype == np.uint64


def test_calls_and_ratings_make_records_differ() -> None:
    from xinglin.data.copies.fingerprints import compared
    from xinglin.data.records import Conversation, Message, Origin, Rating, ToolCall

    def asked(drug: str) -> Conversation:
        calls = (ToolCall("price", {"drug": drug}),)
        messages = (Message("user", "多少钱？"), Message("assistant", "", tool_calls=calls))
        return Conversation(messages, Origin("rows.jsonl", 1))

    assert compared(asked("布洛芬")) != compared(asked("阿司匹林"))
    talk = (Message("user", "头痛？"), Message("assistant", "休息。"))
    ratings = [Rating(talk, Origin("rows.jsonl", 1), good=good) for good in (True, False)]
    assert compared(ratings[0]) != compared(ratings[1])
