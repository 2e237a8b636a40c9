"""Which records belong together, and splits that do not part them."""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xinglin.data.copies.fingerprints import mixed
from xinglin.data.copies.sketches import Numbers, join
from xinglin.data.records import Record

GROUP_KEYS = ("patient", "patient_id", "dialogue", "dialogue_id", "case_id", "visit_id")
"""Keys of ``meta`` that name a patient or a dialogue: records with an equal value are of one group."""


def group(
    records: Iterable[Record], *, clusters: Numbers | None = None, keys: Sequence[str] = GROUP_KEYS
) -> Numbers:
    """The group of each record, as the number of its first record.

    Records are of one group when they come from one row of a file, are of one cluster of duplicates, or have an
    equal value of one of ``keys`` in their ``meta``, and so on through others.

    Args:
        clusters: (records,) the cluster of each, any numbers.
    """
    rows = array("Q")
    # Most records name nobody, so only those that do take memory here.
    named = {key: (array("q"), array("Q")) for key in keys}
    origin, row = None, -1
    for place, record in enumerate(records):
        row += record.origin != origin
        origin = record.origin
        rows.append(row)
        for key, (places, names) in named.items() if record.meta else ():
            if name := _name(record.meta, key):
                places.append(place)
                names.append(name)
    groups = np.arange(len(rows))
    groups = join(groups, *_equal(np.asarray(rows)))
    if clusters is not None:
        groups = join(groups, *_equal(clusters.astype(np.uint64)))
    for places, names in named.values():
        left, right = _equal(np.asarray(names))
        groups = join(groups, np.asarray(places)[left], np.asarray(places)[right])
    return groups


def assign(groups: Numbers, shares: Mapping[str, float], *, seed: int) -> NDArray[np.int64]:
    """Deal whole groups out: for each record 0, or k for the k-th of ``shares``.

    The order in which groups are dealt is a fixed function of the seed and their numbers. Each split takes groups
    that still fit into its share of the records (one record at least), so that it exceeds it never and misses it
    only by what no group was small enough for.
    """
    names, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(mixed(names.astype(np.uint64) + mixed(np.array([seed], np.uint64))), kind="stable")
    room = [max(1, round(share * len(groups))) for share in shares.values()]
    parts = np.zeros(len(names), np.int64)
    for place, size in zip(order.tolist(), sizes[order].tolist(), strict=True):
        fits = next((part for part, left in enumerate(room) if size <= left), None)
        if fits is not None:
            room[fits] -= size
            parts[place] = fits + 1
        elif not any(room):
            break
    return parts[member]


def _name(meta: Mapping[str, Any], key: str) -> int:
    """A 64-bit hash of what ``meta`` says of ``key``, 0 where it says nothing."""
    value = meta.get(key)
    if value is None or value == "":
        return 0
    return int.from_bytes(hashlib.blake2b(str(value).encode(), digest_size=8).digest(), "little")


def _equal(names: NDArray[np.uint64]) -> tuple[Numbers, Numbers]:
    """Pairs of places that link all those with equal names."""
    order = np.argsort(names, kind="stable")
    same = names[order[1:]] == names[order[:-1]]
    return order[:-1][same], order[1:][same]
