"""PPO, GRPO and RLOO on toys: they learn, resume to the bit, keep to their definition, and refuse what cannot work."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise

import numpy as np
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from stage_toys import Stages
from torch import nn

from xinglin.errors import DataError, Interrupted, ModelError, RewardError
from xinglin.models.load import load_model
from xinglin.report.curves import read
from xinglin.train.rl.rollout import Rollout

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

RULES = [{"name": "length", "shortest": 1, "longest": 4, "edge": 4.0}]
SMALL = {
    "model": "base",
    "data": "stage:data",
    "split": "talk",
    "rewards": RULES,
    "max_tokens": 64,
    "max_new_tokens": 8,
    "rollout_prompts": 4,
    "log_every_steps": 1,
}


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def stages(tmp_path):
    """A data stage with questions, answers, preferences, an exam and documents."""

    def said(*contents):
        roles = ["user", "assistant"] * len(contents)
        return [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]

    noise = "".join(map(chr, np.random.default_rng(0).integers(0x4E00, 0x9F00, 9)))
    long = said(noise, "好。", "再说一次。", "好的。")
    rows = {
        "talk": [{"messages": said(f"第{number}问？", "答。")} for number in range(10)]
        + [{"messages": long}],
        "dev": [{"messages": said(f"另{number}问？", "答。")} for number in range(3)],
        "pairs": [{"prompt": said("问？"), "chosen": said("", "好。")[1:], "rejected": said("", "坏。")[1:]}],
        "exam": [{"question": "禁用？", "options": {"A": "甲", "B": "乙"}, "answer": "B"}] * 3,
        "text": [{"text": "一段文字。"}],
    }
    for name, lines in rows.items():
        write_rows(tmp_path / f"{name}.jsonl", lines)
    splits = {name: {"sources": [{"path": str(tmp_path / f"{name}.jsonl")}]} for name in rows}
    splits["dev"]["held_out"] = True
    made = Stages(tmp_path / "run")
    made.run("data", {"tokenizer": "base", "splits": splits, "vocabulary": 300, "max_tokens": 128})
    return made


def rows_of(artifact, kind):
    return [row for row in read(artifact.folder / "metrics.jsonl") if row["kind"] == kind]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ppo", {"rollout_prompts": 24, "value": "shared", "kl_coefficient": 0.01}),
        ("grpo", {"rollout_prompts": 6, "answers_per_prompt": 4}),
        ("rloo", {"rollout_prompts": 6, "answers_per_prompt": 4, "kl_coefficient": 0.01}),
    ],
)
def test_the_reward_rises(stages, kind, settings):
    made = stages.run(
        kind,
        {
            **SMALL,
            **settings,
            "eval_split": "dev",
            "rewards": [{"name": "format", "pattern": ".*[a-m].*"}],
            "epochs": 40,
            "max_steps": 72,
            "batch_size": 8,
            "rollout_epochs": 2,
            "eval_every_steps": 36,
            "log_every_steps": 10,
            "optimizer": {"learning_rate": 1e-2},
        },
    )
    rewards = [row["reward"] for row in rows_of(made, "rollout")]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:2]) + 0.2, rewards
    assert {row["split"] for row in rows_of(made, "eval")} == {"dev"}
    assert made.metrics["eval.reward"]["value"] == rows_of(made, "eval")[-1]["reward"]
    names = {path.name for path in made.folder.iterdir()}
    gain = made.details["rl"]["reward_gain"]
    first, *_, last = rows_of(made, "eval")
    assert (first["step"], last["step"]) == (0, 72)
    assert [gain["before"], gain["after"]] == pytest.approx([first["reward"], last["reward"]], abs=1e-4)
    assert gain["difference"] == pytest.approx(gain["after"] - gain["before"]) and gain["n"] == 3
    assert made.details["rl"]["reward"] == {"before": rewards[0], "after": rewards[-1]}
    assert {
        "rollouts.png",
        "loss.png",
        "samples.jsonl",
        "samples_before.jsonl",
        "adapter_model.safetensors",
    } <= names
    assert not any("value" in name for name in load_file(made.folder / "adapter_model.safetensors"))
    assert not (made.folder / "value").exists()


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("ppo", {"value": "adapter", "kl_target": 1.0, "max_update_kl": 0.003, "rollout_prompts": 8}),
        ("ppo", {"value": "shared", "tuning": "full", "rollout_prompts": 8}),
        ("grpo", {"answers_per_prompt": 4, "beta": 0.1}),
    ],
    ids=["ppo-adapter", "ppo-full", "grpo"],
)
def test_a_resumed_run_ends_with_the_same_bits(stages, kind, settings):
    rate = 1e-3 if settings.get("tuning") else 1e-2
    common = {
        **SMALL,
        **settings,
        "batch_size": 4,
        "rollout_epochs": 3,
        "max_steps": 13,
        "epochs": 50,
        "eval_split": "dev",
        "eval_every_steps": 4,
        "save_every_steps": 3,
        "optimizer": {"learning_rate": rate},
    }
    whole = stages.run(kind, common, name="whole")
    for stop in (2, 5, 2, 3, 4):  # among answers, in the middle of a pass over a rollout, in an evaluation
        with pytest.raises(Interrupted):
            stages.run(kind, common, name="again", stop_after=stop)
    again = stages.run(kind, common, name="again")
    file = "model.safetensors" if settings.get("tuning") else "adapter_model.safetensors"
    one, two = (load_file(made.folder / file) for made in (whole, again))
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    for kind_of_row in ("train", "rollout", "eval"):
        first, second = (
            [
                {
                    k: v
                    for k, v in row.items()
                    if "seconds" not in k and "bytes" not in k and "per_second" not in k
                }
                for row in rows_of(made, kind_of_row)
            ]
            for made in (whole, again)
        )
        assert first == second
    if "max_update_kl" in settings:
        begun = [row["step"] for row in rows_of(whole, "rollout")]
        assert any(b - a < 6 for a, b in pairwise(begun)), "some rollout was left early"


class Naive(nn.Module):
    """Policy, value head and reference, one sequence at a time, nothing clever."""

    def __init__(self, folder, core, seed):
        super().__init__()
        self.model = PeftModel.from_pretrained(core, folder, is_trainable=True)
        self.head = nn.Linear(core.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def read(self, ids, mask):
        """Log-probabilities and values of the answer's tokens."""
        output = self.model(input_ids=torch.from_numpy(ids)[None].long(), output_hidden_states=True)
        at = torch.from_numpy(np.flatnonzero(mask))
        logits = output.logits[0].log_softmax(-1)[at - 1]
        log_probs = logits.gather(-1, torch.from_numpy(ids).long()[at][:, None])[:, 0]
        return log_probs, self.head(output.hidden_states[-1][0, at - 1])[:, 0]


