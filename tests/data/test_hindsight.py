"""Preferences as conversations: which, asked how, trained where, and what is counted when one gives nothing."""

import json

import pytest
from rendering_toys import byte_level

from xinglin.data.hindsight import KEY, PreferenceReader, Unused, helpful, is_chain
from xinglin.data.records import Document, Message, Origin, Preference
from xinglin.data.rendering import Renderer
from xinglin.data.splits import open_shards

ORIGIN = Origin("pairs.jsonl", 1)
PROMPT = (
    Message("system", "你是医生。"),
    Message("user", "嗓子疼"),
    Message("assistant", "多久了？"),
    Message("user", "三天"),
)


def pair(prompt=PROMPT, chosen="好答", rejected="坏答"):
    return Preference(prompt, chosen, rejected, ORIGIN, {"tag": 1})


def made(reading, record):
    return PreferenceReader(reading).read(record)


def test_the_four_views_of_a_pair():
    views = {view.meta[KEY]: view for view in made("hindsight", pair())}
    assert list(views) == ["P", "N", "PN", "NP"]
    answers = {
        name: [m.content for m in view.messages if m.role == "assistant" and m.train]
        for name, view in views.items()
    }
    assert answers == {"P": ["好答"], "N": ["坏答"], "PN": ["好答", "坏答"], "NP": ["坏答", "好答"]}
    for name, view in views.items():
        assert [message.content for message in view.messages[:3]] == ["你是医生。", "嗓子疼", "多久了？"]
        assert view.messages[3].content.startswith("三天\n\n")
        assert (view.origin, view.meta["tag"]) == (ORIGIN, 1)
        assert is_chain(view) == (name in ("PN", "NP"))
        further = [m.content for m in view.messages[5:] if m.role == "user"]
        assert len(further) == (len(name) - 1)


def test_requests_are_in_the_language_of_the_question_many_and_a_function_of_the_pair():
    english = [pair((Message("user", f"Sore throat, day {n}"),)) for n in range(40)]
    chinese = [pair((Message("user", f"嗓子疼第{n}天"),)) for n in range(40)]
    for pairs, alphabet in ((english, str.isascii), (chinese, lambda text: not text.isascii())):
        for place in range(4):
            asked = {made("hindsight", p)[place].messages[0].content.split("\n\n")[1] for p in pairs}
            assert len(asked) == 3
            assert all(map(alphabet, asked))
    assert made("hindsight", english[0]) == made("hindsight", english[0])
    asked = {made("hindsight", p)[0].messages[0].content for p in chinese}
    assert helpful("嗓子疼第1天").split("\n\n")[1] in {text.split("\n\n")[1] for text in asked}
    assert helpful("Sore throat").isascii()


def test_accepted_answers_only_and_each_once():
    reader = PreferenceReader("chosen")
    [first] = reader.read(pair())
    assert [m.content for m in first.messages] == [*(m.content for m in PROMPT), "好答"]
    assert [m.content for m in first.messages if m.train and m.role == "assistant"] == ["好答"]
    with pytest.raises(Unused, match="duplicate"):
        reader.read(pair(rejected="另一个坏答"))
    assert reader.read(pair(chosen="另一个好答"))


def test_ties_teach_nothing():
    with pytest.raises(Unused, match="tie"):
        made("hindsight", pair(chosen="一样", rejected="一样 "))


def test_other_records_and_pairs_stay_as_they_are():
    document = Document("文", ORIGIN)
    assert made("hindsight", document) == [document]
    assert made("pairs", pair()) == [pair()]


def shards_of(tmp_path, pairs, *, reading, **settings):
    path = tmp_path / "pairs.jsonl"
    path.write_text(
        "".join(json.dumps(record.to_json(), ensure_ascii=False) + "\n" for record in pairs), encoding="utf-8"
    )
    renderer = Renderer(byte_level(), template="chatml")
    kwargs = {"max_tokens": 400, "policy": "split", "places": [tmp_path / "shards"]} | settings
    return renderer, open_shards(path, renderer, preferences=reading, **kwargs)


def test_shards_train_the_answers_and_their_ends_and_nothing_else(tmp_path):
    renderer, shards = shards_of(
        tmp_path, [pair(), pair(chosen="一样", rejected="一样")], reading="hindsight"
    )
    assert (shards.group, len(shards)) == (1, 4)
    texts = [renderer.tokenizer.decode(ids[trained]) for ids, trained in (shards[at] for at in range(4))]
    assert texts == [
        "好答<|im_end|>",
        "坏答<|im_end|>",
        "好答<|im_end|>坏答<|im_end|>",
        "坏答<|im_end|>好答<|im_end|>",
    ]
    assert shards.meta["over_length"]["reasons"] == {"tie": 1}
    assert json.loads((shards.folder / "left_out.jsonl").read_text(encoding="utf-8"))["row"] == 2


def test_readings_have_shards_of_their_own(tmp_path):
    pairs = [pair(), pair(rejected="另一个")]
    assert [shards_of(tmp_path, pairs, reading=reading)[1].group for reading in ("pairs", "chosen")] == [2, 1]
    _, shards = shards_of(tmp_path, pairs, reading="chosen")
    assert (len(shards), shards.meta["over_length"]["reasons"]) == (1, {"duplicate": 1})


def test_a_chain_that_is_too_long_is_left_out_whole(tmp_path):
    """Its second request means nothing once the question is gone; P and N keep their own answers."""
    long = pair(chosen="好" * 60, rejected="坏" * 60)
    _, shards = shards_of(tmp_path, [long], reading="hindsight", max_tokens=300)
    assert shards.meta["over_length"]["reasons"] == {"over_length": 2}
    assert len(shards) == 2
