"""What xinglin writes it reads back the same; whatever else it reads, it never stumbles."""

import copy
import json
import tempfile
from pathlib import Path
from string import ascii_uppercase

import pytest
from example_rows import EXAMPLES
from hypothesis import given, settings
from hypothesis import strategies as st

from xinglin import plugins
from xinglin.data.accounting import Quarantine, SourceAccount
from xinglin.data.formats import Reject, Repair
from xinglin.data.records import (
    Conversation,
    Document,
    Message,
    Origin,
    Preference,
    Question,
    ToolCall,
    kind_of,
)
from xinglin.data.sources import FORMATS, Source, read

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(str.strip)
origins = st.builds(Origin, st.just("first.jsonl"), st.integers(1, 99), st.sampled_from([None, "MIT"]))
metas = st.dictionaries(
    st.sampled_from(["department", "tags", "score"]), st.integers() | st.lists(texts, max_size=2)
)


@st.composite
def conversations(draw):
    pairs = draw(st.lists(st.tuples(texts, texts, st.booleans()), min_size=1, max_size=3))
    messages = [Message("system", draw(texts))] if draw(st.booleans()) else []
    for number, (asked, answer, train) in enumerate(pairs, start=1):
        messages += [Message("user", asked), Message("assistant", answer, train or number == len(pairs))]
    return Conversation(tuple(messages), draw(origins), draw(metas))


arguments = st.dictionaries(texts, st.integers() | texts | st.lists(texts, max_size=2), max_size=2)
calls = st.lists(st.builds(ToolCall, texts, arguments), min_size=1, max_size=2).map(tuple)


@st.composite
def tool_conversations(draw):
    """Weights, calls and tools as well."""
    first = draw(conversations())
    weight = draw(st.sampled_from([True, False, 0.5, 3.0]))
    called = [
        Message("user", draw(texts)),
        Message(
            "assistant", draw(st.sampled_from(["", "查", "<think>\n查\n</think>\n\n"])), weight, draw(calls)
        ),
        Message("tool", draw(texts), name=draw(st.sampled_from([None, "f"]))),
        Message("assistant", draw(texts)),
    ]
    tools = draw(st.lists(st.fixed_dictionaries({"name": texts, "parameters": arguments}), max_size=2))
    described = tuple({"type": "function", "function": tool} for tool in tools)
    return Conversation((*first.messages, *called), first.origin, first.meta, described)


@st.composite
def preferences(draw):
    *prompt, answer = draw(conversations()).messages
    rejected = draw(texts.filter(lambda text: text.strip() != answer.content.strip()))
    return Preference(tuple(prompt), answer.content, rejected, draw(origins), draw(metas))


@st.composite
def questions(draw):
    options = dict(zip(ascii_uppercase, draw(st.lists(texts, min_size=2, max_size=6)), strict=False))
    letters = draw(st.sets(st.sampled_from(list(options)), min_size=1))
    return Question(draw(texts), options, "".join(sorted(letters)), draw(origins), draw(metas))


documents = st.builds(Document, texts, origins, metas)


@pytest.mark.parametrize(
    "records",
    [documents, conversations(), tool_conversations(), preferences(), questions()],
    ids=["document", "conversation", "conversation with tools", "preference", "question"],
)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_written_records_read_back_the_same(records, data):
    written = data.draw(st.lists(records, min_size=1, max_size=4))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        path.write_text(
            "".join(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in written), encoding="utf-8"
        )
        account = SourceAccount()
        with Quarantine(Path(folder, "quarantine.jsonl")) as quarantine:
            back = list(
                read(Source(path=str(path)), kind=kind_of(written[0]), account=account, quarantine=quarantine)
            )
    assert back == written
    assert not account.repairs


GOOD = [row for rows in EXAMPLES.values() for row in rows if not isinstance(row, str)]
scalars = (
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["", " ", "A", "user", "gpt", "医生：b"])
)
values = st.recursive(
    scalars,
    lambda v: (
        st.lists(v, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "A", "role", "from", "value"]), v, max_size=2)
    ),
    max_leaves=6,
)


@st.composite
def damaged(draw):
    """A good row with up to three of its parts, at any depth, left out or replaced by something else."""
    row = copy.deepcopy(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(0, 3))):
        part = row
        while part:
            key = draw(st.sampled_from(list(part) if isinstance(part, dict) else range(len(part))))
            if isinstance(part[key], dict | list) and draw(st.booleans()):
                part = part[key]
                continue
            if draw(st.booleans()):
                part[key] = draw(values)
            else:
                del part[key]
            break
    return row


@settings(max_examples=1500, deadline=None)
@given(row=damaged())
def test_any_row_is_parsed_or_rejected_by_one_format(row):
    formats = [plugins.load(FORMATS, name) for name in plugins.names(FORMATS) if name != "text"]
    claimed = [format for format in formats if not hasattr(format, "record") and format.matches(row)]
    assert len(claimed) <= 1, claimed
    for format in claimed:
        try:
            made = list(format.parse(row, format.Options(), Origin("rows.jsonl", 1)))
        except Reject as reject:
            assert reject.reason.isidentifier()
        else:
            assert all(isinstance(item, Repair) or kind_of(item) == format.RECORD for item in made)
