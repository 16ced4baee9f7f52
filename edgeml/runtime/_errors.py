"""The one border at which the errors of ONNX Runtime and LiteRT become ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType

from edgeml.errors import (
    DelegateError,
    EdgeMLError,
    InputError,
    ModelError,
    ModelFormatError,
    ModelNotFound,
)  # fmt: skip

# By class name: importing the classes would import the whole runtime.
ORT_ERRORS = MappingProxyType(
    {
        "DeviceReset": DelegateError,
        "EPFail": DelegateError,
        "EngineError": DelegateError,
        "Fail": ModelError,
        "InvalidArgument": InputError,
        "InvalidGraph": ModelFormatError,
        "InvalidProtobuf": ModelFormatError,
        "ModelLoadCanceled": ModelError,
        "ModelLoaded": ModelError,
        "ModelRequiresCompilation": DelegateError,
        "NoModel": ModelFormatError,
        "NoSuchFile": ModelNotFound,
        "NotFound": ModelFormatError,
        "NotImplemented": ModelFormatError,
        "RuntimeException": ModelError,
    }
)

# "[ONNXRuntimeError] : 1 : FAIL : /path/file.cc:46 void f(int) What happened"
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_PLUGIN = "[OpenVINO-EP] "  # what it says itself comes behind pages of C++
_RAISED = re.compile(r"Exception from \S+:\d+: ?")
_PLACE = re.compile(r"^/\S+:\d+ .*?\)(?: const)? (?=[A-Z\[])")


@contextmanager
def translated(path: str, *, loading: bool = False) -> Iterator[None]:
    """Turn a runtime's errors into ours; while loading, all are about the file.

    Beside classes of its own, ONNX Runtime raises RuntimeError and ValueError, as LiteRT does.
    """
    try:
        yield
    except Exception as error:
        kind = _kind(error)
        if kind is None:
            raise
        if loading and issubclass(kind, ModelError) and not issubclass(kind, ModelNotFound):
            kind = ModelFormatError
        raise kind(f"{path}: {reason(error)}{_advice(error)}", path=path) from error


def _kind(error: Exception) -> type[EdgeMLError] | None:
    if type(error).__module__.startswith("onnxruntime"):
        return ORT_ERRORS.get(type(error).__name__, ModelError)
    return ModelError if error.__class__ in (RuntimeError, ValueError) else None


def reason(error: Exception) -> str:
    """Cut the runtime's own code and source line off its message."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = _RAISED.sub("", text.rpartition(_PLUGIN)[2])
    return _PLACE.sub("", _CODE.sub("", text)).rstrip(".")


def _advice(error: Exception) -> str:
    text = str(error)
    if "opset" in text or "IR version" in text:
        return ". Export the model for an older opset, or install a newer onnxruntime"
    if "No Op registered" in text or "Could not find an implementation" in text:
        return ". Export the model without this operator, or install a newer onnxruntime"
    if type(error).__name__ in ("InvalidProtobuf", "NoModel"):
        return ". The file is truncated or is no ONNX model"
    if type(error).__name__ in ("DeviceReset", "EPFail", "EngineError"):
        return (
            ". The delegate's device failed or has gone: load the model again, or put cpu behind "
            "the delegate"
        )
    return ""
