"""Web addresses in texts."""

import re

URL = re.compile(
    r"(?:https?|ftp)[:：]//[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]+|(?<![A-Za-z0-9])www\.[A-Za-z0-9\-._~:/?#@!$&'*+,;=%]+",
    re.IGNORECASE,
)
