from pathlib import Path

import pytest

from xinglin.config.load import Document, load_document
from xinglin.errors import RecipeError


def load(tmp_path: Path, text: str, *sets: str) -> Document:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return load_document(path, sets=sets)


def problems(tmp_path: Path, text: str, *sets: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text, *sets)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_scalars_are_those_of_yaml_1_2(tmp_path: Path) -> None:
    text = "a: 1e-4\nb: no\nc: yes\nd: 012\ne: 2024-01-05\nf: 1_000\ng: on\nh: ~\ni: .5\n"
    assert load(tmp_path, text).plain() == {
        "a": 1e-4,
        "b": "no",
        "c": "yes",
        "d": 12,
        "e": "2024-01-05",
        "f": 1000,
        "g": "on",
        "h": None,
        "i": 0.5,
    }


def test_every_key_has_its_line(tmp_path: Path) -> None:
    document = load(tmp_path, "a: 1\n\nb:\n  c:\n    - x\n    - d: 2\n  e: {f: 3,\n      g: 4}\n")
    place = {keys: document.place(keys).rsplit(":", 1)[1] for keys in [("a",), ("b", "c"), ("b", "c", "0")]}
    assert place == {("a",): "1", ("b", "c"): "4", ("b", "c", "0"): "5"}
    assert document.place(("b", "c", "1", "d")).endswith(":6")
    assert document.place(("b", "e", "g")).endswith(":8")
    assert document.place(("b", "missing", "below")).endswith(":3")


def test_overrides_are_yaml_and_know_their_place(tmp_path: Path) -> None:
    document = load(
        tmp_path, "a: {b: 1}\nl: [1, 2]\n", "a.b=[x, 2]", "a.new.deep=1e-3", "l.1=no", "n=", "a.t=a=b"
    )
    assert document.plain() == {
        "a": {"b": ["x", 2], "new": {"deep": 1e-3}, "t": "a=b"},
        "l": [1, "no"],
        "n": None,
    }
    assert document.place(("a", "b", "0")) == document.place(("a", "new", "other")) == "--set"
    assert document.place(("a",)).endswith(":1")


def test_wrong_overrides_are_all_named(tmp_path: Path) -> None:
    assert problems(tmp_path, "a: 1\nl: [1]\n", "a.b=2", "nothing", "l.7=1", "x=[1") == [
        "--set: a.b: 'a' holds 1, not a mapping; set a itself",
        "--set: nothing: is not KEY=VALUE; write e.g. --set stages.sft.epochs=2",
        "--set: l.7: 'l' holds a list, not a mapping; set l itself",
        "--set: x: '[1' is not YAML (expected ',' or ']', but got '<stream end>'); quote the value",
    ]


def test_files_that_are_no_recipe(tmp_path: Path) -> None:
    assert problems(tmp_path, "a: 1\nb: 2\na: 3\n") == ['recipe.yaml:3: duplicate key "a"; keep one of them']
    assert problems(tmp_path, "a:\n  b: [1\nc: 2\n")[0].startswith("recipe.yaml:3: not YAML: ")
    assert problems(tmp_path, "- a\n")[0].startswith("recipe.yaml:1: holds a list; ")
    assert problems(tmp_path, "")[0].startswith("recipe.yaml:1: holds nothing; ")
    (tmp_path / "latin.yaml").write_bytes("name: café".encode("latin-1"))
    for path, words in [
        ("latin.yaml", "not UTF-8"),
        ("none.yaml", "there is no such file"),
        (".", "is a folder"),
    ]:
        with pytest.raises(RecipeError, match=words):
            load_document(tmp_path / path)


def test_dump_keeps_comments_and_overrides(tmp_path: Path) -> None:
    document = load(tmp_path, "a: 1 # why\nb: {c: 2}\n", "b.c=3")
    document.set_default(("b", "d"), "x")
    assert document.dump() == "a: 1 # why\nb: {c: 3, d: x}\n"


def test_an_override_changes_one_place_only(tmp_path: Path) -> None:
    text = "a:\n  x: &both\n    - {b: 1,\n       c: 2}\nd: *both\n"
    document = load(tmp_path, text, "a.x.0.b=3")
    assert document.plain() == {"a": {"x": [{"b": 3, "c": 2}]}, "d": [{"b": 1, "c": 2}]}
    assert document.place(("a", "x", "0", "c")).endswith(":4")
    assert load(tmp_path, document.dump()).plain() == document.plain()
