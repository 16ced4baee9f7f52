"""Chains: lists of steps, with `|` as sugar."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from edgeml.errors import GraphError

Step = Any  # a Source or Head, a Stage, an Operator, a Sink, or a plain callable


class Composable:
    """Anything that ``|`` works on: a source, a stage, a sink, an operator, a chain."""

    def steps(self) -> tuple[Step, ...]:
        """Return the steps that this stands for; itself, unless overridden."""
        return (self,)

    def pipe(self, *steps: Step) -> Any:
        """Return the chain of this and the steps after it; ``a | b`` is ``a.pipe(b)``.

        A chain that starts with a source is a `Pipeline`, which can run.
        """
        from edgeml.streams._pipeline import Pipeline

        chain = Chain([*self.steps(), *flatten(steps)])
        return Pipeline(chain) if chain.has_head else chain

    def __or__(self, step: Step) -> Any:
        return self.pipe(step)

    def map(self, fn: Callable[[Any], Any], **options: Any) -> Any:
        """Append a stage that maps each item: ``a.map(f)`` is ``a | stage(f)``."""
        from edgeml.streams._operators import map as map_

        return self.pipe(map_(fn, **options))

    def filter(self, predicate: Callable[[Any], Any], **options: Any) -> Any:
        """Append a stage that keeps the items for which `predicate` is true."""
        from edgeml.streams._operators import filter as filter_

        return self.pipe(filter_(predicate, **options))

    def flat_map(self, fn: Callable[[Any], Iterable[Any]], **options: Any) -> Any:
        """Append a stage that turns each item into any number of items."""
        from edgeml.streams._operators import flat_map

        return self.pipe(flat_map(fn, **options))

    def take(self, n: int) -> Any:
        """Append a stage that lets `n` items pass and then ends the stream."""
        from edgeml.streams._operators import take

        return self.pipe(take(n))


class Chain(Composable):
    """Steps one after another."""

    def __init__(self, steps: Iterable[Step]) -> None:
        self._steps = tuple(flatten(steps))

    def steps(self) -> tuple[Step, ...]:
        """Return the steps."""
        return self._steps

    @property
    def has_head(self) -> bool:
        """Whether it starts with something that yields items by itself."""
        return bool(self._steps) and is_head(self._steps[0])

    def __repr__(self) -> str:
        return " | ".join(getattr(step, "name", type(step).__name__) for step in self._steps)


def is_head(step: Step) -> bool:
    """Whether a step yields items by itself: a source, a merge, a join."""
    from edgeml.streams._join import Head
    from edgeml.streams._source import Source

    return isinstance(step, Source | Head)


def flatten(parts: Iterable[Step]) -> list[Step]:
    """Turn chains, lists, plain callables and async iterables into a flat list of steps.

    Raises:
        GraphError: a part is nothing that can be a step.
    """
    from edgeml.streams._stage import as_stage

    flat: list[Step] = []
    for part in parts:
        if isinstance(part, Composable):
            own = part.steps()
            flat.extend(own if own == (part,) else flatten(own))
        elif isinstance(part, type) and issubclass(part, Composable):
            name = part.__name__
            raise GraphError(f"{name} is a class; expected an object of it, such as {name}()")
        elif isinstance(part, list | tuple):
            flat.extend(flatten(part))
        elif callable(part):
            flat.append(as_stage(part))
        else:
            raise GraphError(
                f"{part!r} cannot be a step of a pipeline: expected a source, a stage, a sink or "
                f"a callable, received {type(part).__name__}"
            )
    return flat
