"""Patterns found in a text clause by clause, with what stands around them, in Chinese and English.

A clause ends at a comma, a stop or a line, and where the sentence turns ("但", "改用", "but"). That is crude beside
a parser, and enough for rules that look for a few hundred names: what denies a name stands in its clause.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, NamedTuple

_SENTENCE = re.compile(r"(?:[^。！？!?；;\n.]|\.(?=\w))*[。！？!?；;\n.]?")
_TURN = (
    r"但是?|不过|而是|而应|然后|改[用吃服为]|换[用成为]|请(?=用|吃|服|选)"
    r"|\b(?:but|however|then|instead(?=,? (?:take|use))|and(?= (?:take|use|try|start|switch|call|go)\b))\b"
)
_CUT = re.compile(rf"[,，、：:（）()]|(?={_TURN})", re.IGNORECASE)
_ABSENT = re.compile(
    r"(?:没有?|无|未|否认|不伴|不是|并非|非|不|排除)[^\s的]{0,3}$"
    r"|(?:\b(?:no|not|never|without|den(?:y|ies|ied))|n[’']t(?: have| had| feel)?)"
    r"(?: (?:any|a|an|the|yet|had|having|been))*(?: \w+)?\s*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Mention:
    """A match of a pattern within a clause."""

    text: str
    before: str
    """The clause up to it."""
    after: str
    """The clause from its end on."""
    sentence: str
    rest: str
    """The sentence from the end of the clause on."""

    @property
    def absent(self) -> bool:
        """Whether it is said to be absent: "没有胸痛", "I am not pregnant"."""
        return _ABSENT.search(self.before) is not None


class Clause(NamedTuple):
    text: str
    sentence: str
    rest: str


@lru_cache(maxsize=64)  # a rule asks a text for many patterns
def clauses(text: str) -> tuple[Clause, ...]:
    """The clauses of a text, in order, with the sentence of each and what of it follows."""
    found = []
    for sentence in (match[0] for match in _SENTENCE.finditer(text)):
        start = 0
        for end in [*(cut.start() for cut in _CUT.finditer(sentence)), len(sentence)]:
            found.append(Clause(sentence[start:end], sentence, sentence[end:]))
            start = end
    return tuple(found)


def mentions(pattern: re.Pattern[str], text: str) -> Iterator[Mention]:
    """Every match of ``pattern`` within one clause of ``text``, in order."""
    for clause in clauses(text):
        for match in pattern.finditer(clause.text):
            before, after = clause.text[: match.start()], clause.text[match.end() :]
            yield Mention(match[0], before, after, clause.sentence, clause.rest)


def tells(pattern: re.Pattern[str], text: str) -> bool:
    """Whether a patient's ``text`` mentions ``pattern`` and not as absent."""
    return any(not mention.absent for mention in mentions(pattern, text))


def read_table(name: str) -> Any:
    """The YAML table ``name`` beside this file."""
    from ruamel.yaml import YAML

    text = files("xinglin.rewards").joinpath(name).read_text(encoding="utf-8")
    return YAML(typ="safe", pure=True).load(text)


def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