def test_a_whole_rollout_of_ppo_is_that_of_a_naive_loop(stages):
    """Two passes x two mini-batches = four optimizer steps: equal weights at the end."""
    kept = {**SMALL, "rollout_prompts": 8, "batch_size": 4, "micro_batch_tokens": 40}
    rate = {"learning_rate": 3e-3, "schedule": "constant", "warmup": 0.0, "max_grad_norm": 1e9}
    rate |= {"epsilon": 1e-4}  # so that rounding of gradients near 0 does not count
    settings = {**kept, "optimizer": rate, "kl_coefficient": 0.3, "value_coefficient": 0.5, "lam": 0.9}
    start = stages.run(
        "ppo", {**settings, "max_steps": 1, "optimizer": {**rate, "learning_rate": 1e-30}}, name="start"
    )
    made = stages.run("ppo", {**settings, "rollout_epochs": 2, "max_steps": 4}, name="made")
    train = rows_of(made, "train")
    assert [row["step"] for row in train] == [1, 2, 3, 4] and len(rows_of(made, "rollout")) == 1
    rollout = Rollout.load(stages.folder / "made.scratch" / "rollouts" / "000000.safetensors")
    core = load_model("tiny:qwen3:64x2", tokenizer_folder=stages.folder / "data" / "tokenizer", seed=3).model
    naive = Naive(start.folder, core, 3)
    trained = [each for each in naive.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3, eps=1e-4, weight_decay=0.0)
    answers = [rollout.example(number) for number in range(8)]
    with torch.no_grad():
        old = [naive.read(*answer) for answer in answers]
    for number, (log_probs, values) in enumerate(old):
        torch.testing.assert_close(
            rollout.of("log_probs", np.array([number])), log_probs, atol=1e-5, rtol=1e-4
        )
        torch.testing.assert_close(rollout.of("values", np.array([number])), values, atol=1e-5, rtol=1e-4)
    advantages, returns = naive_advantages(rollout, old)
    for step in range(4):
        order = np.random.default_rng([3 * 1_000_003, step // 2]).permutation(8)
        batch = order[step % 2 * 4 :][:4]
        tokens, total = sum(int(rollout.counts[each]) for each in batch), 0
        for each in batch:
            log_probs, values = naive.read(*answers[each])
            ratio = (log_probs - old[each][0]).exp()
            gain = torch.min(ratio * advantages[each], ratio.clamp(0.8, 1.2) * advantages[each])
            near = old[each][1] + (values - old[each][1]).clamp(-0.2, 0.2)
            error = torch.max((values - returns[each]) ** 2, (near - returns[each]) ** 2) / 2
            total = total + (0.5 * error - gain).sum()
        optimizer.zero_grad()
        (total / tokens).backward()
        optimizer.step()
        assert train[step]["loss"] == pytest.approx(float(total.detach()) / tokens, abs=1e-5)
    expected = {name: each for name, each in naive.model.named_parameters() if each.requires_grad}
    found = load_file(made.folder / "adapter_model.safetensors")
    for name, weight in found.items():
        torch.testing.assert_close(
            weight, expected[name.replace(".weight", ".default.weight")].detach(), atol=2e-5, rtol=1e-3
        )


def naive_advantages(rollout, old):
    """Whitened advantages, and returns, in float64. A fresh adapter changes nothing, so there is no divergence yet."""
    advantages, returns = [], []
    for number, (_, values) in enumerate(old):
        rewards = [0.0] * len(values)
        rewards[-1] = float(rollout.scores[number])
        ahead, following, mine = 0.0, 0.0, []
        for reward, value in zip(reversed(rewards), reversed(values.tolist()), strict=True):
            ahead = reward + following - value + 0.9 * ahead
            following = value
            mine.insert(0, ahead)
        advantages.append(torch.tensor(mine, dtype=torch.float64))
        returns.append((advantages[-1] + values).float())
    flat = torch.cat(advantages)
    scale = (flat.var() + 1e-8).sqrt()
    return [((each - flat.mean()) / scale).float() for each in advantages], returns


def test_prompts_that_are_too_long_are_shortened_left_out_or_refused(stages, capsys):
    made = stages.run("grpo", {**SMALL, "max_steps": 1})
    assert made.details["rl"]["prompts"] == {"used": 11, "shortened": 1, "left_out": {}}
    assert "11 prompts, 1 without their oldest exchanges" in capsys.readouterr().out
    made = stages.run("grpo", {**SMALL, "max_steps": 1, "over_length": "drop"})
    assert made.details["rl"]["prompts"] == {
        "used": 10,
        "shortened": 0,
        "left_out": {"longer than 56 tokens": 1},
    }
    with pytest.raises(DataError, match=r"talk\.jsonl:11: a prompt of .* raise max_tokens"):
        stages.run("grpo", {**SMALL, "max_steps": 1, "over_length": "error"})
    with pytest.raises(DataError, match="no prompt to answer"):
        stages.run("grpo", {**SMALL, "max_new_tokens": 60})


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"split": "text"}, DataError, "holds documents, which ask nothing"),
        ({"split": "dev"}, DataError, "held out for evaluation"),
        ({"split": "talk", "rewards": [{"name": "exam_answer"}]}, DataError, "no right answer"),
        (
            {"split": "exam", "eval_split": "dev", "max_tokens": 128},
            DataError,
            "name an eval_split like the split",
        ),
        (
            {"rewards": [{"name": "http", "url": "http://127.0.0.1:9/score", "retries": 0}]},
            RewardError,
            "reward 'http': http://127.0.0.1:9/score gives no scores",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_generated(stages, settings, error, message):
    with pytest.raises(error, match=message):
        stages.run("grpo", {**SMALL, **settings})


def test_a_model_without_a_chat_template_is_refused(stages):
    folder = stages.folder / "data" / "tokenizer"
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="no chat template"):
        stages.run("ppo", SMALL)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        ("ppo", {"rewards": []}, "at least 1 item"),
        ("ppo", {"batch_size": 3}, "does not divide a rollout of 4 x 1"),
        ("grpo", {"batch_size": 4}, "take a multiple of 8 that divides 32"),
        ("ppo", {"max_new_tokens": 64}, "leaves no room for a prompt"),
        ("ppo", {"lora": {"dropout": 0.1}}, "blurs the probabilities"),
        ("ppo", {"lora": {"init": "pissa"}}, "changes the base, which is the reference"),
        ("ppo", {"tuning": "full", "value": "adapter"}, "needs tuning: lora"),
        ("rloo", {"answers_per_prompt": 1}, "greater than or equal to 2"),
        ("ppo", {"batch_tokens": 100}, "None"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(stages, kind, settings, message):
    with pytest.raises(ValueError, match=message):
        stages.run(kind, {**SMALL, **settings})


def test_exam_questions_are_answered_for_a_verifiable_reward(stages):
    rewards = [{"name": "exam_answer"}, {"name": "unfinished", "veto": True}]
    made = stages.run(
        "grpo", {**SMALL, "split": "exam", "rewards": rewards, "max_steps": 2, "max_tokens": 256}
    )
    (row, *_) = rows_of(made, "rollout")
    assert {
        "reward_exam_answer",
        "reward_unfinished",
        "vetoed",
        "groups_without_difference",
        "finished",
    } <= row.keys()
    text = "".join(text for text, _ in made.details["example"])
    assert "A. 甲" in text and "<|im_start|>assistant" in text


@contextmanager
def service(*, replies):
    """Scores answers by their length; after so many replies there are only errors. Yields its URL."""
    left = iter(range(replies))

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self):
            samples = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["samples"]
            body = json.dumps({"scores": [len(each["answer"]) / 8 for each in samples]}).encode()
            self.send_response(200 if next(left, None) is not None else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Judge) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/score"
        server.shutdown()


