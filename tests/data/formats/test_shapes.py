"""What becomes of the rows of public sets, shape by shape."""

import pytest


def said(record):
    return [(message.role[0], message.content, message.train) for message in record.messages]


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        (
            {"query": "<s>问：\n感冒吃什么药？\n答：\n", "response": "多喝水。"},
            ["感冒吃什么药？", "多喝水。"],
        ),
        ({"context": "问题：并发症？\n回答: ", "target": "溃疡。"}, ["并发症？", "溃疡。"]),
        ({"question": "患者：男，45岁，发热", "answer": "就医"}, ["患者：男，45岁，发热", "就医"]),
        ({"question": "医生：您好，我头痛", "answer": "就医"}, ["医生：您好，我头痛", "就医"]),
        (
            {"title": "能吃党参吗", "ask": "能吃党参吗？高血压", "answer": "可以"},
            ["能吃党参吗？高血压", "可以"],
        ),
        ({"title": "感冒怎么办", "ask": "无", "answer": "休息"}, ["感冒怎么办", "休息"]),
        ({"title": "感冒", "ask": "三天了", "answer": "休息"}, ["感冒\n三天了", "休息"]),
        ({"instruction": "概括", "context": "咳嗽三天", "response": "咳嗽"}, ["概括\n咳嗽三天", "咳嗽"]),
        (
            {"药品": "甲", "医学专家标注的适应病症": "痛经|闭经|", "instruction": "治什么"},
            ["治什么", "痛经、闭经"],
        ),
        ({"data": ["问：我问：头痛", "答：多久了？"]}, ["我问：头痛", "多久了？"]),
    ],
)
def test_one_turn(read_rows, row, turns):
    [record] = read_rows([row]).records
    assert [message.content for message in record.messages] == turns


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": " <user>: 有效吗？ <bot>: 有效。 <user>: 都能用吗？", "output": "不一定。"},
        {"input": "病人：有效吗？\n医生：有效。\n病人：都能用吗？\n医生：", "target": "不一定。"},
        {"input": "病人：有效吗？\\n医生：有效。\\n病人：都能用吗？", "target": "不一定。"},
        {
            "prompt": "[Round 0]\n问：有效吗？\n答：有效。\n[Round 1]\n问：都能用吗？\n答：",
            "response": "不一定。",
        },
    ],
)
def test_a_dialogue_in_one_question_becomes_messages_again(read_rows, row):
    reading = read_rows([row])
    [record] = reading.records
    expected = [
        ("u", "有效吗？", True),
        ("a", "有效。", False),
        ("u", "都能用吗？", True),
        ("a", "不一定。", True),
    ]
    assert said(record) == expected
    assert reading.account.repairs == {"turns_unflattened": 1}
    [format] = reading.account.formats
    [record] = read_rows([row], format=format, options={"train_history": True}).records
    assert all(train for _, _, train in said(record))


def test_transcripts_begin_with_the_patient(read_rows):
    rows = [
        {
            "dialogue": "[doctor] hi ?\n[patient] my knee .\n[patient] hurts . [doctor] rest . [patient] thanks"
        },
        {
            "dialogue": "Doctor: Hello.\nPatient: My knee.\nPatient: hurts .\nDoctor: rest .\nPatient: thanks",
            "note": "n",
        },
    ]
    reading = read_rows(rows)
    assert [[m.content for m in record.messages] for record in reading.records] == [
        ["my knee .\nhurts .", "rest ."],
        ["My knee.\nhurts .", "rest ."],
    ]
    assert reading.account.repairs == {
        "opening_without_question_dropped": 2,
        "repeated_speaker_merged": 2,
        "unanswered_dropped": 2,
    }


def test_every_wording_of_a_question_is_a_conversation(read_rows):
    rows = [
        {"questions": [["甲", "乙"], ["丙"]], "answers": ["一", "二"]},
        {"questions": ["甲", "乙"], "answers": ["一"]},
        {"questions": ["甲", "乙", "丙"], "answers": ["一", "二"]},
        {"questions": [["甲"]], "answers": ["http://www.example.org/a.html"]},
        {"question": "甲", "answer": "http://www.example.org/a.html"},
        {"question": "甲", "answer": "无"},
    ]
    reading = read_rows(rows)
    contents = ["".join(m.content for m in record.messages) for record in reading.records]
    assert contents == ["甲一", "乙一", "丙二", "甲一", "乙一"]
    assert reading.reasons == {"unmatched_answers": 1, "link_answer": 2, "no_answer": 1}


def test_cases_with_several_questions(read_rows):
    pairs = [{"question": "诊断？", "solution": "疝"}, {"question": "治疗？", "solution": "手术"}]
    [record] = read_rows([{"id": "0", "title": "疝", "description": "男，49岁", "QA_pairs": pairs}]).records
    assert [m.content for m in record.messages] == ["男，49岁\n诊断？", "疝", "治疗？", "手术"]
    assert dict(record.meta) == {"id": "0", "title": "疝"}


