"""What the steps of a data stage found, in a sentence each."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from xinglin.report import wording


def findings(steps: Mapping[str, Any]) -> Iterator[str]:
    """Of ``details["steps"]`` of a data set: personal data, copies, items of benchmarks."""
    if found := steps.get("deidentify"):
        said = (
            f"{counted(found['counts'])}, in {found['records']:,} records"
            if found["records"]
            else "none found"
        )
        yield f"Personal data{_fate(found, 'replace', 'replaced')}: {said}."
    if found := steps.get("duplicates"):
        copies = f"{found['exact']:,} exact and {found['near']:,} near ones"
        yield f"Copies{_fate(found, 'remove', 'removed')}: {copies} of {found['records']:,} records."
    if found := steps.get("leaks"):
        against = ", ".join(
            f"{name} ({each['leaked']} of {each['items']:,})" for name, each in found["protected"].items()
        )
        share = f"{found['records_with_leaks']:,} of {found['records']:,} records trained on"
        yield f"Leaks{_fate(found, 'remove', 'removed')}: {share} hold items of {against or 'nothing'}."


def leaked(rows: Iterable[Mapping[str, Any]], label: Callable[[str], str] = str) -> Iterator[str]:
    """Of ``leaked`` of evaluations: benchmarks with items in the training data, and the last model without these."""
    for row in rows:
        entries = list(row["metrics"].items())
        said = [
            f"{wording.wording(metric).label} of {label(model)} {wording.amount(metric, entry['value'])}"
            for model, metrics in entries[-1:]
            for metric, entry in list(metrics.items())[:1]
        ]
        yield (
            f"{row['benchmark']}: {row['leaked']:,} of {row['items']:,} items are in the training data"
            + (f"; without them, {said[0]}." if said else ".")
        )


def counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _fate(found: Mapping[str, Any], mode: str, done: str) -> str:
    return f" ({done if found['mode'] == mode else 'still in the data'})"
