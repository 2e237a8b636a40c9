"""What tasks ask, make and reject, with a server that is told what to say."""

import json
import re

import pytest
from synthesis_toys import document, talk

from chat_server import last_user
from xinglin.data.records import Origin
from xinglin.errors import DataError
from xinglin.synthesis.tasks.questions_from_text import passages

PASSAGE = "高血压患者应当低盐饮食，每日食盐不超过5克，并规律服用氨氯地平。定期测量血压，头晕时及时就诊，不要自行停药。"
ANSWER = "应当低盐饮食，每日食盐不超过5克，规律服用氨氯地平，定期测量血压，头晕时及时就诊。"
ENGLISH = "Adults with asthma should carry a reliever inhaler, avoid smoke and dust, and see their doctor every year."


def system(body):
    return body["messages"][0]["content"]


def text_server(question="高血压患者平时要注意什么？", answer=ANSWER):
    return lambda body: question if "<问题>" not in last_user(body) else answer


def test_a_text_becomes_a_question_and_an_answer(workshop):
    workshop.server.answer = text_server()
    (record,) = workshop.make(
        {"name": "questions_from_text"}, [document(PASSAGE, row=7, department="心内科")]
    )
    assert [message.content for message in record.messages] == ["高血压患者平时要注意什么？", ANSWER]
    assert record.origin == Origin("books.jsonl", 7) and record.meta["department"] == "心内科"
    told = record.meta["synthesis"]
    assert (told["task"], told["model"], told["source"]) == ("questions_from_text", "m", "books.jsonl:7")
    assert re.match(r"\d{4}-\d\d-\d\dT", told["date"])
    assert [re.sub("@.*", "", each) for each in told["prompts"]] == [
        "questions_from_text/question.zh",
        "questions_from_text/answer.zh",
    ]
    assert workshop.server.requests == 2 and PASSAGE in last_user(workshop.server.bodies[0])


def test_the_language_is_that_of_the_record(workshop):
    workshop.server.answer = lambda body: (
        "What should adults with asthma do?"
        if "<question>" not in last_user(body)
        else "Carry a reliever inhaler, avoid smoke and dust, and see the doctor every year."
    )
    (record,) = workshop.make({"name": "questions_from_text"}, [document(ENGLISH)])
    assert record.meta["synthesis"]["prompts"][0].startswith("questions_from_text/question.en")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"question": "根据上述文本，要注意什么？"}, "question_refers_to_text"),
        ({"question": "问" * 200}, "question_too_long"),
        ({"question": "What to do about it?"}, "wrong_language"),
        ({"answer": "低盐。"}, "answer_too_short"),
        ({"answer": "很抱歉，我无法回答这个问题，请您咨询当地医院的医生吧。"}, "refusal"),
        ({"answer": ANSWER + "每日食盐也可以到8克。"}, "ungrounded_fact"),
        ({"answer": ANSWER + "另加服美托洛尔。"}, "ungrounded_fact"),
        ({"answer": "平时多做户外运动，保持心情愉快，早睡早起，戒烟戒酒，多吃蔬菜水果。"}, "ungrounded"),
        ({"answer": "根据文本内容，" + ANSWER}, "answer_refers_to_text"),
    ],
)
def test_what_is_not_good_enough_is_kept_with_its_reason(workshop, settings, reason):
    workshop.server.answer = text_server(**settings)
    assert workshop.make({"name": "questions_from_text", "tries": 2}, [document(PASSAGE)]) == []
    assert dict(workshop.accounts.rejected) == {reason: 1}
    (row,) = workshop.rejected
    assert row["origin"] == "books.jsonl:1" and row["reason"] == reason and row["said"][-1]["text"]


def test_a_second_try_asks_anew(workshop):
    asked = []

    def answer(body):
        asked.append(body)
        return "根据文本，怎么办？" if len(asked) == 1 else text_server()(body)

    workshop.server.answer = answer
    assert len(workshop.make({"name": "questions_from_text", "tries": 2}, [document(PASSAGE)])) == 1
    assert len(asked) == 3 and asked[0] == asked[1]


@pytest.mark.parametrize(
    ("finish", "text", "reason"),
    [
        ("length", "高血压", "cut_off"),
        ("content_filter", "高血压", "content_filter"),
        ("stop", "", "empty"),
        ("stop", "<think>想想", "empty"),
    ],
)
def test_replies_that_are_not_whole(workshop, finish, text, reason):
    workshop.server.answer, workshop.server.finish = lambda body: text, lambda body: finish
    workshop.make({"name": "questions_from_text", "tries": 1}, [document(PASSAGE)])
    assert dict(workshop.accounts.rejected) == {reason: 1}