@pytest.mark.parametrize(("replies", "step"), [(4, 4), (3, 3)], ids=["in a rollout", "in an evaluation"])
def test_a_reward_service_that_fails_later_costs_no_step(stages, replies, step):
    settings = {**SMALL, "eval_split": "dev", "eval_every_steps": 3, "max_steps": 6, "batch_size": 2}
    settings |= {"epochs": 9, "rollout_epochs": 2, "optimizer": {"learning_rate": 1e-2}}

    def train(name, *, replies):
        with service(replies=replies) as url:
            return stages.run("ppo", {**settings, "rewards": [{"name": "http", "url": url}]}, name=name)

    whole = train("whole", replies=100)
    with pytest.raises(RewardError, match="gives no scores"):
        train("again", replies=replies)
    assert [path.name for path in (stages.folder / "again.scratch/checkpoints").iterdir()] == [
        f"step-{step:08d}"
    ]
    again = train("again", replies=100)
    one, two = (load_file(made.folder / "adapter_model.safetensors") for made in (whole, again))
    assert all(torch.equal(one[name], two[name]) for name in one)
    rewards = [[row["reward"] for row in rows_of(made, "eval")] for made in (whole, again)]
    assert rewards[0] == rewards[1] and len(rewards[0]) == 3


def test_with_keep_best_the_gain_is_that_of_the_weights_that_are_kept(stages):
    settings = {**SMALL, "eval_split": "dev", "eval_every_steps": 2, "max_steps": 6, "epochs": 9}
    rate = {"learning_rate": 3e-2}
    made = stages.run("grpo", {**settings, "answers_per_prompt": 4, "optimizer": rate, "keep_best": True})
    rewards = {row["step"]: row["reward"] for row in rows_of(made, "eval")}
    best = made.details["train"]["best_step"]
    assert rewards[best] == max(rewards.values()) == made.metrics["eval.reward"]["value"]
    assert made.details["rl"]["reward_gain"]["after"] == pytest.approx(rewards[best], abs=1e-4)
    kept = [json.loads(line) for line in (made.folder / "samples.jsonl").read_text("utf-8").splitlines()]
    assert {row["step"] for row in kept} == {best}
