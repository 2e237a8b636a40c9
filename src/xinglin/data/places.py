"""The files that a path of a recipe names: a file, a folder, a glob, a data set of a registry or of the Hub."""

import difflib
import glob
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xinglin.data import registry
from xinglin.errors import DataError
from xinglin.plugins import nearest

HUB = "hub:"
DATA = (
    *(
        "json",
        "jsonl",
        "ndjson",
        "csv",
        "tsv",
        "tab",
        "txt",
        "md",
        "xml",
        "xlsx",
        "parquet",
        "arrow",
        "feather",
    ),
    *("pdf", "docx", "zip"),
)
"""Suffixes of files that are fetched from the Hub, packed or not."""
ABOUT = (
    "readme",
    "license",
    "licence",
    "copying",
    "notice",
    "changelog",
    "citation",
    "contributing",
    "sources",
)
CODE = (
    ".py",
    ".ipynb",
    ".sh",
    ".bat",
    ".yaml",
    ".yml",
    ".toml",
    ".cfg",
    ".ini",
    ".js",
    ".css",
    ".html",
    ".lock",
)
STATES = (registry.NAME, "dataset_dict.json", "state.json")
"""What Hugging Face datasets writes beside its files."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    path: Path
    entry: registry.Entry | None = None
    """What a registry says about the file."""
    alone: bool = True
    """Named by itself, so that it has to be readable; not found in a folder or by a pattern."""

    @property
    def is_about_data(self) -> bool:
        """A page or program that lies beside data, by its name."""
        return not self.alone and is_about_data(self.path.name)


def is_about_data(name: str) -> bool:
    """Whether a file of that name is a page or program rather than data, in a folder or an archive."""
    path = Path(name.lower())
    return path.name.split(".")[0] in ABOUT or path.name in STATES or path.suffix in CODE


def find(path: str) -> list[Place]:
    """The files under ``path``, sorted by name within a folder.

    Raises:
        DataError: nothing is there; names the nearest thing that is.
    """
    if path.startswith(HUB):
        return _folder(_downloaded(path.removeprefix(HUB)))
    place, _, name = path.partition("#")
    if name and Path(place).name == registry.NAME:
        return _registered(Path(place).expanduser(), name)
    here = Path(path).expanduser()
    if here.name == registry.NAME and here.is_file():
        return _folder(here.parent, only_registered=True)
    if here.is_file():
        return [Place(here)]
    if here.is_dir():
        return _folder(here)
    # Path.glob cannot start from an absolute pattern.
    found = sorted(p for p in map(Path, glob.glob(str(here), recursive=True)) if p.is_file())  # noqa: PTH207
    _refuse_dead_link(here)
    if not found:
        raise DataError(_nothing_at(here))
    return [Place(path, alone=False) for path in found]


def _folder(folder: Path, *, only_registered: bool = False) -> list[Place]:
    """All files of a folder. Those that a registry in it describes are read as it says."""
    inside = [path for path in _inside(folder) if not _hidden(path.relative_to(folder))]
    known: dict[Path, registry.Entry] = {}
    registries = sorted(path for path in inside if path.name == registry.NAME and registry.is_one(path))
    for path in registries:
        # A file that two entries describe is read as one without a mistake says.
        for entry in sorted(registry.load(path).values(), key=lambda entry: bool(entry.fault)):
            if not entry.names_file:
                if entry.fault:
                    _log.warning("%s", entry.fault)
            elif entry.path.exists():
                _warn_if_changed(entry)
                files = (
                    [entry.path] if entry.path.is_file() else [p for p in inside if entry.path in p.parents]
                )
                known = dict.fromkeys(files, entry) | known
    found = [
        Place(path, known.get(path), alone=False)
        for path in sorted(inside)
        if path not in registries and (path in known or not only_registered)
    ]
    if not found:
        what = "the registry names no file that is here" if only_registered else "the folder holds no file"
        raise DataError(f"{folder}: {what}")
    return found


def _inside(folder: Path) -> Iterator[Path]:
    """All files under it, through links too, each folder once: links may lead in a circle."""
    seen: set[str] = set()
    for top, folders, names in os.walk(folder, followlinks=True, onerror=_not_opened):
        real = os.path.realpath(top)
        folders[:] = [] if real in seen else sorted(folders)
        paths = [] if real in seen else [Path(top, name) for name in names]
        seen.add(real)
        for path in paths:
            _refuse_dead_link(path)
        yield from filter(Path.is_file, paths)


def _not_opened(error: OSError) -> None:
    raise DataError(
        f"{error.filename}: the folder cannot be opened ({error.strerror}); make it readable, or move it"
    )


def _refuse_dead_link(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        raise DataError(f"{path}: a link to {path.readlink()}, which is not there; mend it, or delete it")


def _registered(path: Path, name: str) -> list[Place]:
    entries = registry.load(path)
    if name not in entries:
        raise DataError(f"{path}: no data set '{name}'; {nearest(name, list(entries))}")
    entry = entries[name]
    if entry.fault:
        raise DataError(entry.fault)
    if not entry.path.exists():
        raise DataError(_nothing_at(entry.path))
    _warn_if_changed(entry)
    if entry.path.is_file():
        return [Place(entry.path, entry)]
    return [Place(place.path, entry, alone=False) for place in _folder(entry.path)]


def _warn_if_changed(entry: registry.Entry) -> None:
    if entry.changed():
        _log.warning(
            "%s: not the file that %s was written for (file_sha1 differs)", entry.path, registry.NAME
        )


@cache
def _downloaded(name: str) -> Path:
    """The folder of ``org/name[/folder][@revision]``: from the cache of huggingface_hub, or fetched into it."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    repository, _, revision = name.partition("@")
    org, _, rest = repository.partition("/")
    dataset, _, inside = rest.partition("/")
    packed = [f"{inside and inside + '/'}*.{suffix}{pack}" for suffix in DATA for pack in ("", ".gz", ".zst")]
    try:
        folder = snapshot_download(
            f"{org}/{dataset}" if dataset else org,
            repo_type="dataset",
            revision=revision or None,
            allow_patterns=packed,
        )
    except (HfHubHTTPError, HFValidationError) as error:
        raise DataError(f"hub:{name}: {str(error).strip().splitlines()[0]}; write hub:org/name") from error
    except OSError as error:
        raise DataError(
            f"hub:{name}: not in the local cache, and the Hub cannot be reached; download it where there is a network "
            f"(hf download {org}/{dataset} --repo-type dataset) and name its folder"
        ) from error
    return Path(folder) / inside


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _nothing_at(path: Path) -> str:
    parent = next(parent for parent in path.parents if parent.is_dir())
    there = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    near = difflib.get_close_matches(path.relative_to(parent).parts[0], there, n=1)
    cure = f"did you mean '{parent / near[0]}'?" if near else f"'{parent}' holds {few(there)}"
    return f"{path}: no such file, folder or match; {cure}"


def few(names: Iterable[object]) -> str:
    """The first of ``names``, in a sentence."""
    listed = [str(name) for name in names]
    return ", ".join(listed[:8]) + (", …" if len(listed) > 8 else "") or "nothing"
