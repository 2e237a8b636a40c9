"""Contraindication: answers that recommend a drug which is not given in the condition that the user tells of."""

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from xinglin.rewards import Context, Reward, RuleConfig, Sample, rule
from xinglin.rewards._mentions import Mention, compiled, mentions, read_table, tells

_REASSURES = compiled(
    r"不(?:用|必|要)(?:太?(?:担心|紧张|害怕|着急)|怕)|别(?:担心|怕|紧张|着急)|没(?:有)?(?:问题|关系|事)|不要紧|无需担心"
    r"|\b(?:do not|don[’']t|no need to) (?:worry|panic|be afraid)|\bno (?:problem|worries)\b|\bnot only\b|不[仅但光只]"
)
"""Words that deny nothing; they are taken out of the answer first."""
_DENIED = compiled(
    r"不(?:要|能|可|宜|应|该|建议|推荐|适合|得|再|用|吃|是|主张|首选)|没有?|未|勿|别|禁|忌|避免|避开|停[用服药止掉]|慎|换掉|代替|替代|除外|以外|诱因|病因|原因|史"
    r"|\b(?:not|no|never|without|avoid\w*|stop\w*|cannot|contraindicat\w*|forbidden|instead of|rather than|nor"
    r"|except|other than|replac\w+|alternatives? to|caused by|causes? of|triggers?)\b|n[’']t\b"
)
"""What turns a drug named after it, in the same clause, into one that is warned of."""
_WARNED = compiled(
    r"禁|忌|慎|不(?:要|能|可|宜|应|该|建议|推荐|适合|得|再|安全|用)|避免|停[用服]|危险|有害|有毒|毒性|致畸|畸形|流产|损害|伤害"
    r"|(?:会|可能|可|容易)[^，。]{0,6}(?:影响|导致|引起|造成|增加|加重|诱发)"
    r"|\b(?:not|never|avoid\w*|unsafe|harm\w*|danger\w*|toxic|risk\w*|contraindicat\w*|forbidden|prohibited|off-limits|stopped)\b|n[’']t\b"
    r"|\b(?:can|may|might|could|will) [^.]{0,12}(?:cause|damage|stain|affect|trigger|worsen|lead)"
)
"""The same, for what follows the drug in its clause."""
_RULED_OUT = compiled(
    r"[^，。；;,.]{0,8}(?:禁用|禁忌|忌用|慎用|禁止|不(?:能|可|可以|要|宜|应|建议)(?:使用|服用|用|吃)?(?=[，。；;,.!！]|$)|有致畸)"
    r"|\s*(?:它|这(?:个|种|类)?药?|该药|其)[^，。；;,.]{0,6}(?:可能|会|不能|禁|有)"
    r"|\s*(?:which|it|they|these|this drug)\b[^.;]{0,15}"
    r"(?:contraindicat|unsafe|not|never|avoid|harm|risk|can cause|may cause|damage)"
)
"""The same, for the clause after it: "四环素，孕妇禁用", "tetracycline, which is unsafe"."""
_ASKS_WHAT_TO_AVOID = compiled(
    r"(?:禁|忌|不能|不可以?|不宜|避免|慎)[^，。]{0,8}(?:哪些|什么|哪类|有哪|吗)|(?:哪些|什么|哪类)[^，。]{0,12}(?:禁|忌|不能|不可|不宜|避免|慎|影响|致畸)"
    r"|\b(?:what|which|name|list)\b[^.]*\b(?:avoid\w*|contraindicat\w*|not (?:take|use|be)|unsafe|dangerous|harmful)\b"
)
"""A question whose right answer is a list of such drugs."""


class Config(RuleConfig):
    """Answers that recommend no contraindicated drug."""

    name: Literal["contraindication"]
    """Which reward: a file in ``rewards/``. Drugs and conditions are those of ``rewards/contraindications.yaml``."""


@dataclass(frozen=True)
class Row:
    """A drug that is not given in a condition."""

    drug: str
    drug_pattern: re.Pattern[str]
    condition: str
    condition_pattern: re.Pattern[str]


def build(config: Config, context: Context) -> Reward:
    return rule(score)


def score(sample: Sample) -> float:
    """-1 where a contraindicated drug is recommended. Exam questions, and questions for a list of such drugs, are
    none that a patient would act on: 0."""
    if sample.exam or _ASKS_WHAT_TO_AVOID.search(sample.question):
        return 0.0
    return -1.0 if recommended(sample.final, told=sample.told) else 0.0


def recommended(answer: str, *, told: str) -> list[Row]:
    """The contraindicated drugs that an answer recommends to someone who told ``told``."""
    answer = _REASSURES.sub("", answer)
    conditions = {row.condition: row.condition_pattern for row in table()}
    present = {name for name, pattern in conditions.items() if tells(pattern, told)}
    return [
        row
        for row in table()
        if row.condition in present and any(_recommends(m) for m in mentions(row.drug_pattern, answer))
    ]


def _recommends(mention: Mention) -> bool:
    """Whether a drug is named and neither denied, nor warned of, nor only asked about."""
    if mention.sentence.rstrip().endswith(("?", "？")):
        return False
    following = re.sub(r"^[,，、：:（）() ]+", "", mention.rest)
    return not (
        _DENIED.search(mention.before) or _WARNED.search(mention.after) or _RULED_OUT.match(following)
    )


@cache
def table() -> tuple[Row, ...]:
    """Every drug in every condition in which it is not given."""
    rows = read_table("contraindications.yaml")

    def both(texts: dict[str, Any]) -> re.Pattern[str]:
        return compiled(f"{texts['zh']}|{texts['en']}")

    conditions = {name: both(texts) for name, texts in rows["conditions"].items()}
    drugs = {name: both(texts) for name, texts in rows["drugs"].items()}
    return tuple(
        Row(drug, drugs[drug], condition, conditions[condition])
        for drug, named in rows["rows"].items()
        for condition in named
    )