@pytest.mark.parametrize(
    ("policy", "pairs"),
    [
        ("all", ["ab", "ac", "ad", "bc", "bd", "cd"]),
        ("adjacent", ["ab", "bc", "cd"]),
        ("best_worst", ["ad"]),
    ],
)
def test_ranked_columns_and_which_pairs_they_give(read_rows, policy, pairs):
    row = {
        "id": "0",
        "query": "你好",
        "history": '[["甲", "乙"]]',
        "rank1": "a",
        "rank2": "b",
        "rank3": "c",
        "rank4": "d",
    }
    records = read_rows([row], format="preference", options={"pairs": policy}).records
    assert [record.chosen + record.rejected for record in records] == pairs
    assert [message.content for message in records[0].prompt] == ["甲", "乙", "你好"]


def test_adjacent_levels_of_tied_scores(read_rows):
    row = {"prompt": "q", "responses": ["a", "b", "c"], "scores": [1, 3, 3]}
    records = read_rows([row], format="preference", options={"pairs": "adjacent"}).records
    assert [(record.chosen, record.rejected) for record in records] == [("b", "a"), ("c", "a")]


def test_pubmedqa_asks_about_its_abstract(read_rows):
    [record] = read_rows(
        [{"QUESTION": "q?", "CONTEXTS": ["a", "b"], "final_decision": "no", "YEAR": "2011"}]
    ).records
    assert (record.question, record.answer, dict(record.meta)) == ("a\nb\nq?", "B", {"YEAR": "2011"})


def test_options_as_lines_of_a_text(read_rows):
    row = {"Question": "q", "Options": "A 病毒\nB 细菌\nC 真菌", "Answer": "AC", "Explanation": "e"}
    [record] = read_rows([row]).records
    assert (dict(record.options), record.answer) == ({"A": "病毒", "B": "细菌", "C": "真菌"}, "AC")


def test_toyhom_blocks(tmp_path, read_source):
    path = tmp_path / "内科.txt"
    text = "感冒怎么办,咳嗽，三天\n多休息。\n\n\n头痛，血压高\n先测血压。\n\n\n胃痛,无\n就医。\n"
    path.write_bytes(text.encode("gbk"))
    reading = read_source(path)
    assert reading.account.formats == {"toyhom": 3}
    assert [record.messages[0].content for record in reading.records] == [
        "感冒怎么办\n咳嗽，三天",
        "头痛\n血压高",
        "胃痛",
    ]
    assert [record.origin.row for record in reading.records] == [1, 5, 9]


def test_a_classic_is_cut_at_its_headings(tmp_path, read_source):
    wrapped = "味甘，平。主心腹邪气，安中养脾，助十二经，平胃气，通九窍，补少气、少津液，身中不足"
    text = (
        f"<篇名>本草经\n书名：本草经\n作者：孙星衍\n\n<目录>卷一\\上经\n\n<篇名>大枣\n\n内容：{wrapped}\n"
        f"{wrapped}\n{wrapped}\n轻身、长年。\n\n<目录>卷一\\上经\n<篇名>空\n"
    )
    (tmp_path / "book.txt").write_bytes(text.encode("gb18030"))
    [record] = read_source(tmp_path / "book.txt", kind="document").records
    assert record.text == f"大枣\n{wrapped * 3}轻身、长年。"
    assert dict(record.meta) == {"书名": "本草经", "作者": "孙星衍", "目录": "卷一\\上经", "篇名": "大枣"}
    assert record.origin.row == 7


def test_an_ambiguous_row_is_not_guessed(read_rows):
    both = {"instruction": "头疼", "output": "就医", "conversations": [{"from": "human", "value": "头疼"}]}
    reading = read_rows([{"text": "x"}, both])
    assert reading.reasons == {"ambiguous_format": 1}
    assert "alpaca and sharegpt fit" in reading.quarantined[0]["detail"]
    assert read_rows([both], format="alpaca").account.rows_used == 1


@pytest.mark.parametrize(
    ("file", "format", "used"),
    [
        ("train/toyhom/sample_neike_5000-6000.gbk.csv", "toyhom", 7644),
        ("train/huatuo-bencao/med-chatglm_train.txt", "pairs", 7621),
        ("train/medicalgpt/medical_corpus.txt", "pairs", 87),
        ("train/shennong-tcm/ChatMed_TCM-v0.2.2records.jsonl", "pairs", 2),
        ("train/disc-eval/cmd_samples.json", "pairs", 120),
        ("train/qizhen/drug_indication_eval.csv", "qizhen", 94),
        ("train/zhongjing/rlhf_rank_sample.tsv", "preference", 1),
        ("train/tcm-ancient-books/000-神农本草经.txt", "book", 378),
        ("train/caregpt/drug.json", "text", 2441),
        ("eval/pubmedqa/ori_pqal.json", "pubmedqa", 1000),
        ("eval/cmb/CMB-Clin-qa.json", "exchanges", 74),
        ("eval/llmeval_med/dataset.json", "pairs", 643),  # 24 without an answer
        ("eval/medsafetybench/test/gpt4/category_1.csv", "pairs", 50),
    ],
)
def test_real_files(shared, read_source, file, format, used):
    account = read_source(shared / file).account
    assert account.formats == {format: used}
