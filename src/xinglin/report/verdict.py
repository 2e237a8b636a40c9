"""What the run achieved, in one sentence of plain words."""

from typing import Any

from xinglin.report.summary import paired_tests
from xinglin.report.wording import NARROW_SPACE, STAGE_TITLES, judgement, p_value, wording
from xinglin.report.wording import amount as written

MAX_CLAUSES = 4


def verdict(summary: dict[str, Any]) -> str:
    """The significant changes of the headline metrics, gains first, losses never left out of a stage's clause.

    A failed or unfinished run says so before anything else.
    """
    sentences = [_unfinished(summary), _changes(summary)]
    return " ".join(sentence for sentence in sentences if sentence)


def _unfinished(summary: dict[str, Any]) -> str:
    stages = summary["stages"]
    failed = [stage["name"] for stage in stages if stage["error"]]
    done = sum(stage["status"] == "finished" for stage in stages)
    if done == len(stages):
        return ""
    state = f"{done} of {len(stages)} stages are finished"
    return f"Stage {failed[0]} failed; {state}." if failed else f"{state[0].upper()}{state[1:]}."


def _changes(summary: dict[str, Any]) -> str:
    if not summary["models"]:
        return "No model has been evaluated yet."
    if not summary["comparisons"]:
        return "No paired test has been made yet."
    clauses = [clause for model in summary["models"] if (clause := _clause(model, summary))]
    if not clauses:
        return "No stage changed a measured quality by more than chance (paired tests, 5 % level)."
    return "; ".join(clauses[:MAX_CLAUSES]) + "."


def _clause(model: dict[str, Any], summary: dict[str, Any]) -> str:
    """``SFT raised exam accuracy from 26 % to 93 % (p < 0.001), but …``; empty where nothing changed.

    Shares of right or unsafe answers come before scores, which say less and move more easily; but a score that
    got worse is said where no share did.
    """
    rows = [test for metric in model["metrics"] for test in paired_tests(metric, model, summary)]
    headlines = [row for row in rows if wording(row["metric"]).headline]
    shares = [row for row in headlines if wording(row["metric"]).unit == "share"]
    biggest = {}
    for row in sorted(headlines or rows, key=lambda row: (row in shares, _size(row, model))):
        if judgement(row) == "worse" or row in shares or not shares:
            biggest[judgement(row)] = row
    parts = [_change(biggest[word], model) for word in ("better", "worse") if word in biggest]
    if not parts:
        return ""
    baseline = next(biggest[word]["baseline"] for word in ("better", "worse") if word in biggest)
    return f"{_subject(model['name'], baseline, summary['stages'])} {', but '.join(parts)}"


def _size(comparison: dict[str, Any], model: dict[str, Any]) -> float:
    """How large a change is: in points of a share or score, else relative to the larger of both values."""
    value, difference = _value(comparison, model), comparison["difference"] or 0.0
    absolute = wording(comparison["metric"]).unit in ("share", "score")
    return abs(difference) / (1.0 if absolute else max(abs(value), abs(value - difference), 1e-9))


def _change(comparison: dict[str, Any], model: dict[str, Any]) -> str:
    metric, value, difference = comparison["metric"], _value(comparison, model), comparison["difference"]
    verb = "raised" if difference > 0 else "lowered"
    # rounded, because 0.3 - 0.3 of floats may come out as -0.0
    before, after = _rounded(metric, round(value - difference, 9) + 0.0), _rounded(metric, value)
    return f"{verb} {wording(metric).label} from {before} to {after} ({p_value(comparison['p'])})"


def _value(comparison: dict[str, Any], model: dict[str, Any]) -> float:
    return model["metrics"][comparison["metric"]]["value"]


def _rounded(metric: str, value: float) -> str:
    if wording(metric).unit == "share" and 0.1 <= value <= 0.99:
        return f"{value * 100:.0f}{NARROW_SPACE}%"
    return written(metric, value)


def _subject(model: str, baseline: str, stages: list[dict[str, Any]]) -> str:
    """The stages that lie between two models: a merge of what DPO learned says ``DPO``, not ``Merging``."""
    by_name = {stage["name"]: stage for stage in stages}
    path, waiting = set(), [model]
    while waiting:
        name = waiting.pop()
        if name not in path:
            path.add(name)
            waiting += by_name[name]["inputs"].values() if name in by_name and name != baseline else []
    if baseline not in path:
        return f"{model} (against {baseline})"
    made = [s for s in stages if s["name"] in path - {baseline} and s["kind"] in STAGE_TITLES]
    made = [stage for stage in made if stage["kind"] != "merge"] or made
    kinds = [stage["kind"] for stage in stages]
    titles = [STAGE_TITLES[s["kind"]] if kinds.count(s["kind"]) == 1 else s["name"] for s in made]
    return " and ".join([", ".join(titles[:-1]), titles[-1]] if len(titles) > 1 else titles or [model])
