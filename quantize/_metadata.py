"""The ``edgeml.*`` entries of a model's metadata_props."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from edgeml.errors import ModelFormatError
from edgeml.quantize._model import Model, read

_PREFIX = "edgeml."
_SCHEMA = "1"


def set_metadata(model: Model | str | os.PathLike[str], values: Mapping[str, Any]) -> Model:
    """Write values under ``edgeml.*`` keys; ``edgeml.schema`` is always written.

    1. A string is stored as it is.
    2. Anything else is stored as JSON.
    3. A key that is there is replaced; None removes it; other keys are kept.

    Args:
        model: Path or ``onnx.ModelProto``.
        values: {key without the prefix: value}, such as ``{"labels": ["cat", "dog"]}``.

    Raises:
        ModelFormatError: a value cannot be stored as JSON.

    Example:
        >>> import edgeml
        >>> from edgeml.layers import Conv2D
        >>> net = edgeml.Sequential([edgeml.Input((8, 8, 3)), Conv2D(4, 3)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> from edgeml.quantize import get_metadata, set_metadata
        >>> model = set_metadata("/tmp/edgeml-example.onnx", {"labels": ["cat", "dog"]})
        >>> get_metadata(model)["labels"]
        ['cat', 'dog']
    """
    model = read(model)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    for key, value in {"schema": _SCHEMA, **values}.items():
        if value is None:
            entries.pop(_PREFIX + key, None)
            continue
        try:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError) as error:
            raise ModelFormatError(f"metadata {key!r} cannot be JSON: {error}") from error
        entries[_PREFIX + key] = text
    del model.metadata_props[:]
    for key, text in sorted(entries.items()):
        model.metadata_props.add(key=key, value=text)
    return model


def get_metadata(model: Model | str | os.PathLike[str]) -> dict[str, Any]:
    """Read the ``edgeml.*`` entries: {key without the prefix: value}.

    1. A value that starts as a JSON list or object does is parsed.
    2. Any other value is a string.

    Args:
        model: Path or ``onnx.ModelProto``.

    Raises:
        ModelFormatError: an entry that starts like JSON is not.

    Example:
        >>> import edgeml
        >>> from edgeml.layers import Conv2D
        >>> net = edgeml.Sequential([edgeml.Input((8, 8, 3)), Conv2D(4, 3)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> from edgeml.quantize import get_metadata
        >>> get_metadata("/tmp/edgeml-example.onnx")["schema"]
        '1'
    """
    found: dict[str, Any] = {}
    for entry in read(model).metadata_props:
        if not entry.key.startswith(_PREFIX):
            continue
        try:
            is_json = entry.value[:1] in ("[", "{")
            found[entry.key.removeprefix(_PREFIX)] = (
                json.loads(entry.value) if is_json else entry.value
            )
        except ValueError as error:
            raise ModelFormatError(f"metadata {entry.key!r} is not valid JSON: {error}") from error
    return found
