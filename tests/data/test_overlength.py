import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rendering_toys import byte_level

from xinglin.data.overlength import OverLength, fit_many
from xinglin.data.records import Conversation, Document, Message, Origin, Preference, ToolCall
from xinglin.data.rendering import Renderer
from xinglin.errors import DataError

RENDERER = Renderer(byte_level(), template="chatml")
ORIGIN = Origin("talks.jsonl", 7)


def talk(*exchanges, system=None, untrained=()):
    messages = [Message("system", system)] if system else []
    for index, (question, answer) in enumerate(exchanges):
        messages += [Message("user", question), Message("assistant", answer, index not in untrained)]
    return Conversation(tuple(messages), ORIGIN)


def length(record):
    return len(RENDERER.encode([RENDERER.conversation(record.messages)])[0])


def fit(records, max_tokens, policy, renderer=RENDERER):
    counter = OverLength()
    return list(fit_many(records, renderer, max_tokens=max_tokens, policy=policy, counter=counter)), counter


def texts(pieces):
    return [RENDERER.tokenizer.decode(piece.ids, skip_special_tokens=False) for piece in pieces]


def trained(piece):
    return [text.removesuffix("<|im_end|>") for text, is_trained in RENDERER.visible(piece) if is_trained]


SHORT = [("一", "二"), ("三", "四"), ("五", "六"), ("七", "八")]
LONG = [(f"{a}" * 20, f"{b}" * 20) for a, b in SHORT]
TWO = length(talk(*LONG[:2]))


@pytest.mark.parametrize("policy", ["error", "drop", "truncate_history", "split"])
def test_what_fits_is_left_alone(policy):
    pair = Preference((Message("user", "一"),), "二", "三", ORIGIN)
    fitted, counter = fit([talk(*SHORT), pair], length(talk(*SHORT)), policy)
    assert [len(item.pieces) for item in fitted] == [1, 2]
    assert [item.index for item in fitted] == [0, 1]
    assert counter == OverLength()


def test_error_names_place_length_and_cure():
    with pytest.raises(
        DataError, match=rf"talks.jsonl:7: {length(talk(*LONG))} tokens, but a row holds 64; raise"
    ):
        fit([talk(*SHORT[:1]), talk(*LONG)], 64, "error")


def test_drop_leaves_out_and_counts():
    fitted, counter = fit([talk(*LONG), talk(*SHORT[:1]), talk(*LONG)], 64, "drop")
    assert [item.reason for item in fitted] == ["over_length", None, "over_length"]
    assert (counter.dropped, counter.reasons) == (2, {"over_length": 2})
    assert counter.examples["over_length"].startswith("talks.jsonl:7: ")


def test_truncate_history_keeps_the_system_prompt_and_the_latest_exchanges():
    record = talk(*LONG, system="医")
    limit = length(talk(*LONG[2:], system="医"))
    ((item,), counter) = fit([record], limit, "truncate_history")
    expected = RENDERER.encode([RENDERER.conversation(talk(*LONG[2:], system="医").messages)])
    assert texts(item.pieces) == texts(expected)
    assert len(item.pieces[0]) == limit
    assert (counter.truncated, counter.answers_dropped, counter.dropped) == (1, 2, 0)


def test_split_gives_every_answer_the_earliest_window_that_holds_it():
    ((item,), counter) = fit([talk(*LONG)], TWO, "split")
    assert [trained(piece) for piece in item.pieces] == [[a * 20 for a in "二四"], ["六" * 20], ["八" * 20]]
    assert texts(item.pieces)[1].startswith("<|im_start|>user\n" + "三" * 20)
    assert (counter.split, counter.answers_dropped) == (1, 0)


def test_an_answer_that_fits_nowhere_is_left_out_whole_and_the_others_stay():
    record = talk(SHORT[0], ("很" * 300, "长"), SHORT[2], SHORT[3])
    ((item,), counter) = fit([record], 120, "split")
    assert [trained(piece) for piece in item.pieces] == [["二"], ["六", "八"]]
    assert counter.answers_dropped == 1
    ((item,), counter) = fit([talk(SHORT[0], ("很" * 300, "长"))], 120, "truncate_history")
    assert (item.pieces, item.reason) == ((), "answer_too_long")
    assert (counter.dropped, counter.truncated, counter.answers_dropped) == (1, 0, 0)


def test_train_flags_survive_the_windows():
    ((item,), _) = fit([talk(*LONG, untrained={0, 2})], TWO, "split")
    assert [trained(piece) for piece in item.pieces] == [["四" * 20], ["八" * 20]]


def test_what_is_left_without_a_trained_answer_is_not_used():
    ((item,), counter) = fit([talk(*LONG, untrained={2, 3})], TWO, "truncate_history")
    assert item.reason == "nothing_to_train"
    assert (counter.dropped, counter.truncated, counter.answers_dropped) == (1, 0, 0)
    ((item,), _) = fit([talk(*SHORT, untrained=range(4))], 1000, "error")
    assert item.reason == "nothing_to_train"


