"""Options and right answers of exam questions, in all the ways that sets write them."""

import re
from collections.abc import Mapping
from string import ascii_uppercase
from typing import Any

from xinglin.data.formats import Reject, _turns

_LINE = re.compile(r"^[^\S\n]*+([A-Z])(?:\s*+[.．、:：)）]|\s)\s*+(\S.*)$", re.MULTILINE)


def lettered(text: str) -> dict[str, str] | None:
    """Options as lines of a text (CMExam: ``A 病毒\\nB 细菌``); None if they are not A, B, C… in order."""
    found = dict(_LINE.findall(text))
    return found if len(found) > 1 and "".join(found) == ascii_uppercase[: len(found)] else None


def checked(listed: Mapping[str, Any] | list[Any]) -> dict[str, str]:
    """Letter -> text of each option that has one. Raises: Reject."""
    named = listed if isinstance(listed, Mapping) else _named(listed)
    choices = {key.strip().upper(): _turns.text(value, f"option {key}") for key, value in named.items()}
    if len(choices) < len(named) or any(len(key) != 1 or key not in ascii_uppercase for key in choices):
        raise Reject("bad_options", f"options are named {', '.join(named)}, not by letters")
    choices = {key: value for key, value in sorted(choices.items()) if value.strip()}
    if len(choices) < 2:
        raise Reject("bad_options", f"{len(choices)} options with text")
    return choices


def _named(listed: list[Any]) -> dict[str, Any]:
    """A list by position, or of objects with ``key`` and ``value``; a letter that every option repeats ("A. 病毒") is
    taken off."""
    if len(listed) > len(ascii_uppercase):
        raise Reject("bad_options", f"{len(listed)} options")
    if listed and all(isinstance(option, Mapping) and {"key", "value"} <= option.keys() for option in listed):
        return {str(option["key"]): option["value"] for option in listed}
    texts = [_turns.text(value, "option") for value in listed]
    marks = [
        re.match(rf"\s*{letter}\s*[.．、:：)）]\s*", text)
        for letter, text in zip(ascii_uppercase, texts, strict=False)
    ]
    if all(marks):
        texts = [text[mark.end() :] for mark, text in zip(marks, texts, strict=True) if mark]
    return dict(zip(ascii_uppercase, texts, strict=False))


def answer(given: Any, choices: Mapping[str, str], *, by_name: bool, first: int | None) -> str:
    """The right letters in order.

    Args:
        by_name: whether a text that is both a letter and an option (vitamin A) means the letter.
        first: the number of the first option, for answers that are numbers.

    Raises: Reject.
    """
    letters, text = _by_letter(given, choices), by_text(given, choices)
    if isinstance(given, int) or (not text and str(given).isdecimal()):
        return _numbered(int(given), choices, first)
    found = (letters or text) if by_name else (text or letters)
    if not found:
        raise Reject("bad_answer", f"{str(given)[:80]!r} is none of {', '.join(choices)}")
    return found


def _numbered(number: int, choices: Mapping[str, str], first: int | None) -> str:
    if first is None:
        raise Reject("ambiguous_answer", f"answer {number}: set the option first_option to 0 or 1")
    letter = dict(enumerate(ascii_uppercase, start=first)).get(number)
    if letter not in choices:
        raise Reject("bad_answer", f"answer {number} is no option when counted from {first}")
    return letter


def _by_letter(given: Any, choices: Mapping[str, str]) -> str:
    letters = set(
        "".join(given) if isinstance(given, list) and all(isinstance(g, str) for g in given) else str(given)
    )
    letters = {letter.upper() for letter in letters} - set(" ,，、;；.")
    return "".join(sorted(letters)) if letters and letters <= choices.keys() else ""


def by_text(given: Any, choices: Mapping[str, str]) -> str:
    """The letter of the only option with this text, or ''."""
    letters = [letter for letter, text in choices.items() if text == given]
    return letters[0] if len(letters) == 1 else ""
