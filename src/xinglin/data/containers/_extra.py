"""Libraries that only some kinds of files need."""

import importlib
from types import ModuleType

from xinglin.errors import DataError


def load(module: str) -> ModuleType:
    """Raises: DataError, when it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise DataError(
            f"this kind of file needs {package}, which is not installed: pip install 'xinglin[files]'"
        ) from error