def test_documents_are_cut_into_consecutive_pieces():
    text = "患者发热三天，the patient rests.\n" * 9
    (whole,) = RENDERER.encode([RENDERER.document(text)])
    ((item,), counter) = fit([Document(text, ORIGIN)], 50, "split")
    assert [len(piece) for piece in item.pieces[:-1]] == [50] * (len(whole) // 50)
    assert np.array_equal(np.concatenate([piece.ids for piece in item.pieces]), whole.ids)
    assert all(piece.mask.all() for piece in item.pieces)
    assert counter.split == 1


def test_documents_have_no_history():
    with pytest.raises(DataError, match="a document has no history to truncate; set the policy"):
        fit([Document("水", ORIGIN)], 50, "truncate_history")


@pytest.mark.parametrize("policy", ["truncate_history", "split"])
def test_both_sides_of_a_pair_lose_the_same_history(policy):
    prompt = (*talk(*LONG[:3], system="医").messages, Message("user", "七"))
    record = Preference(prompt, "好", "坏" * 40, ORIGIN)
    whole = [len(row) for row in RENDERER.encode([RENDERER.preference(prompt, a) for a in ("好", "坏" * 40)])]
    ((item,), counter) = fit([record], max(whole) - 1, policy)
    chosen, rejected = texts(item.pieces)
    assert [trained(piece) for piece in item.pieces] == [["好"], ["坏" * 40]]
    assert chosen.partition("好")[0] == rejected.partition("坏")[0]
    assert "医" in chosen
    assert "一" not in chosen
    assert "三" in chosen
    assert (counter.truncated, counter.split) == (1, 0)
    ((item,), _) = fit([record], 60, policy)
    assert item.reason == "answer_too_long"


def test_a_record_that_cannot_be_rendered_is_reported_and_the_rest_goes_on():
    renderer = Renderer(byte_level(), template="vicuna")
    tool = Conversation((Message("user", "一"), Message("tool", "1"), Message("assistant", "二")), ORIGIN)
    fitted, counter = fit([talk(SHORT[0]), tool, talk(SHORT[1])], 200, "error", renderer)
    assert [item.reason for item in fitted] == [None, "not_renderable", None]
    assert "no place for a message of role 'tool'" in counter.examples["not_renderable"]
    assert counter.to_json()["reasons"] == {"not_renderable": 1}


def test_order_and_number_hold_over_many_batches():
    records = [talk((f"问{i}", f"答{i}")) for i in range(600)]
    fitted, _ = fit(iter(records), 64, "error")
    assert [item.index for item in fitted] == list(range(600))
    assert [trained(item.pieces[0]) for item in fitted] == [[f"答{i}"] for i in range(600)]


exchanges = st.lists(
    st.tuples(st.text("问答 a", min_size=1, max_size=40), st.text("答案 b", min_size=1, max_size=40)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(exchanges=exchanges, limit=st.integers(20, 160), policy=st.sampled_from(["split", "truncate_history"]))
def test_no_answer_is_cut_repeated_or_lost(exchanges, limit, policy):
    numbered = [(question, f"{index}:{answer}") for index, (question, answer) in enumerate(exchanges)]
    ((item,), counter) = fit([talk(*numbered)], limit, policy)
    assert all(len(piece) <= limit for piece in item.pieces)
    assert bool(item.pieces) == (item.reason is None)
    found = [answer for piece in item.pieces for answer in trained(piece)]
    answers = [answer for _, answer in numbered]
    assert len(found) == len(set(found))
    assert set(found) <= set(answers)
    if item.pieces:
        assert len(found) + counter.answers_dropped == len(answers)
    if policy == "split":
        fits = [answer for question, answer in numbered if length(talk((question, answer))) <= limit]
        assert found == fits


@pytest.mark.parametrize("policy", ["truncate_history", "split"])
def test_windows_keep_the_tools_and_never_part_a_call_from_its_result(policy):
    renderer = Renderer(byte_level(bos="<s>"), template="qwen2_5")
    tools = ({"type": "function", "function": {"name": "查价"}},)
    asked = [
        Message("user", "多少钱" * 9),
        Message("assistant", "", tool_calls=(ToolCall("查价", {"药": "钙片"}),)),
        Message("tool", '{"price": 12}'),
        Message("assistant", "十二元" * 9),
    ]
    record = Conversation((*asked, *asked), ORIGIN, tools=tools)
    (whole,) = renderer.encode([renderer.conversation(record.messages, tools=tools)])
    ((item,), counter) = fit([record], len(whole) - 1, policy, renderer)
    (half,) = renderer.encode([renderer.conversation(asked, tools=tools)])
    assert len(item.pieces) == (1 if policy == "truncate_history" else 2)
    assert all(piece.ids.tolist() == half.ids.tolist() for piece in item.pieces)
    assert counter.answers_dropped == (2 if policy == "truncate_history" else 0)
