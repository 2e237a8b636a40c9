"""What is said of a stage of reinforcement learning before it runs, and kept beside what it took."""

import re
from types import SimpleNamespace

import pytest
from stage_toys import Stages

from xinglin.stages import grpo

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_dry_run_says_how_long_it_may_take(tmp_path):
    stages = Stages(tmp_path)
    pairs = {"sources": [{"path": "sample:preferences", "max_rows": 20}]}
    stages.run("data", {"tokenizer": "base", "splits": {"pairs": pairs}, "vocabulary": 400})
    settings = {"model": "base", "data": "stage:data", "split": "pairs", "rewards": [{"name": "length"}]}
    settings |= {"max_new_tokens": 8, "rollout_prompts": 4, "answers_per_prompt": 2, "max_steps": 1}
    run = SimpleNamespace(name="grpo", base=stages.base, inputs=stages.inputs())
    lines = grpo.plan(grpo.Config(kind="grpo", **settings), run)
    assert lines["rollout"].startswith("8 answers to 4 prompts")
    assert re.fullmatch(
        r"at most about [\d.:]+ (s|min), if no answer ends by itself: \d+% answering, \d+% scoring, \d+% updates",
        lines["time"],
    )
    assert stages.run("grpo", settings).details["train"]["forecast_seconds"] is not None
