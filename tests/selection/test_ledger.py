"""Each record is scored once: across runs, interruptions and crashes."""

from dataclasses import replace

import numpy as np
import pytest

from xinglin.data.records import Conversation, Message, Origin
from xinglin.errors import Interrupted, ModelError
from xinglin.selection import ledger
from xinglin.selection.ledger import Ledger, record_key
from xinglin.selection.scores import Unscored

RECORDS = [
    Conversation((Message("user", f"问{i % 9}"), Message("assistant", "答")), Origin("t", i + 1))
    for i in range(12)
]


def value(record):
    number = int(record.messages[0].content[1:])
    return {0: None, 1: Unscored("too_long", "x")}.get(number, number / 3)


class Counting:
    """A score that counts what it is asked."""

    def __init__(self):
        self.asked = self.opened = 0

    def open(self):
        self.opened += 1
        return self

    def __call__(self, records):
        self.asked += len(records)
        return [value(record) for record in records]


def score(path, counting, *, stop=lambda: False, records=RECORDS):
    return Ledger(path).score(
        iter(records), len(records), counting.open, label="scoring", stop_requested=stop
    )


def test_known_records_cost_nothing(tmp_path):
    path, first, again = tmp_path / "scores.jsonl", Counting(), Counting()
    found = score(path, first)
    assert first.asked == 9, "the same words from another row are the same record"
    expected = [np.nan, np.nan, *(i % 9 / 3 for i in range(2, 9)), np.nan, np.nan, 2 / 3]
    np.testing.assert_array_equal(found.values, expected)
    assert set(found.unscored) == {1, 10} and found.computed == 9
    same = score(path, again)
    assert again.opened == 0 and same.computed == 0
    np.testing.assert_array_equal(same.values, found.values)
    assert same.unscored == found.unscored


@pytest.mark.parametrize("torn", [b'["00ff', b'["00ff", 1.0]'])
def test_interrupted_and_torn_it_goes_on(tmp_path, monkeypatch, torn):
    monkeypatch.setattr(ledger, "BLOCK", 4)
    path, asked, counting = tmp_path / "scores.jsonl", iter([False, True]), Counting()
    with pytest.raises(Interrupted):
        score(path, counting, stop=lambda: next(asked))
    whole = path.read_bytes()
    assert counting.asked == 4 and len(whole.splitlines()) == 4
    path.write_bytes(whole + torn)
    resumed = score(path, counting)
    assert counting.asked == 9 and resumed.computed == 5
    np.testing.assert_array_equal(resumed.values, score(tmp_path / "other.jsonl", Counting()).values)


def test_what_a_record_says_decides_and_not_where_it_comes_from():
    record = RECORDS[2]
    moved = replace(record, origin=Origin("u", 7), meta={"department": "内科"})
    assert record_key(moved) == record_key(record)
    untrained = replace(record, messages=(record.messages[0], replace(record.messages[1], train=False)))
    keyed = replace(record, meta={"exam": {"options": {"A": "x"}, "answer": "A"}})
    assert len({record_key(each) for each in (record, untrained, keyed)}) == 3


def test_broken_numbers_are_refused(tmp_path):
    with pytest.raises(ModelError, match="a score is nan"):
        Ledger(tmp_path / "ifd.jsonl").score(
            iter(RECORDS),
            12,
            lambda: lambda records: [float("nan")] * len(records),
            label="x",
            stop_requested=lambda: False,
        )
