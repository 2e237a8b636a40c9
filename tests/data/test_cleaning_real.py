"""The standard set on public medical data, where they are on this machine: medicine stays."""

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from xinglin.data.cleaning import Clean, Cleaning
from xinglin.data.records import Conversation, Message, Origin
from xinglin.data.removal import Removal

DATA = Path(__file__).parents[3] / "shared" / "data" / "train"
TOYHOM = DATA / "toyhom" / "sample_neike_5000-6000.gbk.csv"
MEDICALGPT = DATA / "medicalgpt" / "medical_sft_1K_format.jsonl"
INTIMATE = re.compile(
    "阳痿|早泄|勃起|性生活|阴道|月经|怀孕|包皮|阴茎|白带|子宫|流产|前列腺|乳房|同房|避孕|梅毒|尖锐湿疣"
)


def toyhom() -> Iterator[tuple[str, str]]:
    for row in csv.DictReader(io.StringIO(TOYHOM.read_bytes().decode("gb18030"))):
        yield f"{row['title']}\n{row['ask']}", row["answer"]


def medicalgpt() -> Iterator[tuple[str, str]]:
    for line in MEDICALGPT.read_text(encoding="utf-8").splitlines():
        turns = json.loads(line)["conversations"]
        yield turns[0]["value"], turns[1]["value"]


@pytest.mark.parametrize(("path", "rows"), [(TOYHOM, toyhom), (MEDICALGPT, medicalgpt)])
def test_medicine_stays(path: Path, rows) -> None:
    if not path.exists():
        pytest.skip(f"{path.name} is not beside the checkout")
    cleaning = Cleaning(Clean())
    kept: dict[bool, list[bool]] = {True: [], False: []}
    for number, (question, answer) in enumerate(rows(), start=1):
        record = Conversation(
            (Message("user", question), Message("assistant", answer)), Origin(path.name, number)
        )
        outcome = cleaning.apply(record)
        kept[INTIMATE.search(question + answer) is not None].append(not isinstance(outcome, Removal))
    everything = kept[True] + kept[False]
    share = sum(everything) / len(everything)
    assert share > 0.98
    assert len(kept[True]) > 50
    # Two records more or less are chance.
    assert sum(kept[True]) + 2 >= share * len(kept[True])
