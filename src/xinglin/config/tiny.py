"""The names of small random models: ``tiny:ARCHITECTURE[:WIDTHxLAYERS]``."""

import re
from typing import NamedTuple

from xinglin.errors import ModelError
from xinglin.plugins import nearest

ARCHITECTURES = ("qwen3", "llama", "glm4", "bloom")
HEAD_WIDTH = 32


class Tiny(NamedTuple):
    architecture: str
    width: int
    layers: int


def is_tiny(spec: str) -> bool:
    return spec.startswith("tiny:")


def parse_tiny(spec: str) -> Tiny:
    """``tiny:qwen3`` is 4 layers of width 192; ``tiny:qwen3:256x6`` is 6 layers of width 256.

    Raises:
        ModelError: not of that form, an unknown architecture, or a width that is no multiple of 64.
    """
    match = re.fullmatch(r"tiny:([a-z0-9]+)(?::(\d+)x(\d+))?", spec)
    if match is None:
        example = "write tiny:ARCHITECTURE or tiny:ARCHITECTURE:WIDTHxLAYERS, e.g. tiny:qwen3:192x4"
        raise ModelError(f"'{spec}' names no tiny model; {example}")
    found = Tiny(match[1], int(match[2] or 192), int(match[3] or 4))
    if found.architecture not in ARCHITECTURES:
        raise ModelError(
            f"'{spec}' names an unknown architecture; {nearest(found.architecture, ARCHITECTURES)}"
        )
    if not found.width or found.width % (2 * HEAD_WIDTH) or not found.layers:
        cure = f"take a width that is a multiple of {2 * HEAD_WIDTH} and at least 1 layer"
        raise ModelError(f"'{spec}' has an impossible shape; {cure}")
    return found
