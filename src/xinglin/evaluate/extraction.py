"""Which options a generated text commits to, in Chinese and English, or none.

An extractor that always finds something turns babble into accuracy, so this one abstains. It reads, in this
order: the last letter that the text names as the answer; a letter that it calls correct or says "is" the case; a
letter that it begins with; an option whose words it gives as the answer; the only option whose words it mentions.
Letters count in capitals only ("the answer is a rare disease" chooses nothing), a denied one ("不选A", "is not B")
never, and "A或B" or "A or B" commits to neither.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

# What names an answer. English words in any case, letters of options in capitals.
_NAMED = r"""(?:
    (?:正确|最终|最佳|标准)的?答案 (?:应该|应当|应|就)? [是为选]?
    | 答案 (?:应该|应当|应|就|可能)? [是为选:】]
    | (?<![不别首]) (?:选择|选) (?![项题])
    | \b(?i: (?:answer|(?:correct|best|right)\s+(?:option|choice)) \s* (?:is|are|should\s+be|would\s+be|:) )
    | (?<!not\s) (?<!n't\s) \b(?i: choose|select|pick|go\s+with) \b
)"""
_IS = r"(?: (?<![不非]) [是为] | \b(?i:is|are)\b )"
_OPTION = r"(?: 选项 | \b(?i:option|choice)\b )"
# Between a cue and its option: quotes, brackets, the word "option"; line breaks only after a colon. Each text is
# matched in one way only, or babble such as ": : : :" would take exponential time.
_GAP = rf"(?: [^\S\n] | : (?:[^\S\n]*\n)* | ['\"“‘(\[【「《] | {_OPTION} )*"
_DENIED = r"(?<! 不是|不选|并非|排除) (?<! \bnot\s )"
_OR = r"""\s* [)\]】]? \s* (?: 或 | (?i:or)\b )"""
_CALLED_RIGHT = r"""[^,，。;\n]{0,60}? (?:
    (?<!不) [是为] (?:最|唯一)? (?:正确|合适|恰当|适合|佳|好)? 的? 答案
    | \s (?i: is \s+ (?:the\s+)? (?:(?:most\s+)?(?:correct|right|best|appropriate|likely)\s+) (?:answer|option|choice) )
)"""


def final_answer(text: str) -> str:
    """What follows the reasoning of a thinking model; '' where the reasoning did not end."""
    before, closed, after = text.rpartition("</think>")
    if closed:
        return after.strip()
    return "" if "<think>" in before + after else text


def extract(text: str, options: Mapping[str, str]) -> str:
    """The letters of ``options`` (letter -> its words) that ``text`` gives as its answer, sorted; '' for none."""
    text = _plain(final_answer(text))
    return _by_letters(text, "".join(options)) or _by_words(text, options)


def _by_letters(text: str, letters: str) -> str:
    if len(alone := re.sub(r"\W", "", text)) == 1 and alone.upper() in letters:
        return alone.upper()
    one = rf"[{letters}] (?![A-Za-z0-9+-])"
    word = rf"(?> {one} | [{letters}]{{2,}} (?![A-Za-z0-9]) )"
    # A letter that begins a Chinese word is none (A型, B超), unless the text goes on about the option.
    end = rf"(?! {_OR}) (?: (?![\u4e00-\u9fff]) | (?=选项|项|是|为|因|所|而|故) )"
    found = rf"(?P<found> (?> {word} (?> \s* (?: [,，、/&] | [和与及] | and\b ) \s* {one} )* ) ) {end}"
    if named := _matches(rf"{_NAMED} {_GAP} {found}", text):
        return _sorted(named[-1])
    marked = r"\s* (?: 选项 | 项 | [:.、,，。;)] | $ )"
    said = [
        *_matches(rf"(?: {_OPTION} {_GAP} | (?<![A-Za-z0-9]) ) {found} {_CALLED_RIGHT}", text),
        *_matches(rf"{_IS} {_GAP} {found} {marked}", text),
    ]
    if said:
        return _only(_sorted(match) for match in said)
    # "E. coli" begins with no option, and a text that lists the options chooses none.
    begun = _matches(rf"^ \W* {found} \s* (?: $ | [:、,。;)\n] | \. (?! \s* [a-z]) )", text)
    listed = set(re.findall(rf"(?<![A-Za-z0-9])[{letters}](?=\s*[:、.])", text))
    return _sorted(begun[0]) if begun and listed <= set(begun[0]) else ""


def _by_words(text: str, options: Mapping[str, str]) -> str:
    letter_of = {_plain(words).casefold(): letter for letter, words in options.items() if words.strip()}
    if not letter_of:
        return ""
    text = text.casefold()
    # Longest first: "B型" within "AB型" is not mentioned.
    words = "|".join(_bounded(words) for words in sorted(letter_of, key=len, reverse=True))
    found = rf"(?P<found> {words} )"
    given = rf"{_GAP} (?:(?:an?|the)\s+)? {found} (?! {_OR})"
    if named := _matches(rf"{_NAMED} {given}", text):
        return letter_of[named[-1]]
    if said := _matches(rf"{_IS} {given}", text):
        return _only(letter_of[match] for match in said)
    return _only(letter_of[match] for match in _matches(rf"{_DENIED} {found}", text))


def _plain(text: str) -> str:
    """Full-width letters and signs made ASCII, markup of emphasis and LaTeX boxes removed."""
    text = unicodedata.normalize("NFKC", text)
    for _ in range(2):  # boxes hold text commands
        text = re.sub(r"\\(?:boxed|text|textbf|mathrm)\s*\{([^{}]*)\}", r"\1", text)
    return re.sub(r"[*`$#]+|__", "", text).strip()


def _bounded(words: str) -> str:
    """Matches ``words`` as such: "2 mg" is neither in "12 mg" nor in "2 mgs"."""
    before = r"(?<![a-z0-9.])" if re.match("[a-z0-9]", words) else ""
    after = r"(?![a-z0-9])" if re.search("[a-z0-9]$", words) else ""
    return before + re.escape(words) + after


def _matches(pattern: str, text: str) -> list[str]:
    return [match["found"] for match in re.finditer(pattern, text, re.VERBOSE)]


def _only(found: Iterable[str]) -> str:
    different = set(found)
    return different.pop() if len(different) == 1 else ""


def _sorted(letters: str) -> str:
    return "".join(sorted(set(re.findall("[A-Z]", letters))))
