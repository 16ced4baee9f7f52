"""Optional libraries, imported when first used."""

from __future__ import annotations

import importlib
from types import ModuleType

from edgeml.errors import MissingExtra


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or say which extra to install.

    Args:
        module: Name to import, such as ``"cv2"``.
        extra: The extra of ours that brings it.
        purpose: What needs it, as the subject of the error's sentence.

    Raises:
        MissingExtra: the library is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs {module}, which is not installed ({error}): "
            f'pip install "edgeml-runtime[{extra}]"',
            extra=extra,
        ) from error
