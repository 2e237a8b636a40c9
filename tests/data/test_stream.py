"""Parts hold what the whole holds; they are made ahead, found again, and made by one process only."""

import json
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.data.rendering import Renderer
from xinglin.data.splits import Tokenising, open_shards
from xinglin.data.stream import AHEAD, Parts, cut
from xinglin.errors import DataError
from xinglin.runtime.artifact import sha256

LINES = [f"第{number}段：高血压患者应低盐饮食。" * (number % 7 + 1) for number in range(200)]


@pytest.fixture(scope="module")
def how(tokenizer):
    return Tokenising(Renderer(tokenizer), 48, "split")


@pytest.fixture
def corpus(tmp_path):
    return write(tmp_path / "corpus.jsonl", LINES)


@pytest.fixture
def parts_of(tmp_path, how):
    def open_parts(path, **settings):
        settings = {"places": [tmp_path / "shards"], "part_bytes": 1500} | settings
        return Parts(path, settings.pop("how", how), content=sha256(path), **settings)

    return open_parts


def write(path, texts):
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), "utf-8")
    return path


def tokens(shards):
    return Counter(tuple(shards[at].ids.tolist()) for at in range(len(shards)))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 80))
@settings(deadline=None)
def test_spans_are_whole_lines_and_all_of_them(tmp_path_factory, lengths, part_bytes):
    path = tmp_path_factory.mktemp("lines") / "lines"
    path.write_bytes(b"".join(b"x" * length + b"\n" for length in lengths))
    spans = cut(path, part_bytes)
    data = path.read_bytes()
    assert b"".join(data[start:end] for start, end in spans) == data
    assert all(one.end == two.start for one, two in pairwise(spans))
    assert all(end > start and data[end - 1 : end] == b"\n" for start, end in spans)
    assert all(end - start <= part_bytes + max(lengths) + 1 for start, end in spans)


def test_parts_hold_the_sequences_of_the_whole(corpus, parts_of, how, tmp_path):
    whole = open_shards(corpus, how.renderer, max_tokens=48, policy="split", places=[tmp_path / "whole"])
    with parts_of(corpus) as parts:
        assert len(parts) > 10
        assert sum((tokens(parts[part]) for part in range(len(parts))), Counter()) == tokens(whole)
        lines = [
            parts.lines_before(part) + row for part in range(len(parts)) for row in parts[part].rows.tolist()
        ]
    assert lines == whole.rows.tolist()


def test_one_part_is_the_shards_that_every_other_stage_uses(corpus, parts_of, how, tmp_path):
    open_shards(corpus, how.renderer, max_tokens=48, policy="split", places=[tmp_path / "shards"])
    with parts_of(corpus, part_bytes=None, writes=False) as parts:
        assert len(parts) == 1 and len(parts[0]) > 200


def test_the_first_part_is_there_before_the_rest_and_later_runs_find_all(corpus, parts_of, tmp_path):
    with parts_of(corpus) as parts:
        parts.order = list(range(len(parts)))[::-1]
        parts[len(parts) - 1]
        assert not parts._folder(parts.order[AHEAD + 1]).exists()
        for part in parts.order:
            parts[part]
    made = {folder: folder.stat().st_ctime_ns for folder in (tmp_path / "shards").iterdir()}
    with parts_of(corpus) as parts:
        for part in range(len(parts)):
            parts[part]
    assert made == {folder: folder.stat().st_ctime_ns for folder in (tmp_path / "shards").iterdir()}
    assert len(made) == len(parts)


def test_a_process_that_does_not_write_waits(corpus, parts_of):
    with parts_of(corpus) as writer, parts_of(corpus, writes=False) as reader:
        writer[0]
        assert tokens(reader[0]) == tokens(writer[0])
        assert tokens(reader[3]) == tokens(writer[3])


def test_leaving_stops_the_thread_and_leaves_no_half_of_a_part(corpus, parts_of, tmp_path):
    with parts_of(corpus, part_bytes=200) as parts:
        parts[0]
    left = [folder for folder in (tmp_path / "shards").iterdir() if not folder.name.startswith(".")]
    assert all((folder / "meta.json").is_file() for folder in left)
    assert len(left) < len(parts)


def test_what_is_wrong_with_a_later_part_is_said_when_it_is_needed(tmp_path, parts_of, tokenizer):
    path = write(tmp_path / "long.jsonl", ["短。"] * 100 + ["长" * 100])
    how = Tokenising(Renderer(tokenizer), 48, "error")
    with parts_of(path, how=how) as parts:
        parts[0]
        with pytest.raises(DataError, match="a row holds 48"):
            parts[len(parts) - 1]


def test_contiguous_blocks_are_full_and_hold_every_token(corpus, parts_of, tokenizer, how):
    joined = Tokenising(Renderer(tokenizer), 32, "split", contiguous=True)
    with (
        parts_of(corpus, how=joined, part_bytes=None) as parts,
        parts_of(corpus, part_bytes=None) as isolated,
    ):
        blocks, whole = parts[0], isolated[0]
    assert (blocks.lengths[:-1] == 32).all() and blocks.counts[0] == 31
    flat = [
        token for shards in (blocks, whole) for at in range(len(shards)) for token in shards[at].ids.tolist()
    ]
    assert flat[: len(flat) // 2] == flat[len(flat) // 2 :]
    assert flat.count(tokenizer.eos_token_id) == 2 * len(LINES)


def test_conversations_train_their_answers_or_everything(tmp_path, parts_of, tokenizer):
    tokenizer.chat_template = None
    path = tmp_path / "talk.jsonl"
    turns = [{"role": "user", "content": "发热怎么办？"}, {"role": "assistant", "content": "多喝水。"}]
    path.write_text(json.dumps({"messages": turns}, ensure_ascii=False) + "\n", "utf-8")
    renderer = Renderer(tokenizer, template="chatml")
    found = []
    for train_all in (False, True):
        how = Tokenising(renderer, 64, "split", train_all=train_all)
        with parts_of(path, how=how, part_bytes=None) as parts:
            found.append(parts[0][0])
    assert found[0].ids.tolist() == found[1].ids.tolist()
    assert found[1].trained.tolist() == [False] + [True] * (len(found[1].ids) - 1)
    assert 0 < found[0].trained.sum() < found[1].trained.sum()
