"""Which models are chat models: they forget how to converse when they are trained on documents alone."""

import json
import re
from pathlib import Path

from xinglin.config.tiny import is_tiny

CHAT_STAGES = ("sft", "dpo", "ppo", "grpo", "rloo")
"""Kinds of stage that make a chat model of any."""
_SAYS_CHAT, _SAYS_BASE = {"chat", "instruct", "it"}, {"base", "pt"}


def chat_sign(model: str) -> str | None:
    """What tells that a model is a chat model; None for one that is none, or of which nothing is known here.

    Some base models come with the chat template of their family: a name that says ``base`` counts more.

    Args:
        model: a folder, that of an artifact too, ``hub:org/name`` or ``tiny:architecture``.
    """
    if (made := _file(model, "artifact.json")) is not None:
        kind = json.loads(made.read_text(encoding="utf-8")).get("stage_kind")
        return f"{kind} trained it" if kind in CHAT_STAGES else None
    words = set(re.split(r"[^a-z0-9]+", model.rstrip("/").rpartition("/")[2].lower()))
    if is_tiny(model) or words & _SAYS_BASE:
        return None
    if words & _SAYS_CHAT:
        return "its name says so"
    return "its tokenizer has a chat template" if _has_template(model) else None


def _has_template(model: str) -> bool:
    if (settings := _file(model, "tokenizer_config.json")) is not None:
        try:
            if json.loads(settings.read_text(encoding="utf-8")).get("chat_template"):
                return True
        except ValueError:
            return False  # whoever loads the tokenizer says what is wrong
    return _file(model, "chat_template.jinja") is not None


def _file(model: str, name: str) -> Path | None:
    """A file of a model that is on this machine."""
    if not model.startswith("hub:"):
        path = Path(model).expanduser() / name
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model.removeprefix("hub:"), name)
    return Path(found) if isinstance(found, str) else None
