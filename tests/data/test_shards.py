"""What goes into a shard comes out again, and a damaged one is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.data.shards import MAX_SOURCES, Shards, ShardWriter
from xinglin.errors import CheckpointError


@given(st.lists(st.lists(st.tuples(st.integers(0, 70_000), st.booleans()), min_size=1), max_size=12))
@settings(deadline=None)
def test_round_trip(tmp_path_factory, sequences):
    folder = tmp_path_factory.mktemp("shard")
    writer = ShardWriter(folder, vocabulary=70_001)
    for row, pairs in enumerate(sequences):
        writer.add(np.array([i for i, _ in pairs]), np.array([t for _, t in pairs], dtype=bool), row=row)
    writer.close()
    shards = Shards(folder)
    assert len(shards) == len(sequences)
    for row, pairs in enumerate(sequences):
        ids, trained = shards[row]
        assert ids.tolist() == [i for i, _ in pairs]
        assert trained.tolist() == [False, *(t for _, t in pairs[1:])]
        assert shards.counts[row] == trained.sum()


weights = st.sampled_from([0.0, 1.0, 0.5, 3.0])


@given(st.lists(st.lists(st.tuples(st.integers(0, 99), weights), min_size=1), max_size=12))
@settings(deadline=None)
def test_weights_and_sources_come_out_again(tmp_path_factory, sequences):
    folder = tmp_path_factory.mktemp("shard")
    writer = ShardWriter(folder, vocabulary=100)
    for row, pairs in enumerate(sequences):
        ids, trained = np.array([i for i, _ in pairs]), np.array([w for _, w in pairs], dtype=np.float32)
        writer.add(ids, trained, row=row, source=f"{row % 3}.jsonl")
    writer.close()
    shards = Shards(folder)
    for row, pairs in enumerate(sequences):
        expected = [0, *(weight for _, weight in pairs[1:])]
        trained = shards[row].trained
        assert trained.tolist() == expected
        assert (trained.dtype == bool) == (set(expected) <= {0, 1})
        assert shards.sums[row] == sum(expected)
        assert shards.counts[row] == sum(weight > 0 for weight in expected)
        assert shards.meta["sources"][shards.sources[row]] == f"{row % 3}.jsonl"
    odd = shards.only(np.arange(1, len(sequences), 2))
    for place, row in enumerate(range(1, len(sequences), 2)):
        assert odd[place].trained.tolist() == shards[row].trained.tolist()
        assert odd.sums[place] == shards.sums[row]


def test_sources_beyond_the_limit_are_one(tmp_path):
    writer = ShardWriter(tmp_path, vocabulary=100)
    for row in range(MAX_SOURCES + 5):
        writer.add(np.arange(3), np.ones(3, dtype=bool), row=row, source=f"{row}.txt")
    writer.close()
    shards = Shards(tmp_path)
    assert len(shards.meta["sources"]) == MAX_SOURCES
    assert (shards.sources == MAX_SOURCES - 1).sum() == 6


def test_small_vocabularies_take_two_bytes_a_token(tmp_path):
    writer = ShardWriter(tmp_path, vocabulary=1 << 16)
    writer.add(np.array([65_535, 1]), np.array([True, True]), row=0)
    writer.close()
    assert (tmp_path / "tokens.bin").stat().st_size == 4
    assert Shards(tmp_path)[0].ids.tolist() == [65_535, 1]


def test_a_shortened_file_is_refused(tmp_path):
    writer = ShardWriter(tmp_path, vocabulary=100)
    writer.add(np.arange(50), np.ones(50, dtype=bool), row=0)
    writer.close()
    (tmp_path / "tokens.bin").write_bytes(b"\0" * 99)
    with pytest.raises(CheckpointError, match="delete it, it is made again"):
        Shards(tmp_path)
