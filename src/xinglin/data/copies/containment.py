"""How much of each protected item a text holds, and how much of a text an item holds, over all items at once."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from xinglin.data.copies.fingerprints import Units, fold
from xinglin.data.copies.protected import Item
from xinglin.data.copies.sketches import Numbers

TEMPLATE_ITEMS = 20
"""An n-gram that more items than this have is a template of a benchmark and tells none of them."""


class Hits(NamedTuple):
    """Texts and items that have n-grams in common, one entry for each pair."""

    texts: Numbers
    items: Numbers
    containment: NDArray[np.float64]
    """The share of the n-grams of the item's text that the text holds."""
    inside: NDArray[np.float64]
    """The share of the text's n-grams that the item's text and the rest of it hold; 0 where it has less than n."""


class Index:
    """The n-grams of items which have one ``n``."""

    def __init__(self, items: Sequence[Item]):
        self.items = items
        self.n = items[0].n
        texts = [text for item in items for text in (item.text, item.rest)]
        grams = fold(texts).units().grams(self.n)
        order = np.lexsort((grams.owners, grams.hashes))
        hashes, slots = grams.hashes[order], grams.owners[order]
        fresh = np.ones(len(hashes), bool)
        fresh[1:] = (hashes[1:] != hashes[:-1]) | (slots[1:] != slots[:-1])
        hashes, self._slots = hashes[fresh], slots[fresh]
        keys, starts, counts = np.unique(hashes, return_index=True, return_counts=True)
        # The parts of an item that is told by all of them together may well be in many.
        telling = counts <= (TEMPLATE_ITEMS if items[0].whole else len(texts))
        self._keys, self._starts, self._counts = keys[telling], starts[telling], counts[telling]
        self._totals = np.bincount(self._slots[np.repeat(telling, counts)], minlength=len(texts))[::2]
        bits = max(16, (8 * len(keys)).bit_length())
        self._shift = np.uint64(64 - bits)
        # Nearly every n-gram of a training text is in no item: one look here says so.
        self._present = np.zeros(1 << bits, bool)
        self._present[self._keys >> self._shift] = True

    @property
    def untold(self) -> int:
        """Items that have n-grams of templates only, and are never found."""
        return int((self._totals == 0).sum())

    def hits(self, units: Units, *, count: int) -> Hits:
        """What the ``count`` texts of ``units`` have in common with the items."""
        grams = units.grams(self.n)
        places, keys = self._found(grams)
        each = self._counts[keys]
        first = self._starts[keys] - (np.cumsum(each) - each)
        slots = self._slots[np.repeat(first, each) + np.arange(each.sum())]
        places, keys = np.repeat(places, each), np.repeat(keys, each)
        pairs = grams.owners[places] * len(self.items) + slots // 2
        told = slots % 2 == 0
        common, seen = _distinct(pairs, places)
        holding, held = _distinct(pairs[told], keys[told])
        texts, items = common // len(self.items), common % len(self.items)
        containment = np.zeros(len(common))
        at = np.searchsorted(common, holding)
        containment[at] = held / self._totals[items[at]]
        sizes = np.bincount(grams.owners, minlength=count)[texts]
        return Hits(texts, items, containment, np.where(sizes < self.n, 0, seen / np.maximum(1, sizes)))

    def _found(self, grams: Units) -> tuple[Numbers, Numbers]:
        """Places of n-grams that items have, and their places among the keys."""
        places = np.flatnonzero(self._present[grams.hashes >> self._shift])
        keys = np.searchsorted(self._keys, grams.hashes[places])
        keys = np.minimum(keys, len(self._keys) - 1)
        real = self._keys[keys] == grams.hashes[places]
        return places[real], keys[real]


def _distinct(pairs: Numbers, values: Numbers) -> tuple[Numbers, Numbers]:
    """The pairs, ascending, and how many different values each has."""
    order = np.lexsort((values, pairs))
    pairs, values = pairs[order], values[order]
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]) | (values[1:] != values[:-1])
    return np.unique(pairs[fresh], return_counts=True)
