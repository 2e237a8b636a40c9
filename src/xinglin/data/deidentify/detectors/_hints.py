"""Hints that several detectors share. Each begins with one set of characters, which lets ``re`` skip the rest fast.

A detector has few of them, since each is looked for in all of the text.
"""

import re

NUMBER = re.compile(r"\d[-\d .()（）]{5}")
"""Six characters in a row that numbers are made of."""
