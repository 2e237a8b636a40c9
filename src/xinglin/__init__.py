"""xinglin (杏林): turn an open language model into a medical one, and prove it.

xinglin.run("recipes/tiny.yaml")
xinglin.load("runs/tiny").chat([{"role": "user", "content": "…"}])
xinglin.score("answers.jsonl", model="runs/tiny")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xinglin.api import check as check
    from xinglin.api import load as load
    from xinglin.api import run as run
    from xinglin.api import score as score

__version__ = "0.1.0"
__all__ = ["__version__", "check", "load", "run", "score"]


def __getattr__(name: str) -> Any:
    """``run``, ``load``, ``check`` and ``score``, imported on first use: ``import xinglin`` costs nothing."""
    if name in ("check", "load", "run", "score"):
        from xinglin import api

        return getattr(api, name)
    raise AttributeError(f"module 'xinglin' has no attribute '{name}'")
