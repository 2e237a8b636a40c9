"""Under which terms files came, as far as pages beside them say so."""

import re
from functools import cache
from pathlib import Path

UNKNOWN = "none stated"
_PAGES = ("LICENSE", "LICENCE", "COPYING", "README")
_KEY = re.compile(r"^licen[sc]e:\s*(?:-\s+)?[\"']?(\w[\w.+-]*)", re.MULTILINE)
"""In the front matter of a data set card of the Hub."""
_SAYS = {
    "AGPL-3.0": "GNU AFFERO GENERAL PUBLIC LICENSE",
    "LGPL-3.0": "GNU LESSER GENERAL PUBLIC LICENSE",
    "GPL": "GNU GENERAL PUBLIC LICENSE",
    "Apache-2.0": "Apache License",
    "MIT": "MIT License",
    "BSD": "Redistribution and use in source and binary forms",
    "CC-BY-NC-SA-4.0": "Attribution-NonCommercial-ShareAlike 4.0",
    "CC-BY-NC-4.0": "Attribution-NonCommercial 4.0",
    "CC-BY-SA-4.0": "Attribution-ShareAlike 4.0",
    "CC-BY-4.0": "Attribution 4.0 International",
    "CC0-1.0": "CC0 1.0 Universal",
}
_WARNS = (
    ("AGPL", "AGPL: a model served over a network may have to be published"),
    ("GPL", "GPL: what is derived from it may have to be published under the same terms"),
    (r"(?<![A-Z])NC(?![A-Z])|NON-?COMMERCIAL", "for non-commercial use only"),
    (rf"{UNKNOWN}|^UNKNOWN$", "the rights are the authors', and the data must not be passed on"),
)
"""In the name of a licence; what follows from it."""


@cache
def beside(folder: Path, root: Path) -> str | None:
    """The licence that a page in ``folder``, or in one above it up to ``root``, names; None if none does."""
    for name in _PAGES:
        for page in sorted(folder.glob(f"{name}*")):
            if page.is_file() and (found := _named(page)):
                return found
    return beside(folder.parent, root) if folder != root and folder.parent != folder else None


def warning(licence: str | None) -> str | None:
    """What a licence forbids or demands of those who train on the data; None for those that allow it."""
    name = licence or UNKNOWN
    return next((text for key, text in _WARNS if re.search(key, name, re.IGNORECASE)), None)


def _named(page: Path) -> str | None:
    with page.open(encoding="utf-8", errors="replace") as file:
        text = file.read(20_000)
    if stated := _KEY.search(text.partition("\n---")[0]) if text.startswith("---") else None:
        return stated[1]
    # A page of another sort may mention a licence in passing.
    if page.stem.upper() == "README":
        return None
    return next((name for name, words in _SAYS.items() if words.lower() in text.lower()), None)
