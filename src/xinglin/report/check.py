"""What ``xinglin data check`` found, as a table for the terminal and as one HTML page."""

from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from xinglin.report import wording
from xinglin.report.page import environment
from xinglin.runtime import atomic

if TYPE_CHECKING:
    from rich.table import Table

_HERE = Path(__file__).parent
PERSONAL_FEW = 6


def write(report: Mapping[str, Any], target: Path) -> None:
    """Write the page to ``target``, whole or not at all."""
    page = (
        environment()
        .get_template("check.html.jinja")
        .render(
            say=wording,
            report=report,
            totals=totals(report),
            findings=list(lines(report)),
            css=Markup((_HERE / "report.css").read_text(encoding="utf-8")),
        )
    )
    atomic.write_text(target, page)


def totals(report: Mapping[str, Any]) -> dict[str, int]:
    """Rows over all files."""
    return {
        key: sum(file[key] for file in report["files"])
        for key in ("rows_in", "rows_used", "rows_quarantined", "records")
    }


def table(report: Mapping[str, Any]) -> "Table":
    """One row for each file."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    folder = _folder(report)
    title = f"{folder}: rows in = used + quarantined" if folder else "Rows in = used + quarantined"
    style: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "box": box.SIMPLE_HEAD}
    made = Table(title=title, **style, collapse_padding=True, pad_edge=False)
    made.add_column("file", overflow="fold", min_width=30)
    made.add_column("format", no_wrap=True)
    for name in ("in", "used", "quarantined", "language", "tokens\np50 / p99", "copies", "leaks", "personal"):
        made.add_column(name, justify="right", no_wrap=True)
    for file in report["files"]:
        made.add_row(
            Text(file["path"].removeprefix(folder)),
            Text("\n".join(filter(None, (file["format"] or file["container"], file["encoding"])))),
            *(wording.count(file[key]) for key in ("rows_in", "rows_used")),
            "\n".join([wording.count(file["rows_quarantined"]), *_reasons(file)]),
            "\n".join(shares(file["languages"])),
            lengths(file),
            *(
                wording.count(report[what]["by_file"].get(file["path"], 0))
                for what in ("duplicates", "leaks")
            ),
            wording.count(sum(file["personal"]["counts"].values())),
        )
    return made


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """What deserves a sentence of its own, most important first."""
    counted, files = totals(report), len(report["files"])
    yield (
        f"{files} {'file' if files == 1 else 'files'}, {counted['rows_in']:,} "
        f"{'row' if counted['rows_in'] == 1 else 'rows'}: {counted['rows_used']:,} can be used, "
        f"{counted['rows_quarantined']:,} cannot"
    )
    for file in report["files"]:
        for reason in file["reasons"]:
            yield f"  {reason}: {_once(file['examples'].get(reason, file['path']), file['path'])}"
        if left := file.get("not_renderable"):
            yield (
                f"  not_renderable: {file['path']}: {sum(left.values()):,} of its records, or more, cannot be written "
                "with this chat template and would not be trained on; `--template qwen3` can write tools"
            )
    leaks = report["leaks"]
    if leaks["records_with_leaks"]:
        hurt = ", ".join(
            f"{name} ({each['leaked']})" for name, each in leaks["protected"].items() if each["leaked"]
        )
        held = f"{leaks['records_with_leaks']:,} records hold items of {hurt}"
        yield f"leaks: {held}; `leaks: {{mode: remove}}` takes them out"
    elif leaks["protected"]:
        yield f"leaks: none of {', '.join(leaks['protected'])}"
    copies = report["duplicates"]
    if copies["exact"] or copies["near"]:
        yield (
            f"copies: {copies['exact']:,} exact and {copies['near']:,} near ones; "
            "`duplicates: {mode: remove}` keeps one of each"
        )
        for pair in copies["files"][:PERSONAL_FEW]:
            if pair["copies_in"] != pair["kept_in"]:
                yield f"  {pair['records']:,} of {pair['copies_in']} are in {pair['kept_in']}"
    if found := personal(report):
        said = ", ".join(f"{count:,} {type}" for type, count in list(found.items())[:PERSONAL_FEW])
        yield f"personal data: {said}; `deidentify: {{mode: replace}}` puts placeholders there"
    for warning, paths in _licences(report).items():
        yield f"licence {warning}: {', '.join(paths[:4])}" + (
            f" and {len(paths) - 4} more" if len(paths) > 4 else ""
        )


def personal(report: Mapping[str, Any]) -> dict[str, int]:
    """Personal data by type, over all files, the most frequent first."""
    found: dict[str, int] = {}
    for file in report["files"]:
        for type, count in file["personal"]["counts"].items():
            found[type] = found.get(type, 0) + count
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def lengths(file: Mapping[str, Any]) -> str:
    tokens = file.get("tokens", {})
    return f"{tokens['p50']:,} / {tokens['p99']:,}" if "p50" in tokens else "–"


def shares(counts: Mapping[str, int]) -> list[str]:
    """The two most frequent with their shares."""
    total = sum(counts.values())
    return [f"{name} {count / total:.0%}" for name, count in list(counts.items())[:2]]


def _once(example: str, path: str) -> str:
    """Without the name of the file that the place in front of it has already said."""
    place, colon, said = example.partition(": ")
    return place + colon + said.removeprefix(f"{path}: ").removeprefix(f"{place}: ")


def _folder(report: Mapping[str, Any]) -> str:
    """What all paths begin with, up to a slash."""
    folders = [file["path"].split("/")[:-1] for file in report["files"]]
    shared = takewhile(lambda names: len(set(names)) == 1, zip(*folders, strict=False))
    return "".join(f"{names[0]}/" for names in shared) if len(folders) > 1 else ""


def _reasons(file: Mapping[str, Any]) -> list[str]:
    return [f"{count:,} {reason}" if count else reason for reason, count in file["reasons"].items()]


def _licences(report: Mapping[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in report["files"]:
        if file["rows_used"] and file["licence_warning"]:
            found.setdefault(f"{file['licence']}: {file['licence_warning']}", []).append(file["path"])
    return found
