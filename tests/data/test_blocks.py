"""Blocks hold the joined rows, each token once and in order."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xinglin.data.blocks import Blocks, Row


@given(st.lists(st.integers(1, 30), max_size=15), st.integers(2, 16))
def test_joined_and_cut(lengths, size):
    rows, at = [], 0
    for number, length in enumerate(lengths):
        rows.append(
            Row(np.arange(at, at + length), np.full(length, number, np.float32), number, f"file {number}")
        )
        at += length
    blocks = Blocks(size)
    made = [block for row in rows for block in blocks.add(row)] + list(blocks.rest())
    assert [len(block) for block in made[:-1]] == [size] * (len(made) - 1)
    assert [token for block in made for token in block.ids.tolist()] == list(range(at))
    owners = np.repeat(np.arange(len(lengths)), lengths)
    for block in made:
        assert block.weights.tolist() == owners[block.ids].tolist()
        assert block.number == owners[block.ids[0]] and block.source == f"file {block.number}"
