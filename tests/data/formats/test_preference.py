"""Preference pairs in every schema of their history."""

import pytest

from xinglin.data.records import Message

ASKED, BETTER, WORSE = "孕妇感冒吃什么药？", "请看产科。", "吃布洛芬。"
PROMPT = [{"role": "user", "content": ASKED}]
SHAREGPT = [{"from": "human", "value": ASKED}]

SCHEMAS = {
    "medicalgpt 2026": {"conversations": SHAREGPT, "chosen": BETTER, "rejected": WORSE},
    "llamafactory": {
        "conversations": SHAREGPT,
        "chosen": {"from": "gpt", "value": BETTER},
        "rejected": {"from": "gpt", "value": WORSE},
    },
    "message lists": {
        "messages": PROMPT,
        "chosen": [{"role": "assistant", "content": BETTER}],
        "rejected": [{"role": "assistant", "content": WORSE}],
    },
    "medicalgpt 2024": {
        "system": "",
        "history": [],
        "question": ASKED,
        "response_chosen": BETTER,
        "response_rejected": WORSE,
    },
    "medicalgpt reward": {"question": ASKED, "response_chosen": BETTER, "response_rejected": WORSE},
    "trl": {
        "prompt": PROMPT,
        "chosen": [{"role": "assistant", "content": BETTER}],
        "rejected": [{"role": "assistant", "content": WORSE}],
    },
    "trl strings": {"prompt": ASKED, "chosen": BETTER, "rejected": WORSE},
    "trl implicit prompt": {
        "chosen": [*PROMPT, {"role": "assistant", "content": BETTER}],
        "rejected": [*PROMPT, {"role": "assistant", "content": WORSE}],
    },
    "comparison_gpt4": {"instruction": ASKED, "input": "", "output": [BETTER, WORSE]},
    "alpaca": {"instruction": ASKED, "input": "", "chosen": BETTER, "rejected": WORSE},
}


@pytest.mark.parametrize("row", SCHEMAS.values(), ids=SCHEMAS)
def test_every_schema_gives_the_same_pair(read_rows, row):
    [record] = read_rows([row], kind="preference").records
    assert record.prompt == (Message("user", ASKED),)
    assert (record.chosen, record.rejected, dict(record.meta)) == (BETTER, WORSE, {})


def test_system_and_history(read_rows):
    row = {
        "system": "你是医生。",
        "history": [["感冒了", "怀孕吗？"]],
        "question": "是",
        "response_chosen": BETTER,
        "response_rejected": WORSE,
    }
    [record] = read_rows([row]).records
    assert [message.role for message in record.prompt] == ["system", "user", "assistant", "user"]
    assert record.prompt[-1].content == "是"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rejected": BETTER + "\n"}, "chosen_equals_rejected"),
        ({"chosen": ""}, "no_answer"),
        ({"rejected": None}, "no_answer"),
        ({"rejected": 3}, "bad_roles"),
        ({"chosen": {"from": "human", "value": BETTER}}, "bad_roles"),
        ({"conversations": []}, "bad_roles"),
        ({"conversations": [*SHAREGPT, {"from": "gpt", "value": "嗯"}]}, "bad_roles"),
        ({"conversations": [{"from": "human", "value": ""}]}, "empty_message"),
        ({"tools": '[{"title": "f"}]'}, "bad_tools"),
        ({"tools": '[{"name": "f"}]', "chosen": "Action: f\nAction Input: {1}"}, "bad_tool_call"),
        (
            {"chosen": [{"role": "user", "content": "别的"}, {"role": "assistant", "content": BETTER}]},
            "different_prompts",
        ),
    ],
)
def test_reasons(read_rows, change, reason):
    good = SCHEMAS["medicalgpt 2026"]
    assert read_rows([good, {**good, **change}]).reasons == {reason: 1}


def test_the_same_pairs_in_two_schemas_of_the_real_file(shared, read_source):
    folder = shared / "train" / "medicalgpt"
    new = read_source(folder / "dpo_zh_500.jsonl")
    old = read_source(folder / "dpo_zh_500.v2024-04.jsonl")
    assert new.account.rows_used == old.account.rows_used == 499
    pair = lambda record: (record.prompt, record.chosen, record.rejected)
    assert list(map(pair, new.records)) == list(map(pair, old.records))
    assert sum(record.prompt[0].role == "system" for record in new.records) == 84


@pytest.mark.parametrize(
    ("file", "rows"),
    [("llamafactory-demo/dpo_zh_demo.json", 300), ("medicalgpt/reward_test.v2023-06.json", 100)],
)
def test_real_files(shared, read_source, file, rows):
    reading = read_source(shared / "train" / file, kind="preference")
    assert (reading.account.rows_used, reading.reasons) == (rows, {})
