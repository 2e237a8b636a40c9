import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from fake_run import RunBuilder

from xinglin.report import graph
from xinglin.report.summary import summarise


@pytest.mark.parametrize("direction", [graph.WIDE, graph.TALL])
def test_every_stage_once_and_no_box_over_another(run_folder: Path, direction: graph.Direction) -> None:
    root = ET.fromstring(graph.svg(summarise(run_folder)["stages"], direction))
    names = [node.text for node in root.iter("text") if node.get("class") == "name"]
    assert sorted(names) == ["data", "dpo", "exam", "final", "merge", "pretrain", "sft", "tiny:qwen3"]
    boxes = [[float(rect.attrib[key]) for key in ("x", "y", "width", "height")] for rect in root.iter("rect")]
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for i, (x, y, w, h) in enumerate(boxes):
        assert x >= 0 and y >= 0 and x + w <= width and y + h <= height
        for other in boxes[:i]:
            assert (
                x + w <= other[0] or other[0] + other[2] <= x or y + h <= other[1] or other[1] + other[3] <= y
            )
    inputs = {
        source
        for s in summarise(run_folder)["stages"]
        for source in [(s["name"], v) for v in s["inputs"].values()]
    }
    assert len(re.findall('class="edge"', graph.svg(summarise(run_folder)["stages"], direction))) == len(
        inputs
    )


def test_the_tall_graph_fits_a_phone(run_folder: Path) -> None:
    root = ET.fromstring(graph.svg(summarise(run_folder)["stages"], graph.TALL))
    assert float(root.attrib["width"]) <= 360


def test_states_are_told_apart(builder: RunBuilder) -> None:
    builder.data()
    (builder.folder / "work" / "pretrain").mkdir(parents=True)
    (builder.folder / "work" / "pretrain" / "error.txt").write_text("out of memory")
    text = graph.svg(summarise(builder.folder)["stages"], graph.WIDE)
    assert 'lane-0 finished"><title>data' in text
    assert 'lane-1 failed"><title>pretrain' in text
    assert 'lane-2 missing"><title>exam' in text
