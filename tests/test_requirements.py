"""requirements.lock installs everything that pyproject.toml asks for, and what that needs in turn."""

import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def _locked() -> dict[str, str]:
    rows = (ROOT / "requirements.lock").read_text().splitlines()
    pins = (row.split("==") for row in rows if not row.startswith("#"))
    return {canonicalize_name(name): version for name, version in pins}


def _asked() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    rows = project["dependencies"] + extras["files"] + extras["dev"]
    return [asked for asked in map(Requirement, rows) if asked.name != "xinglin"]


@pytest.mark.parametrize("asked", _asked(), ids=lambda asked: asked.name)
def test_each_requirement_is_locked_within_its_bounds(asked: Requirement) -> None:
    assert asked.specifier.contains(_locked()[canonicalize_name(asked.name)])


def test_what_the_locked_packages_need_is_locked_too() -> None:
    locked = _locked()
    for name in locked:
        if name in {"torch", "setuptools"}:  # what torch needs differs by build: its own wheel brings it
            continue
        for row in distribution(name).requires or []:
            needed = Requirement(row)
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                assert canonicalize_name(needed.name) in locked, f"{name} needs {needed.name}"
