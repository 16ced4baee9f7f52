"""Boundaries that only the gradient sees; in a file they are Identity."""

from __future__ import annotations

from collections.abc import Sequence

from edgeml.graph._ir import Node, Tensor
from edgeml.graph._rules import _constant_ops, rule

_constant_ops["edgeml", "StopGradient"] = "it stops the gradient"


@rule("Held", domain="edgeml")
def held(node: Node, g: Tensor) -> Sequence[Tensor | None]:
    """The inside of a boundary: only its own gradient's gradient comes here."""
    return (g,)


@rule("CustomGradient", domain="edgeml")
def custom_gradient(node: Node, *gs: Tensor | None) -> Sequence[Tensor | None]:
    """Inputs are the values made, then the arguments; the attribute ``vjp`` is the user's rule."""
    found = node.attributes["vjp"](*gs)
    given = found if isinstance(found, (tuple, list)) else (found,)
    return (*[None] * len(node.outputs), *given)
