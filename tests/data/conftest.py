"""Reading rows through the real door: a file, a source, an account and a quarantine."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.sources import Source, read


class Reading(NamedTuple):
    records: list
    account: SourceAccount
    quarantined: list[dict]

    @property
    def reasons(self) -> dict[str, int]:
        return dict(self.account.reasons)


@pytest.fixture
def read_source(tmp_path):
    """``read_source(path, kind=None, **source)`` -> Reading, with the accounting checked."""

    def run(path: Path, *, kind=None, **source: Any) -> Reading:
        account, side = SourceAccount(), tmp_path / "quarantine.jsonl"
        side.unlink(missing_ok=True)
        with Quarantine(side) as quarantine:
            records = list(
                read(Source(path=str(path), **source), kind=kind, account=account, quarantine=quarantine)
            )
        lines = [json.loads(line) for line in side.read_text(encoding="utf-8").splitlines()]
        assert account.rows_in == account.rows_used + account.rows_quarantined
        assert (account.records, account.rows_quarantined) == (len(records), len(lines))
        assert all(line["reason"] and line["file"] and line["row"] > 0 for line in lines)
        return Reading(records, account, lines)

    return run


@pytest.fixture
def read_rows(tmp_path, read_source):
    """``read_rows([row, …], **source)`` reads the rows from a JSON Lines file."""

    def run(rows: list, **source: Any) -> Reading:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
        return read_source(path, **source)

    return run


@pytest.fixture(scope="session")
def shared() -> Path:
    """Public data sets beside the checkout; tests that need them are skipped where there are none."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout")
    return folder
