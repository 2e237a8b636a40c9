"""Copies within and across sources and splits: what is found, what is kept, and the known copies in public data."""

import csv
import json
import random

import numpy as np
import pytest

from xinglin.data.copies.duplicates import Duplicates, SplitFile, chunks, find_duplicates
from xinglin.data.records import Conversation, Document, Message, Origin

LONG = "高血压患者平时要注意低盐饮食，按时服药，定期监测血压，如果出现头晕头痛等不适症状，应当及时到心血管内科就诊。"


def talk(question, answer, file="a.jsonl", row=1):
    return Conversation((Message("user", question), Message("assistant", answer)), Origin(file, row))


@pytest.fixture
def find(tmp_path):
    """``find({split: [records]}, held_out=[…], **config)`` -> Clusters."""

    def run(splits, *, held_out=(), **config):
        files = []
        for name, records in splits.items():
            path = tmp_path / f"{name}.jsonl"
            lines = (json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in records)
            path.write_text("".join(lines), encoding="utf-8")
            files.append(SplitFile(name, path, name in held_out))
        return find_duplicates(files, Duplicates(**config))

    return run


def told(clusters):
    return [(copy.split, copy.line, str(copy.of), copy.removal.reason) for copy in clusters.copies()]


def test_exact_and_near_copies_name_what_is_kept(find):
    records = [
        talk("血压高怎么办？", LONG, row=1),
        talk("血压 高怎么办", LONG, "b.jsonl", 1),
        talk("血压高怎么办？", LONG + "祝好", "b.jsonl", 2),
        talk("感冒怎么办？", "多喝水。", "b.jsonl", 3),
    ]
    clusters = find({"train": records})
    assert told(clusters) == [
        ("train", 1, "a.jsonl:1", "exact_duplicate"),
        ("train", 2, "a.jsonl:1", "near_duplicate"),
    ]
    assert clusters.of("train").tolist() == [0, 0, 0, 3]
    report = clusters.to_json()
    assert (report["exact"], report["near"], report["clusters"], report["largest_cluster"]) == (1, 1, 1, 3)
    assert report["files"] == [{"copies_in": "b.jsonl", "kept_in": "a.jsonl", "records": 2}]
    assert "血压" not in json.dumps(report, ensure_ascii=False)


def jaccard(left, right):
    grams = [{text[at : at + 5] for at in range(len(text) - 4)} for text in (left, right)]
    return len(grams[0] & grams[1]) / len(grams[0] | grams[1])


@pytest.mark.parametrize("keep", ["first", "longest"])
def test_in_a_chain_of_near_copies_only_what_is_like_the_kept_one_goes(find, keep):
    draw = random.Random(0)
    signs = [draw.choice(LONG) for _ in range(300)]
    said = []
    for at in range(0, 300, 5):
        said.append("".join(signs))
        signs[at : at + 5] = draw.choices(LONG, k=5)
    rows = [Document(text, Origin("a.jsonl", row)) for row, text in enumerate([*said, said[-1]])]
    clusters = find({"train": rows}, keep=keep)
    assert clusters.to_json()["largest_cluster"] == 61
    copies = {copy.line: copy for copy in clusters.copies()}
    assert len(copies) > 40 and 60 in copies
    for copy in copies.values():
        assert copy.of.row not in copies
        assert jaccard(rows[copy.line].text, rows[copy.of.row].text) > 0.65


def test_near_copies_are_left_alone_on_request(find):
    records = [talk("血压高怎么办？", LONG, row=1), talk("血压高怎么办？", LONG + "祝好", row=2)]
    assert told(find({"train": records}, near=False)) == []


def test_a_held_out_split_wins_and_is_never_changed(find):
    same = [talk("血压高怎么办？", LONG, row=row) for row in (1, 2)]
    clusters = find({"train": same, "test": same, "dev": same}, held_out=["test", "dev"])
    assert {(split, line) for split, line, *_ in told(clusters)} == {("train", 0), ("train", 1)}
    assert {copy.of_split for copy in clusters.copies()} == {"test"}
    assert list(clusters.copies("test")) == []
    assert clusters.to_json()["splits"] == [{"copies_in": "train", "kept_in": "test", "records": 2}]


def test_the_longest_is_kept_within_a_source_only(find):
    records = [
        talk("血压高怎么办？", LONG, "a.jsonl", 1),
        talk("血压高怎么办？", LONG + "祝好", "a.jsonl", 2),
        talk("血压高怎么办？", LONG + "祝您健康", "b.jsonl", 1),
    ]
    kept = {str(copy.of) for copy in find({"train": records}, keep="longest").copies()}
    assert kept == {"a.jsonl:2"}
    assert {str(copy.of) for copy in find({"train": records}).copies()} == {"a.jsonl:1"}


def test_turns_of_one_dialogue_are_no_copies_of_one_another(find):
    """A row that makes one record per answer; the same dialogue again in another file goes as a whole."""

    def turns(file):
        whole = talk("血压高怎么办？", LONG * 3, file).messages
        more = (*whole, Message("user", "谢谢"), Message("assistant", "不客气，祝早日康复。"))
        return [Conversation(messages, Origin(file, 1)) for messages in (whole, more)]

    clusters = find({"train": turns("a.jsonl") + turns("b.jsonl")})
    assert [(split, line) for split, line, *_ in told(clusters)] == [("train", 2), ("train", 3)]
    assert clusters.of("train").tolist() == [0, 0, 0, 0]


