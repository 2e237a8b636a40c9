"""A reward model's margins and calibration on the page and as a picture."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from fake_run import RECIPE, RunBuilder

from xinglin.evaluate.preferences import judge_pairs
from xinglin.report import page, preferences


@pytest.fixture
def judged():
    random = np.random.default_rng(0)
    scores = np.stack([random.normal(1, 1, 200), random.normal(0, 1, 200)], axis=1)
    lengths = random.integers(5, 50, (200, 2))
    return judge_pairs(scores, lengths=lengths, sources=["<a>"] * 200, seed=0)


def test_the_drawings_show_every_pair_inside_the_frame(judged):
    margins = ElementTree.fromstring(preferences.margins_svg(judged))
    bars = [each for each in margins.iter() if each.tag.endswith("rect")]
    shown = [int(re.search(r"(\d+) pairs", bar[0].text)[1]) for bar in bars]
    assert sum(shown) == 200
    right = sum(n for bar, n in zip(bars, shown, strict=True) if bar.get("class") == "right")
    assert right / 200 == pytest.approx(judged["accuracy"]["value"])
    assert all(float(bar.get("y")) >= 0 and float(bar.get("x")) > 0 for bar in bars)
    drawn = ElementTree.fromstring(preferences.calibration_svg(judged))
    dots = [each for each in drawn.iter() if each.tag.endswith("circle")]
    assert len(dots) == len(judged["calibration"]["bins"]) > 5
    assert "expected error" in drawn.get("aria-label")


def test_one_pair_can_be_drawn(tmp_path):
    alone = judge_pairs(np.array([[1.0, 1.0]]), lengths=np.ones((1, 2), int), sources=["a"], seed=0)
    assert "0.0%" in preferences.margins_svg(alone)
    preferences.plot(alone, tmp_path / "reward.png")
    assert (tmp_path / "reward.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_tells_what_it_has_learned(judged, tmp_path):
    run = RunBuilder(tmp_path / "run")
    (run.folder / "recipe.yaml").write_text(RECIPE + "  judge: {kind: reward}\n", encoding="utf-8")
    run.finish("judge", "reward", "reward_model", {}, details={"reward": {**judged, "split": "pairs_dev"}})
    text = page.write(run.folder).read_text(encoding="utf-8")
    section = text[text.index("What the reward model has learned") :]
    section = section[: section.index("</section>")]
    assert "200 pairs of pairs_dev" in section and section.count("<svg") == 2
    assert f"{judged['accuracy']['value'] * 100:.1f}" in section
    assert "chosen answer is shorter" in section and "&lt;a&gt;" in section and "<a>" not in section


def test_a_reward_model_without_held_out_pairs_has_no_section(tmp_path):
    run = RunBuilder(tmp_path / "run")
    (run.folder / "recipe.yaml").write_text(RECIPE + "  judge: {kind: reward}\n", encoding="utf-8")
    run.finish("judge", "reward", "reward_model", {}, details={"reward": {"scale": {"mean": 0, "std": 1}}})
    assert "What the reward model" not in page.write(run.folder).read_text(encoding="utf-8")
