"""What no score may drop."""

import pytest

from xinglin.data.records import Conversation, Document, Message, Origin, Preference, Question
from xinglin.selection.safety import Floor

ORIGIN = Origin("t", 1)


def talk(question, answer="好。", **meta):
    return Conversation((Message("user", question), Message("assistant", answer)), ORIGIN, meta)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (talk("感冒了怎么办？", tags=["safety", "x"]), "safety"),
        (talk("感冒了怎么办？", tags="red_flag, x"), "red_flag"),
        (talk("感冒了怎么办？", tags=[{"name": "x"}, 3, "safety"]), "safety"),
        (talk("感冒了怎么办？", safety={"must_include_any": ["急诊"]}), "safety"),
        (talk("突然胸口剧痛，出汗，怎么办？"), "red_flag"),
        (talk("没有胸痛，只是咳嗽。"), None),
        (talk("我怀孕三个月，长了痘痘。", "不要用多西环素，会影响胎儿。"), "contraindication"),
        (talk("长了痘痘。", "可以用多西环素。"), None),
        (talk("我在吃华法林，头痛。", "别用布洛芬。"), "interaction"),
        (talk("感冒了怎么办？", department="呼吸科"), None),
        (Document("妊娠期禁用多西环素。突然胸口剧痛出汗要叫急救。", ORIGIN), None),
        (Document("x", ORIGIN, {"tags": ["interaction"]}), "interaction"),
        (Preference((Message("user", "怀孕了能吃多西环素吗"),), "不能", "能", ORIGIN), "contraindication"),
        (Question("孕妇禁用的是", {"A": "青霉素", "B": "四环素"}, "B", ORIGIN), "contraindication"),
    ],
)
def test_caution_is_recognised(record, reason):
    assert Floor().reason(record) == reason


def test_it_can_be_narrowed_to_tags_of_ones_own():
    floor = Floor(tags=["triage"], detect=False)
    assert floor.reason(talk("突然胸口剧痛，出汗，怎么办？", tags=["safety"])) is None
    assert floor.reason(talk("咳嗽", triage=True)) == "triage"
