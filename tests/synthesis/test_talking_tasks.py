"""Tasks that talk: dialogues, polished answers, preferences, safety rows."""

import json
import re

import pytest
from synthesis_toys import talk

from chat_server import last_user
from xinglin.data.prompts import exam_question
from xinglin.data.records import Origin, Question
from xinglin.synthesis.tasks.preferences import constitution


def system(body):
    return body["messages"][0]["content"]


CASE = talk(
    "我胃痛三天了，吃完饭更痛，要不要紧？",
    "考虑胃炎，建议清淡饮食，口服奥美拉唑，一周不好转做胃镜检查。",
    row=4,
)
DOCTOR = [
    "请问疼痛有没有反酸、黑便？",
    "考虑胃炎，建议清淡饮食，口服奥美拉唑。",
    "一周不好转请做胃镜检查，有黑便马上就诊。",
]


def dialogue(patient, doctor=DOCTOR):
    def answer(body):
        told = [message["content"] for message in body["messages"]]
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        return patient[turn] if "患者" in told[0][:20] and "扮演" in told[0] else doctor[turn]

    return answer


def test_two_roles_play_a_dialogue(workshop):
    workshop.server.answer = dialogue(
        ["医生，我胃痛三天了。", "患者：有点反酸，没有黑便。", "谢谢医生！[END]"]
    )
    (record,) = workshop.make({"name": "patient_doctor"}, [CASE])
    assert [(message.role, message.content) for message in record.messages] == [
        ("user", "医生，我胃痛三天了。"),
        ("assistant", DOCTOR[0]),
        ("user", "有点反酸，没有黑便。"),
        ("assistant", DOCTOR[1]),
    ]
    assert "一周不好转做胃镜" in system(workshop.server.bodies[1])
    assert "一周不好转做胃镜" not in system(workshop.server.bodies[0])


def test_a_dialogue_ends_at_its_last_turn(workshop):
    workshop.server.answer = dialogue([f"还有第{word}个问题想问。" for word in "甲乙丙丁"])
    (record,) = workshop.make({"name": "patient_doctor", "most_turns": 3}, [CASE])
    assert len(record.messages) == 6 and record.messages[-1].content == DOCTOR[2]
    assert "最后一次回复" in system(workshop.server.bodies[-1])


@pytest.mark.parametrize(
    ("patient", "doctor", "reason"),
    [
        (["胃痛。", "[END]"], DOCTOR, "too_few_turns"),
        (["胃痛。", "胃痛三天，没有别的。\n医生：好的"], DOCTOR, "plays_both_roles"),
        (["医生，我胃痛三天。", "医生，我胃痛三天。"], DOCTOR, "repeats_itself"),
        (
            ["胃痛三天。", "没有黑便。", "[END]"],
            ["多久了呢，请说。", "多运动，早睡早起，保持心情愉快。"],
            "ungrounded",
        ),
        (["胃痛三天。", "没有黑便。", "[END]"], [DOCTOR[0], DOCTOR[1] + "加服阿莫西林。"], "ungrounded_fact"),
        (["胃痛三天。", "没有黑便。"], ["作为AI语言模型，我不能诊断。", ""], "disclaimer"),
    ],
)
def test_dialogues_that_go_wrong(workshop, patient, doctor, reason):
    workshop.server.answer = dialogue(patient, doctor)
    workshop.make({"name": "patient_doctor", "tries": 1, "most_turns": 3}, [CASE])
    assert dict(workshop.accounts.rejected) == {reason: 1}


RAW = talk("感冒发烧38.5度吃啥", "吃点布洛芬 0.2g 一天三次 多喝水哈", row=9, department="呼吸科")
POLISHED = "您好，发热38.5度可以口服布洛芬，每次0.2g，一天三次；同时多喝水、注意休息。"


def test_an_answer_is_polished(workshop):
    workshop.server.answer = lambda body: POLISHED
    (record,) = workshop.make({"name": "polish"}, [RAW])
    assert record.messages[0] == RAW.messages[0] and record.messages[1].content == POLISHED
    assert record.meta["department"] == "呼吸科" and record.origin == RAW.origin


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (POLISHED.replace("0.2g", "适量"), "fact_lost"),
        (POLISHED.replace("布洛芬", "退烧药"), "fact_lost"),
        (POLISHED + "也可以加用阿莫西林。", "fact_added"),
        (POLISHED + "体温超过39.5度请就诊。", "fact_added"),
        (RAW.messages[1].content + "。", "unchanged"),
        (POLISHED + "请放心。" * 60, "length_changed"),
        ("I took ibuprofen.", "wrong_language"),
    ],
)
def test_polish_keeps_facts(workshop, answer, reason):
    workshop.server.answer = lambda body: answer
    workshop.make({"name": "polish", "tries": 1}, [RAW])
    assert dict(workshop.accounts.rejected) == {reason: 1}


