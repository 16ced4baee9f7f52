"""The `edgeml.*` keys in a model's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgeml.errors import ModelFormatError

SCHEMA = 1


@dataclass(frozen=True)
class Metadata:
    """What a model says of itself under `edgeml.*`.

    Attributes:
        task: ``"image-classification"``, ``"object-detection"`` …; "" when not said.
        labels: Names of the classes in the order of the output.
        preprocess: How an input is made of a picture, sound or motion; see the table of the
            shipped models.
        postprocess: Which output holds what.
        state: Input to output, for the state of a recurrent model.
        license: SPDX name.
        origin: Where the weights come from.
        props: All keys of the file, unread ones too.
    """

    task: str = ""
    labels: tuple[str, ...] = ()
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    postprocess: Mapping[str, Any] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    license: str = ""
    origin: str = ""
    props: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, props: Mapping[str, str], path: str = "") -> Metadata:
        """Read the keys.

        Raises:
            ModelFormatError: a key is not what it should be, or the schema is newer than ours.
        """
        schema = props.get("edgeml.schema", str(SCHEMA))
        if not schema.isdecimal() or int(schema) > SCHEMA:
            raise ModelFormatError(
                f"{path}: its metadata has edgeml.schema {schema!r}, and this edgeml reads up to "
                f"{SCHEMA}; install a newer edgeml-runtime",
                path=path,
            )
        labels = _read(props, "edgeml.labels", list, path) or []
        state = _read(props, "edgeml.state", dict, path) or {}
        if wrong := [value for value in state.values() if not isinstance(value, str)]:
            raise ModelFormatError(
                f"{path}: edgeml.state must name an output for each input; received {wrong[0]!r}",
                path=path,
            )
        return cls(
            task=props.get("edgeml.task", ""),
            labels=tuple(map(str, labels)),
            preprocess=_read(props, "edgeml.preprocess", dict, path) or {},
            postprocess=_read(props, "edgeml.postprocess", dict, path) or {},
            state=state,
            license=props.get("edgeml.license", ""),
            origin=props.get("edgeml.origin", ""),
            props=dict(props),
        )


def _read(props: Mapping[str, str], key: str, kind: type, path: str) -> Any:
    text = props.get(key)
    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelFormatError(f"{path}: {key} is not JSON: {error}", path=path) from error
    if not isinstance(value, kind):
        raise ModelFormatError(
            f"{path}: {key} must be a JSON {'list' if kind is list else 'object'}; received "
            f"{type(value).__name__}",
            path=path,
        )
    return value