def test_question_only(find):
    records = [talk("血压高怎么办？", "休息。", row=1), talk("血压高怎么办？", "吃药。", row=2)]
    assert told(find({"train": records})) == []
    assert len(told(find({"train": records}, compare="question"))) == 1


def test_texts_without_letters_equal_nothing(find):
    assert told(find({"train": [Document("？？", Origin("a", 1)), Document("！！", Origin("a", 2))]})) == []


def test_short_texts_have_exact_copies_only(find):
    records = [talk("阿莫西林的作用是什么", "抗菌", row=1), talk("阿莫西林的作用是什么", "抗菌药", row=2)]
    assert told(find({"train": records})) == []


def test_the_beginning_of_a_very_long_text_and_its_length_tell_it(find, monkeypatch):
    monkeypatch.setattr("xinglin.data.copies.duplicates.MOST_CHARACTERS", 400)
    text = "".join(chr(0x4E00 + (11 * at) % 5000) for at in range(500))
    texts = [text, text[:-50], text[:-50] + "x" * 50]
    records = [Document(each, Origin("a", row)) for row, each in enumerate(texts)]
    assert [reason for *_, reason in told(find({"train": records}))] == ["near_duplicate", "exact_duplicate"]


def test_an_empty_split_has_no_copies(find):
    assert find({"train": []}).to_json()["records"] == 0


def test_planted_copies_are_found(find):
    """F1 over edits from a wrapper to 5 % of the characters, planted in random texts."""
    generator = random.Random(3)
    alphabet = [chr(code) for code in range(0x4E00, 0x4E00 + 800)]
    originals = ["".join(generator.choices(alphabet, k=generator.randint(60, 400))) for _ in range(300)]
    copies = [_edited(text, generator) for text in originals[:150]]
    records = [Document(text, Origin("a", row)) for row, text in enumerate(originals + copies)]
    found = find({"train": records}).of("train")
    right = sum(found[300 + at] == at for at in range(150))
    assert len(set(found[:300].tolist())) == 300
    assert right >= 147


def _edited(text, generator):
    kind = generator.randrange(4)
    if kind == 0:
        return f"问题：{text}\n"
    if kind == 1:
        return text[: int(len(text) * 0.9)]
    if kind == 2:
        at = generator.randrange(len(text))
        return text[:at] + "这里" + text[at:]
    at = generator.randrange(len(text))
    return text[:at] + "误" + text[at + 1 :]


def test_known_copies_in_public_data(find, shared):
    """Huatuo26M's test set as two schemas, BenCao's data republished in a wrapper, equal rows of one source."""
    folder = shared / "train"
    huatuo = json.loads((folder / "zhongjing/huatuo26M_test.json").read_text(encoding="utf-8"))
    pairs = [(row["instruction"][0], row["output"][0]) for row in huatuo]
    records = [talk(*pair, "huatuo", row) for row, pair in enumerate(pairs)]
    records += [
        Document(f"问：{asked}\n答：{said}", Origin("again", row)) for row, (asked, said) in enumerate(pairs)
    ]
    for name, file, keys in [
        ("bencao", "llama_data.json", ("instruction", "output")),
        ("chatglm", "med-chatglm_train.txt", ("context", "target")),
    ]:
        lines = (folder / "huatuo-bencao" / file).read_text(encoding="utf-8").splitlines()
        rows = map(json.loads, lines)
        records += [talk(*(row[key] for key in keys), name, at) for at, row in enumerate(rows)]
    table = folder / "toyhom/sample_neike_5000-6000.gbk.csv"
    with table.open(encoding="gb18030", newline="") as lines:
        for at, row in enumerate(csv.DictReader(lines)):
            records.append(talk(f"{row['title']}\n{row['ask']}", row["answer"], "toyhom", at))
    counts = {
        (row["copies_in"], row["kept_in"]): row["records"]
        for row in find({"train": records}).to_json()["files"]
    }
    assert counts["again", "huatuo"] == 6000
    assert counts["toyhom", "toyhom"] == 400
    assert counts["chatglm", "bencao"] >= 5513


def test_memory_of_a_record_is_bounded(find, monkeypatch):
    """What the table keeps of a record, whatever its length."""
    from xinglin.data.copies.duplicates import SketchFile, _Table

    with SketchFile() as sketches:
        table = _Table(1000, sketches)
    arrays = [value for value in vars(table).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in arrays) / 1000 <= 40


def test_nothing_has_no_copies() -> None:
    assert find_duplicates([], Duplicates()).to_json()["clusters"] == 0


def test_chunks_hold_so_many_records_or_characters_whatever_comes_first():
    records = [
        Document("问" * size, Origin("a.jsonl", row)) for row, size in enumerate([1] * 7 + [1 << 18] * 2)
    ]
    made = list(chunks(iter(records), most=3))
    assert [len(chunk) for chunk in made] == [3, 3, 2, 1]
    assert [record for chunk in made for record in chunk] == records