def test_reasoning_does_not_count(workshop):
    workshop.server.answer = lambda body: "<think>先想想</think>\n" + text_server()(body)
    (record,) = workshop.make({"name": "questions_from_text"}, [document(PASSAGE)])
    assert record.messages[0].content == "高血压患者平时要注意什么？"


def test_passages_are_whole_sentences():
    text = "第一句话在这里。第二句话在这里！第三句？" * 5 + "尾巴"
    found = passages(text, 30, 10)
    assert "".join(found) == text and all(part.endswith(("。", "！", "？")) for part in found[:-1])
    assert passages("长" * 65, 30, 10) == ["长" * 30, "长" * 35]
    assert passages("短", 30, 10) == ["短"] and passages("", 30, 10) == [""]


def test_a_text_that_is_too_short_is_an_item_too(workshop):
    workshop.make({"name": "questions_from_text"}, [document("短文。"), document("")])
    assert dict(workshop.accounts.rejected) == {"passage_too_short": 2} and not workshop.server.requests


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_triples_become_questions(workshop, tmp_path):
    table = "head,relation,tail\n流感,症状,发热\n流感,症状,咳嗽\n哮喘,治疗,沙丁胺醇\n流感,,x\n"
    rows = [["痛风", "禁食", "啤酒"], {"head": "痛风", "relation": "治疗", "tail": "秋水仙碱"}, 5]
    paths = [
        write(tmp_path / "kg.csv", table),
        write(tmp_path / "kg.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)),
    ]

    def answer(body):
        lines = re.findall(r"^(\S+) \| \S+ \| (\S+)$", last_user(body), re.MULTILINE)[1:]
        head, tails = lines[0][0], "和".join(tail for _, tail in lines)
        made = {"question": f"{head}要注意些什么？", "answer": f"{head}要注意的是{tails}。"}
        return f"好的：\n```json\n{json.dumps(made, ensure_ascii=False)}\n```"

    workshop.server.answer = answer
    records = workshop.make({"name": "triples", "paths": paths, "licence": "CC0-1.0"})
    assert [record.messages[1].content for record in records] == [
        "流感要注意的是发热和咳嗽。",
        "哮喘要注意的是沙丁胺醇。",
        "痛风要注意的是啤酒和秋水仙碱。",
    ]
    assert [record.origin.licence for record in records] == ["CC0-1.0"] * 3
    assert records[2].origin.file == paths[1]
    assert dict(workshop.accounts.rejected) == {"no_triple": 2} and workshop.accounts.items == 5
    schema = workshop.server.bodies[0]["response_format"]["json_schema"]
    assert schema["strict"] and set(schema["schema"]["required"]) == {"question", "answer"}


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ({"question": "流感要注意什么？", "answer": "流感要注意的是休息和喝水，多多观察。"}, "tails_missing"),
        ({"question": "这个病要注意什么？", "answer": "它的症状有发热。"}, "head_missing"),
        ({"question": "流感如何？", "answer": "流感的症状有发热，体温可达40度。"}, "ungrounded_fact"),
        ({"question": "流感如何？"}, "wrong_form"),
        ({"question": "流感如何？", "answer": "有发热。", "more": 1}, "wrong_form"),
    ],
)
def test_wrong_answers_to_triples(workshop, tmp_path, made, reason):
    path = write(tmp_path / "kg.csv", "head,relation,tail\n流感,症状,发热\n")
    workshop.server.answer = lambda body: json.dumps(made, ensure_ascii=False)
    assert workshop.make({"name": "triples", "paths": [path], "tries": 1}) == []
    assert dict(workshop.accounts.rejected) == {reason: 1}


