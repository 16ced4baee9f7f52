"""The one border at which ONNX Runtime's errors become ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType

from edgeml.errors import InputError, ModelError, ModelFormatError, ModelNotFound

# By class name: importing the classes would import the whole runtime.
ORT_ERRORS = MappingProxyType(
    {
        "DeviceReset": ModelError,
        "EPFail": ModelError,
        "EngineError": ModelError,
        "Fail": ModelError,
        "InvalidArgument": InputError,
        "InvalidGraph": ModelFormatError,
        "InvalidProtobuf": ModelFormatError,
        "ModelLoadCanceled": ModelError,
        "ModelLoaded": ModelError,
        "ModelRequiresCompilation": ModelError,
        "NoModel": ModelFormatError,
        "NoSuchFile": ModelNotFound,
        "NotFound": ModelFormatError,
        "NotImplemented": ModelFormatError,
        "RuntimeException": ModelError,
    }
)


@contextmanager
def translated(path: str, *, loading: bool) -> Iterator[None]:
    """Turn ONNX Runtime's errors into ours; while loading, all are about the file."""
    try:
        yield
    except Exception as error:
        kind = ORT_ERRORS.get(type(error).__name__)
        if kind is None or not type(error).__module__.startswith("onnxruntime"):
            raise
        if loading and not issubclass(kind, ModelNotFound):
            kind = ModelFormatError
        raise kind(f"{path}: {_reason(error)}{_advice(error)}", path=path) from error


def _reason(error: Exception) -> str:
    """Cut the runtime's own code and source line off its message."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text.split(" : ", 2)[-1] if text.startswith("[ONNXRuntimeError]") else text


def _advice(error: Exception) -> str:
    text = str(error)
    if "opset" in text or "ir_version" in text or "IR version" in text:
        return " (convert the model to an older opset, or install a newer onnxruntime)"
    if type(error).__name__ in ("InvalidProtobuf", "NoModel"):
        return " (the file is truncated or is no ONNX model)"
    return ""
