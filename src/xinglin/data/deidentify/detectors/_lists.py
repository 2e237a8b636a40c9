"""The word lists beside this package."""

from functools import cache
from importlib.resources import files


@cache
def sections(name: str) -> tuple[tuple[str, ...], ...]:
    """Words of ``lists/NAME.txt``, in the sections that ``---`` divides; lines that open with ``#`` are remarks."""
    text = (files("xinglin.data.deidentify") / "lists" / f"{name}.txt").read_text(encoding="utf-8")
    found: list[list[str]] = [[]]
    for line in text.splitlines():
        if line == "---":
            found.append([])
        elif not line.startswith("#"):
            found[-1].extend(line.split())
    return tuple(tuple(words) for words in found)