def test_json_that_is_not_of_the_form_may_be_repaired_once(workshop, tmp_path):
    path = write(tmp_path / "kg.csv", "head,relation,tail\n流感,症状,发热\n")
    good = json.dumps({"question": "流感有什么症状？", "answer": "流感的症状有发热。"}, ensure_ascii=False)
    replies = ["{'question': 坏}", good]
    workshop.server.answer = lambda body: replies[len(body["messages"]) // 2]
    (record,) = workshop.make({"name": "triples", "paths": [path]})
    assert [len(body["messages"]) for body in workshop.server.bodies] == [1, 3]
    assert "JSON" in last_user(workshop.server.bodies[1])
    assert record.meta["synthesis"]["prompts"][1].startswith("triples/repair.zh@")


SEEDS = [
    talk(question, "请多休息。", row=row)
    for row, question in enumerate(["高血压患者能不能吃鸡蛋？", "孩子发烧怎么办？", "胃痛吃什么药好？"], 1)
]


def test_only_new_questions_are_kept(workshop):
    def answer(body):
        number = int(re.search(r"第 (\d+) 批", last_user(body))[1])
        new = [
            "痛风急性发作期怎样缓解关节疼痛？",
            "老年人接种带状疱疹疫苗有必要吗？",
            "哺乳期乳腺炎还能继续喂奶吗？",
        ][number - 1]
        asked = [new, "高血压患者能不能吃鸭蛋？", "问"]
        rows = [{"question": each, "answer": "建议到门诊就诊，由医生评估后再决定下一步。"} for each in asked]
        return json.dumps({"tasks": rows}, ensure_ascii=False)

    workshop.server.answer = answer
    task = {"name": "self_instruct", "tasks": 9, "tasks_per_request": 3, "seeds_per_request": 2}
    records = workshop.make(task, SEEDS)
    assert [record.messages[0].content[:2] for record in records] == ["痛风", "老年", "哺乳"]
    assert (
        dict(workshop.accounts.left_out) == {"not_new": 3, "question_too_short": 3}
        and workshop.accounts.made == 3
    )
    assert {row["status"] for row in workshop.rejected} == {"left_out"}
    assert last_user(workshop.server.bodies[0]).count("\n- ") == 2


def test_a_bad_question_among_good_ones_is_counted(workshop):
    long = "建议到门诊就诊，由医生评估后再决定下一步。"
    rows = [
        ("痛风发作时怎么饮食？", long),
        ("老年人如何补钙？", "多晒。"),
        ("哺乳期能喝咖啡吗？", "抱歉，我无法回答这个问题，请您咨询医生。"),
    ]
    rows = [{"question": question, "answer": answer} for question, answer in rows]
    workshop.server.answer = lambda body: json.dumps({"tasks": rows}, ensure_ascii=False)
    (record,) = workshop.make({"name": "self_instruct", "tasks": 5}, SEEDS)
    assert record.messages[0].content == rows[0]["question"]
    assert dict(workshop.accounts.left_out) == {"answer_too_short": 1, "refusal": 1}
    assert [row["record"]["messages"][0]["content"] for row in workshop.rejected] == [
        row["question"] for row in rows[1:]
    ]
    rows = rows[1:]
    assert workshop.make({"name": "self_instruct", "tasks": 5, "temperature": 0.5}, SEEDS) == []
    assert dict(workshop.accounts.rejected) == {"answer_too_short": 1} and workshop.server.requests == 3


def test_an_item_whose_records_are_all_left_out_is_rejected(workshop):
    row = {"question": "孩子发烧怎么办？", "answer": "建议到门诊就诊，由医生评估后再决定下一步。"}
    workshop.server.answer = lambda body: json.dumps({"tasks": [row]}, ensure_ascii=False)
    assert workshop.make({"name": "self_instruct", "tasks": 5}, SEEDS) == []
    assert dict(workshop.accounts.rejected) == {"none_kept": 1}


def test_prompts_of_ones_own(workshop, tmp_path):
    path = write(tmp_path / "mine.yaml", "question:\n  zh: |\n    请出题：{{ text }}\n")
    workshop.server.answer = text_server()
    task = {"name": "questions_from_text", "prompts": path}
    (record,) = workshop.make(task, [document(PASSAGE)])
    assert last_user(workshop.server.bodies[0]) == f"请出题：{PASSAGE}"
    assert record.meta["synthesis"]["prompts"][0] != "questions_from_text/question.zh@"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "is no mapping"),
        ("questoin: {zh: x}", "did you mean 'question'"),
        ("question: x", "no mapping of languages"),
        ("question: {cn: x}", "no language 'cn'"),
        ("question: {zh: '{{ txet }}'}", "'txet' is undefined; the values are text"),
        ("a: [", "cannot be read"),
    ],
)
def test_prompts_that_cannot_be_used(workshop, tmp_path, text, message):
    task = {"name": "questions_from_text", "prompts": write(tmp_path / "mine.yaml", text)}
    with pytest.raises(DataError, match=re.escape(message)):
        workshop.make(task, [document(PASSAGE)])
