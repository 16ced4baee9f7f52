"""Sinks: where items leave the pipeline."""

from __future__ import annotations

from typing import Any

from edgeml.streams._chain import Composable
from edgeml.streams._stage import OnError


class Sink(Composable):
    """Delivers items to somewhere else; ends a chain.

    A subclass overrides `send`, and where it has something to acquire, `open` and
    `aclose`. `aclose` delivers what is still buffered before it returns.

    Args:
        name: Unique within a pipeline; by default the class's name in lower case.
        on_error: As for `Stage`.

    Example:
        >>> import asyncio
        >>> from edgeml.streams import Sink, Source
        >>> class Collect(Sink):
        ...     items = []
        ...     async def send(self, item):
        ...         self.items.append(item)
        >>> asyncio.run((Source.of("ab") | Collect()).run())
        >>> Collect.items
        ['a', 'b']
    """

    def __init__(self, *, name: str | None = None, on_error: OnError = "fail") -> None:
        self.name = name or type(self).__name__.lower()
        self.on_error: OnError = on_error

    async def open(self) -> None:
        """Acquire what the sink needs, before the first item."""

    async def send(self, item: Any) -> None:
        """Deliver one item; waiting here holds the stream back.

        Raises:
            SinkClosed: the sink was closed.
        """

    async def aclose(self) -> None:
        """Deliver what is buffered, then release what `open` acquired; idempotent."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"
