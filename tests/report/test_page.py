import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_run import HOSTILE, MERGED, SFT, RunBuilder

from xinglin.report import page
from xinglin.report.summary import summarise
from xinglin.runtime.artifact import interval

VOID = {"meta", "br", "link", "img", "input", "hr"}
LOADING = {"src", "href", "srcset", "data", "poster", "action"}


class Document(HTMLParser):
    """Checks that every tag is closed in order, and gathers text and what a browser would load."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in LOADING]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data.replace("\u202f", " ")


def read(folder: Path) -> Document:
    return Document(page.write(folder).read_text(encoding="utf-8"))


def headings(text: str) -> list[str]:
    return re.findall(r"<h2>(.*?)</h2>", text)


def test_the_whole_page(run_folder: Path) -> None:
    path = page.write(run_folder)
    text = path.read_text(encoding="utf-8")
    assert path == run_folder / "report.html"
    assert path.stat().st_size < 1_000_000
    assert headings(text) == [
        "The chain",
        "What every stage did to the model",
        "How the training went",
        "Before and after",
        "What the loss sees",
        "Where every row went",
        "Run it again",
    ]
    document = Document(text)
    assert document.tags.count("figure") == 3 + 3 + 5
    assert document.tags.count("article") == 24
    assert [path.name for path in run_folder.iterdir() if path.suffix == ".tmp"] == []


def test_nothing_is_loaded_and_nothing_runs(run_folder: Path) -> None:
    text = page.write(run_folder).read_text(encoding="utf-8")
    document = Document(text)
    assert document.loads == []
    assert not {"script", "link", "img", "iframe", "object"} & set(document.tags)
    assert "http://" not in text and "https://" not in text and "url(" not in text and "@import" not in text


def test_numbers_are_those_of_the_artifacts(run_folder: Path) -> None:
    text = read(run_folder).text
    for value in ("25.7 %", "93.2 %", "92.9 %", "88.3 %", "3.3 %", "0.681", "46.2"):
        assert value in text
    assert "[90.3, 96.1]" in text
    assert "▼ −85.0 vs sft, p < 0.001" in re.sub(r"\s+", " ", text)
    assert "819,200" in text and "2,611" in text and "9 no answer" in text and "CC0-1.0" in text
    assert "split, 31 split" in text
    assert "5.23.0" in text
    assert "xinglin run runs/demo/recipe.yaml --out runs/demo-again" in text


def test_a_merge_of_several_models_is_told(builder: RunBuilder) -> None:
    builder.everything()
    details = {"merge": {"method": "ties", "models": ["stage:sft", "stage:dpo"], "distances": [0.1, 0.2]}}
    builder.change("merge", details=details, metrics={"merge.distance": interval(0.25)})
    assert "ties of stage:sft, stage:dpo: the weights have changed by 0.250" in read(builder.folder).text


def test_what_users_supply_is_escaped(builder: RunBuilder) -> None:
    builder.everything()
    details = summarise(builder.folder)["stages"][0]["details"]
    details["splits"][HOSTILE] = details["splits"].pop("documents") | {"record": HOSTILE}
    details["splits"][HOSTILE]["sources"][0]["path"] = HOSTILE
    builder.change("data", details=details, environment={HOSTILE: HOSTILE})
    sft = summarise(builder.folder)["stages"][2]["details"]
    builder.change("sft", details=sft | {"example": [[HOSTILE, True]]}, inputs={"model": HOSTILE})
    work = builder.folder / "stages" / "merge"
    (work / "artifact.json").unlink()
    (builder.folder / "work" / "merge").mkdir(parents=True)
    (builder.folder / "work" / "merge" / "error.txt").write_text(HOSTILE)
    text = page.write(builder.folder).read_text(encoding="utf-8")
    assert "<script" not in text
    assert Document(text).text.count(HOSTILE) >= 7


def test_the_loss_mask_is_visible(run_folder: Path) -> None:
    text = page.write(run_folder).read_text(encoding="utf-8")
    assert (
        "<mark>一般靠病史诊断。如果头痛突然加剧、伴有发热或肢体无力，请立即去急诊。&lt;|im_end|&gt;</mark>"
        in text
    )
    assert "<span>\n&lt;|im_start|&gt;user\n需要做检查吗？" in text
    assert "<mark>需要" not in text


def test_equal_answers_share_a_card_and_marks_are_right(run_folder: Path) -> None:
    found = {sample["benchmark"]: sample["cards"] for sample in page.samples(summarise(run_folder))}
    assert [(card["models"], card["mark"]["text"]) for card in found["exam"]] == [
        (["pretrain"], "✗ wrong"),
        (["sft", "merge"], "✓ correct"),
    ]
    assert [card["mark"]["tone"] for card in found["safety"]] == ["bad", "bad", "good"]
    assert [card["mark"]["text"] for card in found["dialogue"]] == [
        "score 0.080",
        "score 0.710",
        "score 0.710",
    ]


def test_long_answers_and_examples_are_bounded(builder: RunBuilder) -> None:
    builder.everything()
    details = summarise(builder.folder)["stages"][6]["details"]
    for sample in details["samples"]:
        sample["answers"] = {"sft": "长" * 500_000}
        sample["correct"] = {"sft": False}
    builder.change("final", details=details)
    sft = summarise(builder.folder)["stages"][2]["details"]
    builder.change("sft", details=sft | {"example": [["a" * 900_000, False], ["b" * 900_000, True]]})
    path = page.write(builder.folder)
    assert path.stat().st_size < 1_000_000
    assert "498800 more characters" in path.read_text(encoding="utf-8")


def test_rows_that_vanished_are_named(builder: RunBuilder) -> None:
    builder.data()
    details = summarise(builder.folder)["stages"][0]["details"]
    details["splits"]["questions"]["sources"][0]["rows_in"] += 7
    builder.change("data", details=details)
    assert "7 unaccounted" in read(builder.folder).text


def test_chance_is_drawn_where_it_is_known(run_folder: Path) -> None:
    panels = {panel["metric"]: panel for panel in page.panels(summarise(run_folder))}
    assert panels["exam.accuracy"]["chance"] == 0.25
    assert panels["exam.answered"]["chance"] is None
    assert next(iter(panels)) == "exam.accuracy"
    assert panels["dialogue.mean_length"]["rows"][0]["place"][1] == pytest.approx(
        100 * 118.4 / (123.9 * 1.05), abs=0.01
    )


def test_a_run_that_has_only_begun(builder: RunBuilder) -> None:
    text = page.write(builder.folder).read_text(encoding="utf-8")
    assert headings(text) == ["The chain", "Run it again"]
    assert "0 of 7 stages are finished. No model has been evaluated yet." in Document(text).text


def test_a_failed_run_shows_the_error_and_the_curves_so_far(builder: RunBuilder) -> None:
    builder.data()
    work = builder.folder / "work" / "pretrain"
    (work / "out").mkdir(parents=True)
    rows = (
        '{"kind": "train", "step": 1, "loss": 7.5}\n{"kind": "train", "step": 2, "loss": 7.25}\n{"kind": "tr'
    )
    (work / "out" / "metrics.jsonl").write_text(rows)
    (work / "error.txt").write_text("step 3: the loss is nan on lines 4, 9 of the training split")
    document = read(builder.folder)
    assert "Stage pretrain failed; 1 of 7 stages are finished." in document.text
    assert "the loss is nan on lines 4, 9" in document.text
    assert document.tags.count("figure") == 1


def test_a_run_without_evaluation(builder: RunBuilder) -> None:
    builder.data()
    builder.train("sft", "sft", {"model": "tiny:qwen3", "data": "data"})
    assert headings(page.write(builder.folder).read_text(encoding="utf-8")) == [
        "The chain",
        "How the training went",
        "What the loss sees",
        "Where every row went",
        "Run it again",
    ]


def test_models_of_one_evaluation_only(builder: RunBuilder) -> None:
    builder.evaluate("final", {"sft": ("sft", SFT), "merge": ("merge", MERGED)})
    assert "lowered unsafe answers from 88 % to 3.3 % (p < 0.001)" in read(builder.folder).text
