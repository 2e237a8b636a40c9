"""The cleaning of records: presets, settings, counts."""

import pickle

import pytest
from pydantic import BaseModel, ValidationError

from xinglin import plugins
from xinglin.data.cleaning import Clean, Cleaning
from xinglin.data.filters import PACKAGE
from xinglin.data.records import Conversation, Document, Message, Origin, Question, Rating
from xinglin.data.removal import Removal

ORIGIN = Origin("rows.jsonl", 1)
GOOD = Conversation((Message("user", "感冒了怎么办？"), Message("assistant", "多休息，多喝水。")), ORIGIN)
BAD = Conversation(
    (Message("user", "感冒了怎么办？"), Message("assistant", "作为一个AI语言模型，我无法回答。")), ORIGIN
)


class Stage(BaseModel):
    clean: Clean | None = None


def test_the_standard_set() -> None:
    clean = Stage.model_validate({"clean": "standard"}).clean
    assert clean == Clean() == Stage.model_validate({"clean": {}}).clean
    assert clean is not None
    off = set(plugins.names(PACKAGE)) - set(clean.chosen)
    assert off == {"mismatch"}


def test_filters_by_name() -> None:
    clean = Clean.model_validate(
        {"filters": {"mismatch": True, "language": False, "too_short": {"answers": 5}}}
    )
    assert "mismatch" in clean.chosen and "language" not in clean.chosen
    assert clean.chosen["too_short"].model_dump()["answers"] == 5


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"repetitions": True}, "did you mean 'repetition'"),
        ({"too_short": {"answer": 5}}, "filters.too_short.answer: unknown key; did you mean 'answers'"),
        (
            {"too_short": {"answers": "5"}},
            "filters.too_short.answers: got the text '5', expected a whole number",
        ),
    ],
)
def test_mistakes_are_said(filters: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Clean.model_validate({"filters": filters})


def test_records_come_back_or_a_reason() -> None:
    cleaning = Cleaning(Clean())
    assert cleaning.apply(GOOD) is GOOD
    removal = cleaning.apply(BAD)
    assert isinstance(removal, Removal)
    assert removal.to_json() == {"step": "clean", "reason": "disclaimer", "detail": removal.detail}
    assert cleaning.apply(Document("\u200b感冒是由病毒引起的上呼吸道感染。", ORIGIN)) == Document(
        "感冒是由病毒引起的上呼吸道感染。", ORIGIN
    )
    assert cleaning.to_json() == {
        "records": 3,
        "kept": 2,
        "changed": {"invisible": 1},
        "removed": {"disclaimer": 1},
    }


def test_another_process_does_the_same() -> None:
    cleaning = pickle.loads(pickle.dumps(Cleaning(Clean(filters={"disclaimer": False}))))
    assert cleaning.apply(BAD) is BAD


def test_every_kind_passes_through() -> None:
    question = Question("感冒最常见的病原体是", {"A": "病毒", "B": "细菌"}, "A", ORIGIN)
    assert Cleaning(Clean()).apply(question) is question


def test_ratings_are_judged_and_a_bad_one_may_be_so() -> None:
    removal = Cleaning(Clean()).apply(Rating(BAD.messages, ORIGIN))
    assert isinstance(removal, Removal) and removal.reason == "disclaimer"
    bad = Rating(BAD.messages, ORIGIN, good=False)
    assert Cleaning(Clean()).apply(bad) is bad


@pytest.mark.parametrize("name", plugins.names(PACKAGE))
def test_filters_fit_their_contract(name: str) -> None:
    module = plugins.load(PACKAGE, name)
    assert (
        set(module.KINDS) <= {"document", "conversation", "preference", "rating", "question"} and module.KINDS
    )
    assert isinstance(module.STANDARD, bool)
    assert module.Settings()
    assert all(field.description for field in module.Settings.model_fields.values())
    assert plugins.summary(PACKAGE, name).endswith((".", "垜."))
