"""Whether one model can stand where another stood."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeml.runtime._session import Session
from edgeml.runtime._spec import Dim, TensorSpec


@dataclass(frozen=True)
class Signature:
    """What a model takes and gives.

    Attributes:
        inputs: What it takes.
        outputs: What it gives.
        preprocess: How its inputs are made, by its metadata.
    """

    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    preprocess: Mapping[str, Any]

    @classmethod
    def of(cls, session: Session) -> Signature:
        """Return the signature of a loaded model."""
        return cls(session.inputs, session.outputs, session.metadata.preprocess)

    def differences(
        self, new: Signature, *, described: bool, grid: bool, outside: Iterable[str]
    ) -> list[str]:
        """Return in words why the new model cannot stand where this one stood; [] if it can.

        Args:
            new: The other model's.
            described: Whether inputs are made as the metadata says. Then their sizes and
                dtypes may differ where the metadata does.
            grid: Whether the sizes of the outputs follow those of the inputs.
            outside: Keys of the preprocessing that may not differ, since they tell what comes
                from outside.
        """
        made_anew = described and self.preprocess != new.preprocess
        found = list(_compare("input", self.inputs, new.inputs, sizes=not made_anew, takes=True))
        found += _compare(
            "output", self.outputs, new.outputs, sizes=not (made_anew and grid), takes=False
        )
        if described:
            for key in outside:
                if (old := self.preprocess.get(key)) != (received := new.preprocess.get(key)):
                    found.append(f"preprocess {key}: expected {old}, received {received}")
        return found


def _compare(
    kind: str, old: Sequence[TensorSpec], new: Sequence[TensorSpec], *, sizes: bool, takes: bool
) -> Iterator[str]:
    """Yield what differs in the inputs or the outputs, by name."""
    found = {spec.name: spec for spec in new}
    for spec in old:
        if (other := found.pop(spec.name, None)) is None:
            there = ", ".join(other.name for other in new) or "none"
            yield f"{kind} {spec.name!r} is missing, there is {there}"
        elif not _fits(spec, other, sizes, takes):
            yield f"{kind} {spec.name!r}: expected {_said(spec)}, received {_said(other)}"
    if takes:  # one more output harms nobody
        yield from (f"{kind} {name!r} is new" for name in found)


def _fits(old: TensorSpec, new: TensorSpec, sizes: bool, takes: bool) -> bool:
    if len(old.shape) != len(new.shape):
        return False
    if not sizes:
        # An input is made as the new model's metadata says; an output is read as before.
        return takes or old.dtype == new.dtype
    return old.dtype == new.dtype and all(map(_same, old.shape, new.shape))


def _same(old: Dim, new: Dim) -> bool:
    """Whether two dimensions fit; of one that is free, only a run can tell."""
    return old == new or not (isinstance(old, int) and isinstance(new, int))


def _said(spec: TensorSpec) -> str:
    return str(spec).partition(": ")[2]
