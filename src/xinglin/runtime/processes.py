"""Work on one chunk after the other, by several processes where it is worth their start."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")
WORTHWHILE = 32
"""Chunks from which on other processes are started: fewer are done before these are there."""


def in_order(
    work: Callable[[Chunk], Result], chunks: Iterable[Chunk], *, processes: int
) -> Generator[tuple[Chunk, Result], None, None]:
    """Each chunk with what ``work`` makes of it, in order; a few chunks are read ahead.

    Args:
        work: picklable; the chunks and what it makes of them, too.
        processes: 1 for none beside this one.
    """
    chunks = iter(chunks)
    first = deque(islice(chunks, WORTHWHILE if processes > 1 else 0))
    several = len(first) == WORTHWHILE
    # Taken out one by one, so that none is kept when it is done.
    chunks = chain((first.popleft() for _ in range(len(first))), chunks)
    if several:
        yield from _in_processes(work, chunks, processes)
    else:
        yield from ((chunk, work(chunk)) for chunk in chunks)


def _in_processes(
    work: Callable[[Chunk], Result], chunks: Iterator[Chunk], processes: int
) -> Iterator[tuple[Chunk, Result]]:
    waiting: deque[tuple[Chunk, Future[Result]]] = deque()
    # A plain fork would copy locks that threads of numerical libraries hold.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn"), _begin) as pool:
        try:
            for chunk in chunks:
                waiting.append((chunk, pool.submit(work, chunk)))
                if len(waiting) > 4 * processes:
                    yield _result(waiting)
            while waiting:
                yield _result(waiting)
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """In each process: Ctrl-C is the parent's to answer, and when that is killed nobody else would end this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _result(waiting: deque[tuple[Chunk, Future[Result]]]) -> tuple[Chunk, Result]:
    chunk, future = waiting.popleft()
    return chunk, future.result()
