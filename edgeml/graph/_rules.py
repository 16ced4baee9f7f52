"""The table of gradient rules: one short function for each operator."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence
from typing import Any

from edgeml.graph._ir import Node, Tensor

Rule = Callable[..., Sequence[Tensor | None]]
"""``rule(node, *output_gradients) -> input_gradients``; None stands for zero, on both sides.

Missing entries at the end are None, too. A rule runs while the node's graph is being traced, so
``emit`` and Python's operators append to it. The walker accumulates, un-broadcasts and prunes.
"""
Lowering = Callable[[Node], Sequence[Tensor] | None]
"""``lowering(node) -> outputs``: the same values from operators that have rules; None declines."""

_rules: dict[tuple[str, str], Rule] = {}
_lowerings: dict[tuple[str, str], Lowering] = {}
_constant_ops: dict[tuple[str, str], str] = {}
_loaded = False


def rule(*ops: str, domain: str = "") -> Callable[[Rule], Rule]:
    """Register the gradient rule of the operators `ops`.

    Example:
        >>> from edgeml.graph import rule
        >>> @rule("Cube", domain="com.example")
        ... def cube(node, g):
        ...     return (g * 3.0 * node.x * node.x,)
    """

    def register(function: Rule) -> Rule:
        _rules.update({(domain, op): function for op in ops})
        return function

    return register


def lowering(*ops: str, domain: str = "") -> Callable[[Lowering], Lowering]:
    """Register how to write `ops` with operators that have gradient rules.

    The node is replaced before gradients are taken, in the training graph only.
    """

    def register(function: Lowering) -> Lowering:
        _lowerings.update({(domain, op): function for op in ops})
        return function

    return register


def no_grad(*ops: str, reason: str = "its output does not change smoothly") -> None:
    """Say that `ops` pass no gradient on, and why."""
    _constant_ops.update({("", op): reason for op in ops})


def find_rule(node: Node) -> Rule | None:
    """Return the rule of a node's operator, or None."""
    _load()
    return _rules.get((node.domain, node.op))


def find_lowering(node: Node) -> Lowering | None:
    """Return the lowering of a node's operator, or None.

    Where there is neither rule nor lowering, the standard's own definition is tried.
    """
    _load()
    key = (node.domain, node.op)
    if key in _rules or key in _lowerings or key in _constant_ops:
        return _lowerings.get(key)
    from edgeml.graph._expand import expand

    return expand


def passes_no_gradient(node: Node) -> bool:
    """Return whether the operator is known to have no gradient."""
    _load()
    return (node.domain, node.op) in _constant_ops


def supported_ops() -> dict[str, str]:
    """Return each operator that gradients know, with how: "rule", "lowered", or why there is none.

    Example:
        >>> from edgeml.graph import supported_ops
        >>> supported_ops()["Conv"]
        'rule'
    """
    _load()
    label = {key: (f"{key[0]}::" if key[0] else "") + key[1] for key in
             (*_rules, *_lowerings, *_constant_ops) if key[0] != "edgeml"}  # fmt: skip
    found = {label[key]: f"none: {why}" for key, why in _constant_ops.items() if key in label}
    found |= {label[key]: "lowered" for key in _lowerings if key in label}
    found |= {label[key]: "rule" for key in _rules if key in label}
    return dict(sorted(found.items()))


def _load() -> None:
    global _loaded
    if not _loaded:
        _loaded = True
        from edgeml.graph import rules

        for module in pkgutil.iter_modules(rules.__path__):
            importlib.import_module(f"{rules.__name__}.{module.name}")


def attributes_of(node: Node, *names: str) -> dict[str, Any]:
    """Return those of a node's attributes that are set, for a node that takes them over."""
    return {name: node.attributes[name] for name in names if name in node.attributes}