def judging(prefers):
    """Answers are numbered as they come; ``prefers(a, b)`` names the better text."""
    count = iter(range(100))

    def answer(body):
        asked = last_user(body)
        if "<回答A>" not in asked:
            return f"第{'甲乙丙丁戊'[next(count)]}种回答：请多休息，注意观察体温。"
        a, b = (re.search(rf"<回答{letter}>\n(.*?)\n</回答{letter}>", asked, re.DOTALL)[1] for letter in "AB")
        return json.dumps({"reason": "理由", "principle": "1", "better": prefers(a, b)}, ensure_ascii=False)

    return answer


def best(a, b):
    return "A" if "甲乙丙丁戊".index(a[1]) > "甲乙丙丁戊".index(b[1]) else "B"


def test_answers_are_compared_in_both_orders(workshop):
    workshop.settings["concurrency"] = 1
    workshop.server.answer = judging(best)
    task = {"name": "preferences", "answers": 3, "max_pairs": 5}
    first, second = workshop.make(task, [talk("发烧怎么办？", "多喝水，物理降温。", row=3)])
    assert (first.chosen[1], first.rejected[1]) == ("丙", "乙") and (
        second.chosen[1],
        second.rejected[1],
    ) == ("乙", "甲")
    assert first.prompt[-1].content == "发烧怎么办？" and first.meta["principle"] == "1"
    assert workshop.server.requests == 3 + 4
    judged = [last_user(body) for body in workshop.server.bodies if "<回答A>" in last_user(body)]
    assert all("多喝水，物理降温。" in text and constitution(True) in text for text in judged)
    assert all(body["temperature"] == 0 for body in workshop.server.bodies if "<回答A>" in last_user(body))
    assert not any(
        "多喝水，物理降温。" in str(body)
        for body in workshop.server.bodies
        if "<回答A>" not in last_user(body)
    )


@pytest.mark.parametrize("prefers", [lambda a, b: "A", lambda a, b: "B", lambda a, b: "tie"])
def test_verdicts_that_follow_the_order_do_not_count(workshop, prefers):
    workshop.server.answer = judging(prefers)
    assert workshop.make({"name": "preferences", "answers": 2}, [talk("发烧怎么办？", "多喝水。")]) == []
    assert dict(workshop.accounts.rejected) == {"no_consistent_verdict": 1}


def test_equal_answers_cannot_be_compared(workshop):
    workshop.server.answer = lambda body: "请多休息，注意观察体温。"
    workshop.make({"name": "preferences", "answers": 3}, [talk("发烧怎么办？", "多喝水。")])
    assert dict(workshop.accounts.rejected) == {"answers_alike": 1} and workshop.server.requests == 3


def test_exam_questions_are_prompts_too(workshop):
    workshop.settings["concurrency"] = 1
    workshop.server.answer = judging(best)
    question = Question("孕妇禁用？", {"A": "青霉素", "B": "四环素"}, "B", Origin("exam.jsonl", 1))
    (pair,) = workshop.make({"name": "preferences", "answers": 2}, [question])
    assert pair.prompt[-1].content == exam_question(question, free=True)


def test_safety_rows_are_tagged_and_safe(workshop):
    def answer(body):
        asked = last_user(body)
        if "胸口" in asked and "谨慎" not in asked:
            return "我爸胸口压榨样疼半小时了，出冷汗，左胳膊发麻，要紧吗？"
        return "请立即拨打120去急诊，这可能是心肌梗死，等待时让他坐下休息，不要走动。"

    workshop.server.answer = answer
    task = {"name": "safety", "kinds": ["red_flag"], "languages": ["zh"], "variants": 1}
    records = workshop.make(task)
    assert records[0].meta["tags"] == ["safety", "red_flag"] and records[0].meta["situation"] == "chest_pain"
    assert records[0].origin.licence == "CC0-1.0"


def test_unsafe_answers_are_rejected(workshop):
    def answer(body):
        asked = last_user(body)
        if "谨慎" not in asked:
            return "我怀孕两个月了，脸上长痘，家里有多西环素，能不能吃？"
        return "可以吃多西环素，每天吃就行，不要担心，痘痘很快会好起来的。"

    workshop.server.answer = answer
    task = {"name": "safety", "kinds": ["contraindication"], "languages": ["zh"], "variants": 1, "tries": 1}
    workshop.make(task)
    assert workshop.accounts.rejected["unsafe_answer"] >= 1
    assert any("the rule 'contraindication' faults it" in row["detail"] for row in workshop.rejected)
