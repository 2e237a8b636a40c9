"""The pages say what is so: links resolve, recipes load, commands exist, openings run, the tree is the tree."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from xinglin.cli.main import main
from xinglin.config.recipe import load_recipe

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TUTORIALS = [ROOT / "docs" / f"{name}.md" for name in ("data", "training", "evaluation")]
KINDS = (
    *("containers", "detectors", "formats", "filters", "objectives", "benchmarks", "rewards"),
    *("scores", "steps", "embeddings", "tasks"),
)
HOSTS = {"github.com", "semver.org", "127.0.0.1:8000"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
ABSOLUTE = re.compile(r"(?<![\w.*~)/:-])/\w[\w.-]*/[\w./-]+")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    return BLOCK.sub("", text)


def anchors(text: str) -> set[str]:
    """The names that GitHub gives to the headings of a page."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in HEADING.findall(prose(text))
    }


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_resolve(page: Path) -> None:
    for link in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if link.startswith("https://"):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_linked_from_the_readme() -> None:
    links = LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert {name(page) for page in PAGES if page.name != "README.md"} <= set(links)


def recipes() -> Iterator[object]:
    """The recipes of all pages, in blocks of their own and written by the shell; plugins of examples left out."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = [body for kind, body in BLOCK.findall(text) if kind == "yaml" and "\nstages:" in body]
        found += re.findall(r"^cat > \S+\.yaml <<'END'\n(.*?)^END$", text, re.DOTALL | re.MULTILINE)
        for number, body in enumerate(found, 1):
            if not body.startswith("# recipes/"):  # test_extending.py runs that one
                yield pytest.param(body, id=f"{name(page)}-{number}")


def make_what_it_names(recipe: str, folder: Path) -> str:
    """Put a model and data where ``recipe`` expects some; returns it with the place of the model."""
    data = YAML(typ="safe", pure=True).load(recipe)
    if data["model"].startswith("/"):
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text("{}")
        recipe = recipe.replace(data["model"], str(folder / "model"))
    for split in data["stages"]["data"]["splits"].values():
        for source in split["sources"]:
            if not source["path"].startswith("sample:"):
                path = folder / source["path"].replace("*", "all")
                file = path / "rows.jsonl" if source["path"].endswith("/") else path
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("{}\n")
    return recipe


@pytest.mark.parametrize("recipe", list(recipes()))
def test_recipes_load(recipe: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("page.yaml").write_text(make_what_it_names(recipe, tmp_path), encoding="utf-8")
    assert load_recipe("page.yaml").stages


def commands(text: str) -> list[str]:
    """The command lines of xinglin in a page, in blocks and in running text, without comments and pipes."""
    lines = [
        line.strip() for kind, body in BLOCK.findall(text) if kind in ("", "sh") for line in body.split("\n")
    ]
    lines += re.findall(r"`([^`\n]+)`", prose(text))
    found = (re.search(r"(?:^|\| |/)(xinglin .*)", line) for line in lines)
    return [re.split(r"\s+#|\s[|>]", match[1])[0] for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_exist(page: Path) -> None:
    for line in commands(page.read_text(encoding="utf-8")):
        words = shlex.split(line)[1:]
        command = main.get_command(click.Context(main), words[0])
        assert command is not None, line
        command.make_context(words[0], words[1:])


def test_commands_are_found() -> None:
    found = commands((ROOT / "README.md").read_text(encoding="utf-8"))
    assert "xinglin run clinic.yaml --dry-run" in found and "xinglin chat runs/demo" in found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_no_page_names_a_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://([^/\s)>]+)", text)) <= HOSTS
    assert all(path.startswith("/models/") for path in ABSOLUTE.findall(text))
    for place in (ROOT, Path.home(), Path(sys.prefix), Path(tempfile.gettempdir())):
        assert f"{place}/" not in text


def test_the_tree_of_the_readme_is_the_tree() -> None:
    tree = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[-1][1]
    package = ROOT / "src" / "xinglin"
    files = [path for path in package.rglob("*.py") if not path.name.startswith("_")]
    plugins = {path for path in files if path.parent.name in KINDS}
    words = set(tree.split())
    missing = [name(path) for path in files if (path.stem if path in plugins else path.name) not in words]
    assert not missing
    folders = {path.name + "/" for path in package.rglob("*") if path.is_dir() and path.name != "__pycache__"}
    assert folders <= words
    known = {path.name for path in ROOT.rglob("*.py") if ".venv" not in path.parts}
    assert {word for word in words if word.endswith(".py")} <= known


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=name)
def test_the_opening_runs_as_printed(page: Path, tmp_path: Path) -> None:
    kind, script = BLOCK.findall(page.read_text(encoding="utf-8"))[0]
    assert kind == "sh"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-e"],
        input=script,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("runs/*/report.html"))
