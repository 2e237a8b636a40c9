"""Items of benchmarks are found in training text, and only they; containment is that of brute force."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.data.accounting import Quarantine
from xinglin.data.copies.containment import TEMPLATE_ITEMS, Index
from xinglin.data.copies.duplicates import SplitFile
from xinglin.data.copies.fingerprints import fold
from xinglin.data.copies.leaks import Leaks, find_leaks, leaked_items, load_protected
from xinglin.data.copies.protected import Item, Protected
from xinglin.data.records import Conversation, Document, Message, Origin, Preference, Question

CONFIG = Leaks()
ASKED = "我最近三天一直头痛发热，体温最高三十八度五，请问需要去医院做哪些检查？"
STEM = "患者，男，45岁，突发剧烈胸痛两小时，心电图显示ST段抬高，最可能的诊断是"
DRUGS = {"A": "青霉素", "B": "四环素", "C": "头孢拉定", "D": "阿奇霉素"}


def talk(question, answer="多休息。", row=1):
    return Conversation((Message("user", question), Message("assistant", answer)), Origin("train.jsonl", row))


def exam(stem, options, answer="A", row=1):
    return Question(stem, options, answer, Origin("exam.jsonl", row))


@pytest.fixture
def write(tmp_path):
    def run(name, records, *, held_out=False):
        path = tmp_path / f"{name}.jsonl"
        lines = (json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
        path.write_text("".join(lines), encoding="utf-8")
        return SplitFile(name, path, held_out)

    return run


@pytest.fixture
def leaks_of(write):
    """``leaks_of(protected records, training records)`` -> [(training line, item id)] and the report."""

    def run(protected, records, **config):
        config = Leaks(**config)
        items = Protected.from_records("test", protected, lengths=config.lengths)
        report = find_leaks([write("train", records)], [items], config)
        return [(leak.line, leak.item.id) for leak in report.leaks], report

    return run


def test_a_question_is_found_whatever_surrounds_it_and_whoever_answers(leaks_of):
    records = [
        talk("感冒了怎么办？"),
        talk(f"问题：{ASKED}\n回答：", "可以先查血常规。"),
        Document("科普。" * 30 + ASKED.replace("，", " ") + "科普。" * 30, Origin("book.txt", 1)),
        Preference((Message("user", ASKED),), "查血。", "不用查。", Origin("pairs", 1)),
    ]
    found, report = leaks_of([talk(ASKED)], records)
    assert found == [(1, "test:1"), (2, "test:1"), (3, "test:1")]
    assert report.removals("train").keys() == {1, 2, 3}
    removal = report.removals("train")[1]
    assert (removal.step, removal.reason) == ("leaks", "holds_benchmark_item")
    assert ASKED[:6] not in removal.detail + json.dumps(report.to_json(), ensure_ascii=False)


def test_rejected_answers_are_searched_as_chosen_ones_are(leaks_of):
    pair = Preference((Message("user", "请出一道题。"),), "好的。" * 9, f"题目：{ASKED}", Origin("pairs", 1))
    swapped = pair.changed(pair.prompt, *reversed(pair.answers))
    short = talk("头痛？", "先测血压，再查血常规，必要时做头颅CT。")
    answered = Preference(short.messages[:1], "不用查。", short.messages[1].content, Origin("pairs", 3))
    found, report = leaks_of([talk(ASKED), short], [pair, swapped, answered])
    assert found == [(0, "test:1"), (1, "test:1"), (2, "test:2")]
    assert report.leaks[0][4:] == report.leaks[1][4:] and report.records == 3


def test_a_part_of_an_item_is_found(leaks_of):
    answer = "首先要查血常规和胸片，排除细菌感染与肺炎，其次根据结果决定是否使用抗生素，同时注意补液休息。"
    found, report = leaks_of(
        [talk(ASKED * 2, answer)], [Document(answer[:40], Origin("a", 1)), talk("无关的问题")]
    )
    assert found == [(0, "test:1")]
    assert report.removals("train")[0].reason == "part_of_benchmark_item"


def test_a_traditional_copy_of_an_item_is_found(leaks_of):
    asked = "我最近三天一直頭痛發熱，體溫最高三十八度五，請問需要去醫院做哪些檢查？"
    record = talk(asked, "可以先查血常規。")
    found, report = leaks_of([talk(ASKED)], [record])
    assert found == [(0, "test:1")] and report.leaks[0].containment == 1.0


def test_half_a_question_is_no_leak(leaks_of):
    assert leaks_of([talk(ASKED)], [talk(ASKED[: len(ASKED) // 2] + "吃什么药比较好呢谢谢医生了")])[0] == []


def test_a_long_stem_tells_an_exam_question(leaks_of):
    item = exam(STEM, {"A": "心肌梗死", "B": "肺栓塞"})
    assert leaks_of([item], [talk(STEM, "急性冠脉综合征"), talk("心肌梗死与肺栓塞怎么区别")])[0] == [
        (0, "test:1")
    ]


def test_stems_that_begin_alike_need_the_right_option(leaks_of):
    stem = "下列关于高血压的叙述中错误的是哪一项"
    item = exam(stem, {"A": "年轻人不会患病", "B": "与盐有关"})
    records = [talk(f"{stem}\nA. 与盐有关\nB. 年轻人不会患病"), talk(f"{stem}\nA. 遗传有关\nB. 与盐有关")]
    assert leaks_of([item], records)[0] == [(0, "test:1")]


def test_a_short_stem_needs_the_right_and_most_options_in_any_order(leaks_of):
    item = exam("妊娠期禁用的是下列", DRUGS, answer="B")
    backwards = "\n".join(f"{at}) {drug}" for at, drug in enumerate(reversed(DRUGS.values())))
    records = [
        talk(f"妊娠期禁用的是下列\n{backwards}"),
        talk("、".join(DRUGS.values()) + "都是抗生素"),
        talk("妊娠期禁用的是下列四环素"),
        exam("妊娠期禁用的是下列", {"A": "头孢拉定", "B": "青霉素", "C": "四环素"}),
        exam("妊娠期禁用的是下列", {"A": "头孢拉定", "B": "青霉素", "C": "阿奇霉素"}),
    ]
    assert leaks_of([item], records)[0] == [(0, "test:1"), (3, "test:1")]


def test_long_options_tell_a_question_without_its_stem(leaks_of):
    options = {
        "A": "高血压患者应长期服用氨氯地平控制血压",
        "B": "糖尿病患者应首选胰岛素强化治疗",
        "C": "冠心病患者应常规服用阿司匹林",
        "D": "慢阻肺患者应吸入支气管扩张剂",
    }
    listed = "\n".join(f"{letter}. {text}" for letter, text in options.items())
    records = [talk(f"请选择：\n{listed}", "B"), talk(options["B"], options["C"])]
    found, _ = leaks_of([exam("正确的是", options, "B")], records)
    assert found == [(0, "test:1")]
    found, _ = leaks_of([exam("有关用药的说法正确的是", options, "B")], records)
    assert found == []


def test_tiny_items_are_counted_not_searched(leaks_of):
    found, report = leaks_of(
        [exam("禁用", {"A": "甲", "B": "乙"}), talk("好吗？", "好。")],
        [talk("禁用甲乙"), talk("好吗？", "好。")],
    )
    assert found == []
    assert report.to_json()["protected"]["test"] == {"items": 0, "too_short": 2, "leaked": 0}


def test_english_is_compared_by_words(leaks_of):
    asked = "What is the first line treatment for a child of five with acute otitis media?"
    records = [talk(asked.upper() + " Thanks, doc."), talk("What is the first line treatment for a rash?")]
    assert leaks_of([talk(asked)], records)[0] == [(0, "test:1")]


def test_templates_of_a_benchmark_tell_nothing(leaks_of):
    drugs = [chr(0x4E00 + at) * 6 for at in range(TEMPLATE_ITEMS + 10)]
    items = [
        talk(f"{drug}这种药物的适应病症和用法用量以及注意事项分别是什么呢", "见说明书。") for drug in drugs
    ]
    other = talk("布洛芬这种药物的适应病症和用法用量以及注意事项分别是什么呢")
    assert leaks_of(items, [other, items[3]])[0] == [(1, "test:4")]


def test_a_leak_deep_in_a_long_text_is_found(leaks_of, monkeypatch):
    monkeypatch.setattr("xinglin.data.copies.leaks._PIECE", 1000)
    monkeypatch.setattr("xinglin.data.copies.leaks._OVERLAP", 100)
    for at in range(800, 1100, 20):
        filler = "".join(chr(0x5000 + (7 * place) % 3000) for place in range(3000))
        text = filler[:at] + ASKED + filler[at:]
        assert leaks_of([talk(ASKED)], [Document(text, Origin("book", 1))])[0] == [(0, "test:1")]


def test_held_out_splits_and_files_are_protected(write, tmp_path):
    train = write("train", [talk(ASKED), talk(STEM + "，为什么？请医生详细解释一下原因")])
    splits = [train, write("test", [talk(ASKED)], held_out=True)]
    exams = tmp_path / "exams.jsonl"
    exams.write_text(json.dumps(exam(STEM, DRUGS).to_json(), ensure_ascii=False), encoding="utf-8")
    config = Leaks(against=["held_out", str(exams)])
    with Quarantine(tmp_path / "quarantine.jsonl") as quarantine:
        protected = load_protected(config, splits, quarantine)
    report = find_leaks(splits, protected, config)
    assert [leak.item.id for leak in report.leaks] == ["test:1", f"{exams}:1"]
    report.write(tmp_path / "leaks.jsonl")
    assert leaked_items(tmp_path / "leaks.jsonl") == {"test:1": 1.0, f"{exams}:1": 1.0}
    assert report.records == 2


def test_nothing_protected_leaks_nothing(write):
    assert find_leaks([write("train", [talk(ASKED)])], [], CONFIG).leaks == ()


WORDS = st.text(st.sampled_from("甲乙丙ab 。"), max_size=30)


@settings(max_examples=60)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=6), st.lists(WORDS, min_size=1, max_size=4))
def test_containment_is_that_of_brute_force(parts, texts):
    n = 3
    items = [Item(f"i:{at}", Origin("a", at), text, rest, n) for at, (text, rest) in enumerate(parts)]
    hits = Index(items).hits(fold(texts).units(), count=len(texts))
    found = {
        (text, item): (containment, inside)
        for text, item, containment, inside in zip(*(column.tolist() for column in hits), strict=True)
    }
    expected = {}
    for at, text in enumerate(map(_grams, texts)):
        for number, (said, rest) in enumerate(parts):
            of, also = set(_grams(said)), set(_grams(said)) | set(_grams(rest))
            common = sum(gram in also for gram in text)
            if common:
                containment = len(of & set(text)) / len(of) if of else 0.0
                expected[at, number] = (containment, common / len(text) if len(text) >= n else 0.0)
    assert found == expected


def _grams(text, n=3):
    units = fold([text]).units().hashes.tolist()
    return [tuple(units[at : at + n]) for at in range(len(units) - n + 1)]


def test_the_known_leak_of_public_data(shared, leaks_of):
    """An item of DISC-MedLLM's CMD evaluation set is in MedicalGPT's medical_sft_1K; both are cut from Toyhom."""
    cases = json.loads((shared / "train/disc-eval/cmd_samples.json").read_text(encoding="utf-8"))
    lines = (shared / "train/medicalgpt/medical_sft_1K_format.jsonl").read_text(encoding="utf-8").splitlines()
    turns = [json.loads(line)["conversations"] for line in lines]
    found, report = leaks_of(
        [talk(case["question"], case["raw_anwser"]) for case in cases],
        [talk(row[0]["value"], row[1]["value"], at) for at, row in enumerate(turns, start=1)],
    )
    assert found == [(855, "test:71")]
    assert np.isclose(report.leaks[0].containment, 0.793, atol=0.001)
