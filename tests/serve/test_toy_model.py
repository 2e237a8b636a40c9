"""The same API on a real, random model: a folder in Hugging Face's layout, through the transformers engine."""

from pathlib import Path

import pytest

from xinglin.data.templates import load_template
from xinglin.errors import DataError, ModelError
from xinglin.models.tiny import build_tiny
from xinglin.models.tokenizer import train_tokenizer
from xinglin.serve.model import Model, Sampling, read_messages


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    tokenizer = train_tokenizer(["头痛怎么办？多休息，多喝水。", "user assistant system"], vocabulary=320)
    tokenizer.chat_template = load_template("chatml")
    build_tiny("tiny:qwen3:64x1", tokenizer, seed=1).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return Model.load(folder, device="cpu")


def test_greedy_answers_do_not_depend_on_how_they_are_asked_for(model: Model):
    questions = ["头痛怎么办？", "多喝水？", "user"]
    alone = [model.chat(question, max_new_tokens=12) for question in questions]
    assert model.predict(questions, max_new_tokens=12) == alone


def test_stream_gives_whole_characters_and_the_same_answer(model: Model):
    for seed in range(5):
        sampling = {"max_new_tokens": 30, "temperature": 1.5, "seed": seed}
        whole = model.chat("头痛怎么办？", **sampling)  # type: ignore[call-overload]
        streamed = "".join(model.chat("头痛怎么办？", stream=True, **sampling))  # type: ignore[call-overload]
        assert whole.startswith(streamed)
        # Only characters that the answer breaks off in the middle of are missing from the stream.
        assert set(whole.removeprefix(streamed)) <= {"\ufffd"}


def test_a_stopped_stream_leaves_the_model_usable(model: Model):
    stream = model.stream(read_messages("头痛怎么办？"), sampling=Sampling(max_new_tokens=1000))
    next(stream)
    stream.close()
    assert model.chat("头痛怎么办？", max_new_tokens=3) is not None


def test_a_stream_returns_why_it_ended(model: Model):
    stream = model.stream(read_messages("头痛怎么办？"), sampling=Sampling(max_new_tokens=4))
    with pytest.raises(StopIteration) as end:
        while True:
            next(stream)
    assert end.value.value == "length"


def test_the_window_counts_the_models_own_tokens(model: Model):
    turns = [
        {"role": role, "content": "头痛怎么办？" * 20} for _ in range(20) for role in ("user", "assistant")
    ]
    conversation = read_messages([*turns, {"role": "user", "content": "多喝水？"}])
    with pytest.raises(DataError, match="window"):
        list(model.stream(conversation, sampling=Sampling()))
    window = model.fit(conversation, max_new_tokens=512)
    assert 0 < window.left_out < 20
    tokens = len(model.engine.renderer.prompt_ids(window.messages))
    assert tokens + 512 <= model.engine.context_tokens
    one_more = conversation[2 * (window.left_out - 1) :]
    assert len(model.engine.renderer.prompt_ids(one_more)) + 512 > model.engine.context_tokens


def test_folder_without_tokenizer(folder: Path, tmp_path: Path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ModelError, match="tokenizer"):
        Model.load(tmp_path)
