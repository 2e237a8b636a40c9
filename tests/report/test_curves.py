import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_run import metric_rows
from hypothesis import given
from hypothesis import strategies as st

from xinglin.errors import CheckpointError
from xinglin.report import curves
from xinglin.report.plots import loss_plot

numbers = st.floats(-1e12, 1e12).filter(lambda x: x == 0 or abs(x) > 1e-9)


def test_a_half_written_last_row_is_left_out_and_any_other_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"kind": "train"}\n{"ki')
    assert curves.read(path) == [{"kind": "train"}]
    path.write_text('{"ki\n{"kind": "train"}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:1: damaged"):
        curves.read(path)


def test_a_step_that_was_run_again_counts_once_and_non_finite_values_never() -> None:
    rows = [
        {"step": 2, "loss": 5.0},
        {"step": 1, "loss": 4.0},
        {"step": 2, "loss": 3.0},
        {"step": 3, "loss": float("nan")},
    ]
    assert curves.points(rows, "loss") == [(1, 4.0), (2, 3.0)]


def test_smoothing_keeps_a_constant_and_starts_at_the_first_value() -> None:
    assert [value for _, value in curves.smooth([(i, 2.5) for i in range(50)])] == pytest.approx([2.5] * 50)
    assert curves.smooth([(0, 9.0), (1, 1.0)])[0] == (0, 9.0)


def test_thinning_keeps_both_ends() -> None:
    line = [(float(i), float(i)) for i in range(1001)]
    thinned = curves.thin(line, 50)
    assert (len(thinned), thinned[0], thinned[-1]) == (50, line[0], line[-1])
    assert curves.thin(line[:50], 50) == line[:50]


def test_ticks_are_round() -> None:
    assert curves.ticks(0, 400) == [0, 100, 200, 300, 400]
    assert curves.ticks(0.61, 0.998) == [0.7, 0.8, 0.9]
    assert curves.ticks(0, 0.00103) == [0, 0.0005, 0.001]


@given(numbers, numbers)
def test_ticks_lie_within(first: float, second: float) -> None:
    low, high = sorted((first, second))
    found = curves.ticks(low, high)
    slack = (high - low) * 1e-6 + 1e-9
    assert len(found) <= 12
    assert all(low - slack <= tick <= high + slack for tick in found)


def test_charts_of_a_stage() -> None:
    charts = curves.charts(metric_rows("dpo", 120, 0.69))
    assert [chart.title for chart in charts] == [
        "Loss",
        "Learning rate",
        "Gradient norm",
        "Accuracy",
        "Margin",
    ]
    assert [(series.label, series.style) for series in charts[0].series] == [
        ("logged", "raw"),
        ("smoothed", "line"),
        ("validation", "eval"),
    ]


@pytest.mark.parametrize("line", [[(1, 2.0)], [(1, 0.0), (2, 0.0)], [(1, -3.0), (900_000, 1e-7)]])
def test_any_line_can_be_drawn(line: curves.Points) -> None:
    text = curves.svg(curves.Chart("<T>", [curves.Series("a & b", "eval", line)]))
    HTMLParser().feed(text)
    assert "nan" not in text and "inf" not in text
    assert "&lt;T&gt;" in text and "<T>" not in text


def test_sources_have_charts_and_lines_of_their_own(tmp_path: Path) -> None:
    rows = [
        {**row, "loss/内科.csv": row["loss"] + 1, "loss/a.jsonl": row["loss"]}
        for row in metric_rows("sft", 40, 3.0)
        if "loss" in row
    ]
    titles = [chart.title for chart in curves.charts(rows)]
    assert titles[0] == "Loss" and {"Loss of 内科.csv", "Loss of a.jsonl"} <= set(titles)
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    loss_plot(path, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 1000


def test_the_loss_plot_is_a_png_of_useful_size(tmp_path: Path) -> None:
    rows = metric_rows("sft", 60, 4.0)
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    loss_plot(tmp_path / "metrics.jsonl", tmp_path / "loss.png")
    data = (tmp_path / "loss.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert int.from_bytes(data[16:20]) >= 1000
    (tmp_path / "metrics.jsonl").write_text("")
    loss_plot(tmp_path / "metrics.jsonl", tmp_path / "empty.png")
    assert (tmp_path / "empty.png").read_bytes().startswith(b"\x89PNG")


def test_a_single_point_is_seen_and_kl_is_an_abbreviation() -> None:
    (chart,) = curves.charts([{"kind": "rollout", "step": 3, "kl_coefficient": 0.1}])
    assert chart.title == "KL coefficient"
    assert curves._title("update_kl") == "Update KL" and curves._title("kl") == "KL"
    path = curves.svg(chart).split('points="')[1].split('"')[0]
    assert len(set(path.split())) == 2
