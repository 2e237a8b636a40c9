"""What goes into a shard comes out again, and a damaged one is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin.data.shards import Shards, ShardWriter
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
