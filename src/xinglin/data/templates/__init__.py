"""The packaged chat templates: one plain Jinja file each, which any other tool reads as well."""

from pathlib import Path

from xinglin.errors import PluginError
from xinglin.plugins import nearest

_FOLDER = Path(__file__).parent


def template_names() -> tuple[str, ...]:
    """The packaged templates, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.jinja")))


def load_template(name: str) -> str:
    """The text of a packaged template.

    Raises:
        PluginError: no such template; the message names the nearest one.
    """
    if name not in template_names():
        raise PluginError(f"unknown chat template '{name}'; {nearest(name, template_names())}")
    return (_FOLDER / f"{name}.jinja").read_text(encoding="utf-8")
