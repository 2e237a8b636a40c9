"""A split of any size as parts of token shards, which are made while training has already begun.

The parts are spans of the split's file, cut where lines begin, so their number is known before anything is read.
Each is a shard folder of its own, named after what is in it: a later run finds it. One thread makes them in the
order in which they will be needed; the tokenizer runs outside of Python's lock, so training hardly notices.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from threading import Event

from xinglin.data.shards import Shards
from xinglin.data.splits import Span, Tokenising, find_shards, make_shards, shard_key
from xinglin.runtime.progress import progress

STREAM_BYTES = 256 << 20
"""A file of documents above this is tokenised in parts, by the stage that trains on it."""
POLL_SECONDS = 0.2
AHEAD = 16
"""Parts that are made beyond the one in use."""
OPEN_PARTS = 64


def cut(path: Path, part_bytes: int) -> list[Span]:
    """Spans of whole lines: each ends with the first line that ends ``part_bytes`` or more after a fixed grid.

    A line longer than ``part_bytes`` makes a span of its own longer; no span is empty.
    """
    size = path.stat().st_size
    starts = {0, size}
    with path.open("rb") as file:
        for at in range(part_bytes, size, part_bytes):
            file.seek(at - 1)
            file.readline()
            starts.add(file.tell())
    ordered = sorted(starts)
    return [Span(start, end) for start, end in pairwise(ordered)]


class Parts:
    """The shards of a split, part by part. Use it as a context manager: the thread stops at the end.

    Args:
        path: the split's JSON Lines file.
        how: how it becomes tokens.
        content: hash of the file.
        places: folders of shards, of which the last is written to.
        part_bytes: size of a part; None: the whole file is one.
        writes: whether this process makes what is missing; others wait for it.
    """

    def __init__(
        self,
        path: Path,
        how: Tokenising,
        *,
        content: str,
        places: list[Path],
        part_bytes: int | None,
        writes: bool = True,
    ):
        self.path, self.how = path, how
        self.spans = cut(path, part_bytes) if part_bytes else [Span(0, path.stat().st_size)]
        keys = [shard_key(content, how, None if len(self.spans) == 1 else span) for span in self.spans]
        self._places, self._keys, self._writes = places, keys, writes
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"tokenise {path.stem}")
        self._stop = Event()
        self._made: dict[int, Future[None]] = {}
        self._open: OrderedDict[int, Shards] = OrderedDict()
        self.order: Sequence[int] = range(len(self.spans))
        """In which the parts will be asked for, so that they can be made beforehand."""

    def __len__(self) -> int:
        return len(self.spans)

    def __enter__(self) -> "Parts":
        return self

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def __getitem__(self, part: int) -> Shards:
        """The shards of a part; waits for them.

        Raises:
            DataError: its records cannot be used.
        """
        if part not in self._open:
            folder = self._wait(part)
            self._open[part] = Shards(folder)
            if len(self._open) > OPEN_PARTS:
                self._open.popitem(last=False)
            place = self.order.index(part)
            for coming in self.order[place + 1 : place + 1 + AHEAD]:
                self._submit(coming)
        self._open.move_to_end(part)
        return self._open[part]

    def lines_before(self, part: int) -> int:
        """Lines of the file before the part: its rows count from there."""
        left, lines = self.spans[part].start, 0
        with self.path.open("rb") as file:
            while left:
                chunk = file.read(min(left, 1 << 20))
                left, lines = left - len(chunk), lines + chunk.count(b"\n")
        return lines

    def _folder(self, part: int) -> Path:
        return find_shards(self._keys[part], self._places)

    def _wait(self, part: int) -> Path:
        if not self._folder(part).is_dir() and not self._open and self._writes:
            with progress(None, f"tokenising {self.path.stem}") as bar:
                self._make(part, bar.advance)
        self._submit(part)
        if part in self._made:
            self._made[part].result()
        while not self._folder(part).is_dir():
            time.sleep(POLL_SECONDS)
        return self._folder(part)

    def _submit(self, part: int) -> None:
        if self._writes and part not in self._made and not self._folder(part).is_dir():
            self._made[part] = self._pool.submit(self._make, part, self._go_on)

    def _make(self, part: int, advance: Callable[[int], None]) -> None:
        span = None if len(self) == 1 else self.spans[part]
        make_shards(self._folder(part), self.path, self.how, span=span, advance=advance)

    def _go_on(self, records: int) -> None:
        if self._stop.is_set():
            raise InterruptedError(f"{self.path}: stopped")
