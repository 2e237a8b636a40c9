"""One file per family of personal data. A detector ``NAME.py`` has

    LABELS: dict[str, tuple[str, str]]
                    the types that it finds: what the placeholder says in Chinese and in English
    RANK: int       who wins where two detectors find the very same text: 0 with a check digit, 1 by a key word in
                    front, 2 by its form, 3 by words
    HINTS: tuple[re.Pattern, ...]
                    a text in which none of them is found holds nothing for this detector. Fast: each begins with a
                    literal or one set of characters
    find(text) -> Iterator[Span]
                    ``text`` has ASCII digits and letters where the original has full-width ones
    surrogate(value, type, dice) -> str
                    something of the same form that belongs to nobody, by choices of ``dice`` only
    IN_PLACE = True (optional)
                    what ``surrogate`` gives is safe and useful, so that it stands in for a placeholder too: a shifted
                    date, "90+"

Chinese has no spaces, and Chinese characters are word characters to ``re``: boundaries are written as
``(?<!…)`` and ``(?!…)``, never as a backslash b.
"""
