"""Which outputs of a model are the next call's inputs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from edgeml.errors import ModelError
from edgeml.runtime._spec import Dim, TensorSpec

# How exporters name a state's output after its input.
_PATTERNS = ("{}N", "{}n", "{}_out", "{}_n", "new_{}", "{}_new", "next_{}", "{}_next")

# Only such inputs: "audio" -> "audio_out" is no state.
_STATE_LIKE = re.compile(
    r"state|hidden|cell|cache|carry|memory|lstm|gru|rnn|(^|_)[hc][0-9]*(_|$)", re.IGNORECASE
)


def find_state(
    declared: Mapping[str, str],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    path: str,
) -> dict[str, str]:
    """Return the state as {input: output}: what the metadata says, else what the names say.

    Raises:
        ModelError: there is no state, or the metadata names what the model does not have.
    """
    pairs = dict(declared) or _by_name(inputs, outputs)
    takes, returns = {spec.name for spec in inputs}, {spec.name for spec in outputs}
    if pairs and set(pairs) <= takes and set(pairs.values()) <= returns:
        return pairs
    found = f"it names {json.dumps(pairs)}, which the model lacks" if pairs else "none is known"
    raise ModelError(
        f"{path}: a stream needs the model's state, and {found}. If it has one, name it in its "
        f"metadata: edgeml.state = {json.dumps({'INPUT': 'OUTPUT'})}; if not, use run(). Inputs: "
        f"{', '.join(spec.name for spec in inputs)}; outputs: "
        f"{', '.join(spec.name for spec in outputs)}",
        path=path,
    )


def _by_name(inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> dict[str, str]:
    by_name = {spec.name: spec for spec in outputs}
    found: dict[str, str] = {}
    for spec in filter(lambda spec: _STATE_LIKE.search(spec.name), inputs):
        stem = re.sub(r"(_in|_?0)$", "", spec.name)
        names = [pattern.format(s) for s in (spec.name, stem) for pattern in _PATTERNS]
        fitting = [name for name in names if name in by_name and _fits(spec, by_name[name])]
        if fitting:
            found[spec.name] = fitting[0]
    return found


def _fits(one: TensorSpec, other: TensorSpec) -> bool:
    return (
        one.dtype == other.dtype
        and len(one.shape) == len(other.shape)
        and all(map(_same, one.shape, other.shape))
    )


def _same(one: Dim, other: Dim) -> bool:
    return one == other or not (isinstance(one, int) and isinstance(other, int))
