"""Nested tuples, lists and dicts of values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def leaves(tree: Any) -> list[Any]:
    """Return the values of a nested structure, in order; None holds no value."""
    if tree is None:
        return []
    if isinstance(tree, (tuple, list)):
        return [leaf for branch in tree for leaf in leaves(branch)]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in leaves(tree[key])]
    return [tree]


def map_leaves(fn: Callable[[Any], Any], tree: Any) -> Any:
    """Return the same structure with `fn` of each value."""
    if tree is None:
        return None
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_leaves(fn, branch) for branch in tree))
    if isinstance(tree, (tuple, list)):
        return type(tree)(map_leaves(fn, branch) for branch in tree)
    if isinstance(tree, dict):
        return {key: map_leaves(fn, tree[key]) for key in sorted(tree)}
    return fn(tree)


def refill(tree: Any, values: Iterator[Any]) -> Any:
    """Return the same structure with the next of `values` in each place."""
    return map_leaves(lambda _leaf: next(values), tree)
