"""Optional libraries, imported when first used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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
        with _no_telemetry(module):
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs {module}, which is not installed ({error}): "
            f'pip install "edgeml-runtime[{extra}]"',
            extra=extra,
        ) from error


@contextmanager
def _no_telemetry(module: str) -> Iterator[None]:
    """Import ONNX Runtime with its telemetry off, unless the user has set it.

    The stock wheel collects and sends usage data unless this variable is set when it is imported.
    It is put back at once: the environment is the program's.
    """
    name = "ORT_DISABLE_TELEMETRY"
    first = module.partition(".")[0] == "onnxruntime" and "onnxruntime" not in sys.modules
    if not first or name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)
