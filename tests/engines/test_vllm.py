"""vLLM answers and measures as transformers does, with the settings that were asked for."""

import pytest
import torch
from transformers import LlamaConfig

from xinglin import engines
from xinglin.data.records import Message
from xinglin.engines.transformers import TransformersEngine
from xinglin.errors import DataError, ModelError
from xinglin.models.decoding import Sampling
from xinglin.models.vllm import _cache_bytes, seed_number

QUESTIONS = ["你好", "Which drug is first-line for hypertension?", "孕妇发热怎么办？请说明。", "chest pain"]


def ask(text):
    return [Message("user", text)]


def test_where_it_is_not_installed_one_sentence_says_so(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"engine vllm: the package vllm is not installed; .*engine: transf"):
        engines.require("vllm")


def test_seeds_of_several_parts_become_numbers_that_differ():
    seeds = {
        seed_number((3, rollout, place, copy))
        for rollout in (0, 1 << 40)
        for place in range(9)
        for copy in range(9)
    }
    assert len(seeds) == 2 * 81 and all(0 <= seed < 1 << 63 for seed in seeds)


def test_room_for_keys_and_values():
    config = LlamaConfig(
        hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=32, num_hidden_layers=3
    )
    assert _cache_bytes(config, torch.bfloat16, tokens=129) == 2 * 3 * 2 * 32 * 2 * (256 + 128)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    from xinglin.data.templates import load_template
    from xinglin.models.tiny import build_tiny

    folder = tmp_path_factory.mktemp("model")
    build_tiny("tiny:qwen3:64x2", tokenizer, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(load_template("chatml"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    pytest.importorskip("vllm", reason="vLLM is not installed")
    from xinglin.engines.vllm import load

    return load(str(folder), batch_tokens=1024)


@pytest.fixture
def oracle(folder):
    return TransformersEngine.load(str(folder))


quiet = pytest.mark.filterwarnings("ignore")


@quiet
def test_greedy_answers_are_those_of_transformers(engine, oracle):
    conversations = [ask(question) for question in QUESTIONS]
    told = []
    answers = engine.generate(conversations, max_new_tokens=24, progress=told.append)
    assert answers == oracle.generate(conversations, max_new_tokens=24)
    assert sum(told) == len(QUESTIONS)


@quiet
def test_likelihoods_are_those_of_transformers(engine, oracle):
    requests = [
        (ask(question), answer) for question in QUESTIONS for answer in ("氨氯地平", "rest", "请立即就医。")
    ]
    for one, other in zip(engine.log_likelihoods(requests), oracle.log_likelihoods(requests), strict=True):
        assert one.total == pytest.approx(other.total, abs=1e-3) and one.tokens == other.tokens


@quiet
def test_an_answer_depends_on_its_seed_alone(engine):
    def drawn(questions, seeds):
        return engine.sample(
            [ask(q) for q in questions], seeds, max_new_tokens=16, temperature=1.0, top_p=0.95
        )

    seeds = [[(7, row, copy) for copy in range(3)] for row in range(4)]
    together = drawn(QUESTIONS, seeds)
    assert together == drawn(QUESTIONS, seeds)
    assert [drawn([q], [s])[0] for q, s in zip(QUESTIONS, seeds, strict=True)] == together
    assert len({answer.text for answer in together[0]}) == 3


@quiet
def test_tokens_are_drawn_with_the_probabilities_that_were_asked_for(engine, oracle):
    """Of the first token of many answers, against the softmax with temperature, top_k and top_p by hand."""
    prompt = engine.renderer.prompt_ids(ask(QUESTIONS[0]))
    sampling = Sampling(1, engine.renderer.stop_ids, temperature=0.7, top_p=0.8, top_k=12)
    (answers,) = engine.model.sample([prompt], [[(5, n) for n in range(2000)]], sampling=sampling)
    with torch.no_grad():
        logits = oracle.model(torch.tensor([prompt])).logits[0, -1].double()
    chances, order = (logits / 0.7).softmax(-1).sort(descending=True)
    chances = chances[:12] / chances[:12].sum()
    kept = int((chances.cumsum(0) - chances < 0.8).sum())
    chances = dict(zip(order[:kept].tolist(), (chances[:kept] / chances[:kept].sum()).tolist(), strict=True))
    counts = torch.bincount(torch.tensor([answer.ids[0] for answer in answers]), minlength=400)
    assert set(counts.nonzero()[:, 0].tolist()) <= set(chances)
    expected = torch.zeros(400, dtype=torch.float64)
    for token, chance in chances.items():
        expected[token] = 2000 * chance
    within = expected > 0
    chi = float(((counts[within] - expected[within]) ** 2 / expected[within]).sum())
    assert chi < 3 * kept + 15
    for answer in answers[:20]:
        assert answer.log_probs == pytest.approx(
            [torch.tensor(chances[answer.ids[0]]).log().item()], abs=1e-3
        )


@quiet
def test_an_answer_ends_with_a_stop_token_or_where_it_is_cut(engine):
    prompt = engine.renderer.prompt_ids(ask(QUESTIONS[0]))
    stops = tuple(range(0, 400, 7))
    (answers,) = engine.model.sample([prompt], [[(1, n) for n in range(40)]], sampling=Sampling(6, stops))
    assert {answer.stopped for answer in answers} == {True, False}
    for answer in answers:
        assert answer.stopped == (answer.ids[-1] in stops) and not set(answer.ids[:-1]) & set(stops)
        assert answer.stopped or len(answer.ids) == 6
        assert len(answer.log_probs) == len(answer.ids)


@quiet
def test_what_vllm_cannot_do_is_refused(engine):
    with pytest.raises(
        DataError, match=r"batch_tokens 1024 is all that vLLM has room for; raise it to 1\d\d\d"
    ):
        engine.generate([ask("hello")], max_new_tokens=1020)
    with pytest.raises(ModelError, match=r"temperature 0\.001 is too low"):
        engine.sample([ask("hello")], [[(0,)]], max_new_tokens=4, temperature=0.001)
