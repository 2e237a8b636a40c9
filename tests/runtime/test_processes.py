import operator
import os
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from xinglin.runtime import processes
from xinglin.runtime.processes import in_order


@pytest.mark.parametrize("count", [0, 3, 40])
@pytest.mark.parametrize("number", [1, 2])
def test_results_come_in_order_with_their_chunks(count: int, number: int) -> None:
    found = list(in_order(operator.neg, range(count), processes=number))
    assert found == [(each, -each) for each in range(count)]


def test_only_a_few_chunks_are_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WORTHWHILE", 2)
    chunks = iter(range(1000))
    with closing(in_order(operator.neg, chunks, processes=2)) as results:
        assert next(results) == (0, 0) and next(chunks) < 20


class Chunk(list[int]):
    """Can be looked for by a weak reference."""


@pytest.mark.parametrize("number", [1, 2])
def test_a_chunk_is_not_kept_when_it_is_done(number: int) -> None:
    made: list[weakref.ref[Chunk]] = []

    def chunks() -> Iterator[Chunk]:
        for each in range(60):
            chunk = Chunk([each])
            made.append(weakref.ref(chunk))
            yield chunk

    for done, (chunk, total) in enumerate(in_order(sum, chunks(), processes=number)):
        assert total == chunk[0] == done
        assert not any(each() for each in made[:done])


def test_what_the_work_raises_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "WORTHWHILE", 1)
    with pytest.raises(ValueError, match="one"):
        list(in_order(int, ["1", "one"], processes=2))


def test_processes_end_with_the_one_that_started_them() -> None:
    code = (
        "from test_processes import own_id\n"
        "from xinglin.runtime.processes import in_order\n"
        "for _, worker in in_order(own_id, range(99), processes=2): print(worker, flush=True)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert parent.stdout is not None
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    worker.wait(timeout=20)
    parent.stdout.close()


def own_id(number: int) -> int:
    time.sleep(0.2)
    return os.getpid()
