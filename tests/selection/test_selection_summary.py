"""What the report shows of records."""

import numpy as np

from xinglin.data.records import Conversation, Message, Origin
from xinglin.selection.summary import examples

RECORDS = [
    Conversation(
        (Message("user", f"我叫王建国，电话1381234567{n}，头痛怎么办？"), Message("assistant", "请就诊。")),
        Origin("talk.jsonl", n + 1),
    )
    for n in range(4)
]


def test_examples_show_both_ends_and_nothing_personal():
    found = examples({"ifd": np.array([0.4, 0.1, np.nan, 0.9])}, np.ones(4, bool), iter(RECORDS))["ifd"]
    assert [each["origin"] for each in found["highest"]] == [f"talk.jsonl:{row}" for row in (4, 1, 2)]
    assert found["lowest"][0]["assistant"] == "请就诊。" and "头痛" in found["lowest"][0]["user"]
    assert "1381234567" not in str(found) and "王建国" not in str(found)
