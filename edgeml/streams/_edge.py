"""Edges: the bounded queues between steps, where all waiting and all dropping happens."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from edgeml.streams._counters import add_to
from edgeml.streams._sample import Sample


class EndOfStream(Exception):
    """No more items will come."""


class Abandoned(Exception):
    """Nobody takes the items any more."""


class Token:
    """Follows an item from the entrance to the end, to tell the entrance when it is through.

    Attributes:
        entered: Monotonic ns at which the item arrived.
        source: Name of the source that the item came from.
        refs: How many items in the pipeline stem from it.
        entrance: The lossy entrance that let it in, if any.
    """

    __slots__ = ("entered", "entrance", "refs", "source")

    def __init__(self, entered: int, source: str) -> None:
        self.entered = entered
        self.source = source
        self.refs = 1
        self.entrance: Entrance | None = None

    def release(self) -> None:
        """One item that stems from it has left the pipeline."""
        self.refs -= 1
        if self.refs == 0 and self.entrance is not None:
            self.entrance.leave()


Item = tuple[Any, Token, int]  # value, token, bytes
OnDrop = Callable[["Edge", Any, str, str], None]


def size_of(value: Any) -> int:
    """Return the bytes of an item's arrays; what is not an array counts as nothing."""
    data = value.data if type(value) is Sample else value
    if type(data) is list or type(data) is tuple:
        return sum(map(size_of, data))
    return getattr(data, "nbytes", 0)


class Edge:
    """A bounded queue with one reader: `put == got + dropped + queued` at any time.

    Args:
        origin: Name of the step that puts.
        target: Name of the step that gets.
        capacity: Most items.
        max_bytes: Most bytes of arrays; a single larger item passes when nothing else is
            queued.
        on_drop: Told of each drop: edge, value, cause, name of the source.
    """

    __slots__ = (
        "_getter", "_items", "_putters", "_writers", "abandoned", "bytes", "capacity",
        "dropped", "ended", "got", "max_bytes", "on_drop", "origin", "put_", "target",
    )  # fmt: skip

    def __init__(
        self, origin: str, target: str, capacity: int, max_bytes: int, on_drop: OnDrop
    ) -> None:
        self.origin = origin
        self.target = target
        self.capacity = capacity
        self.max_bytes = max_bytes
        self.on_drop = on_drop
        self.put_ = 0
        self.got = 0
        self.dropped: dict[str, int] = {}
        self.bytes = 0
        self.ended = False
        self.abandoned = False
        self._writers = 1
        self._items: deque[Item] = deque()
        self._getter: asyncio.Future[None] | None = None
        self._putters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put_nowait(self, value: Any, token: Token) -> bool:
        """Queue an item if there is room; return whether it was taken."""
        # Every hop goes through here and through get_nowait, so they call as little as they can.
        if self.abandoned:
            raise Abandoned
        size = size_of(value)
        items = self._items
        if items and (len(items) >= self.capacity or self.bytes + size > self.max_bytes):
            return False
        self.put_ += 1
        self.bytes += size
        items.append((value, token, size))
        if self._getter is not None:
            self._wake_getter()
        return True

    def _append(self, value: Any, token: Token, size: int) -> None:
        self.put_ += 1
        self.bytes += size
        self._items.append((value, token, size))
        if self._getter is not None:
            self._wake_getter()

    def _wake_getter(self) -> None:
        getter, self._getter = self._getter, None
        if getter is not None and not getter.done():
            getter.set_result(None)

    async def put(self, value: Any, token: Token) -> None:
        """Queue an item, waiting for room."""
        while not self.put_nowait(value, token):
            putter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._putters.append(putter)
            try:
                await putter
            except asyncio.CancelledError:
                # The room that was meant for this writer goes to the next one.
                if putter.done() and not putter.cancelled():
                    self._wake_putter()
                raise

    def get_nowait(self) -> Item | None:
        """Return the next item, or None when there is none to be had now."""
        return self._pop() if self._items else None

    def _pop(self) -> Item:
        item = self._items.popleft()
        self.bytes -= item[2]
        self.got += 1
        if self._putters:
            self._wake_putter()
        return item

    def _wake_putter(self) -> None:
        while self._putters:
            putter = self._putters.popleft()
            if not putter.done():
                putter.set_result(None)
                return

    async def get(self) -> Item:
        """Return the next item, waiting for it.

        Raises:
            EndOfStream: all writers have closed and nothing is queued.
        """
        while (item := self.get_nowait()) is None:
            if self.ended and not self._items:
                raise EndOfStream
            self._getter = asyncio.get_running_loop().create_future()
            await self._getter
        return item

    def add_writer(self) -> None:
        """Count one more writer that has to close."""
        self._writers += 1

    def close(self) -> None:
        """End the stream for one writer; what is queued can still be got."""
        self._writers -= 1
        if self._writers <= 0:
            self.ended = True
            self._wake_getter()

    def abandon(self, cause: str) -> None:
        """The reader has gone: drop what is queued and refuse more."""
        self.abandoned = True
        while self._items:
            self._drop_oldest(cause)
        while self._putters:
            self._wake_putter()

    def _drop_oldest(self, cause: str) -> None:
        value, token, size = self._items.popleft()
        self.bytes -= size
        self._count_drop(value, cause, token)
        token.release()

    def _count_drop(self, value: Any, cause: str, token: Token) -> None:
        add_to(self.dropped, cause)
        self.on_drop(self, value, cause, token.source)


class Entrance(Edge):
    """A lossy edge at the entrance: no work is done for an item that is dropped later.

    It never makes the source wait. It lets an item in when the steps behind it have room
    for it (see `limit`), and drops what is older than `max_age` by then ("stale"), what a
    newer item replaces ("superseded", `newest_wins`) or what finds no room ("overflow").

    Args:
        newest_wins: Keep only the newest item in waiting.
        max_age: Oldest age at which an item is let in, ns from arrival.
        limit: Returns how many items may be between here and the end at once.
    """

    __slots__ = ("in_flight", "limit", "max_age", "newest_wins")

    def __init__(
        self, *args: Any, newest_wins: bool, max_age: int, limit: Callable[[], int]
    ) -> None:
        super().__init__(*args)
        self.newest_wins = newest_wins
        self.max_age = max_age
        self.limit = limit
        self.in_flight = 0

    def put_nowait(self, value: Any, token: Token) -> bool:
        """Queue an item, dropping others if need be; always True."""
        if self.abandoned:
            raise Abandoned
        size = size_of(value)
        if self.newest_wins:
            while self._items:
                self._drop_oldest("superseded")
        while self._items and (
            len(self._items) >= self.capacity or self.bytes + size > self.max_bytes
        ):
            self._drop_oldest("overflow")
        self._append(value, token, size)
        return True

    def get_nowait(self) -> Item | None:
        """Return the next item that is young enough, if one more may be in flight."""
        if not self._items or self.in_flight >= self.limit():
            return None
        oldest = time.monotonic_ns() - self.max_age
        while self._items and self._items[0][1].entered < oldest:
            self._drop_oldest("stale")
        if not self._items:
            return None
        item = self._pop()
        item[1].entrance = self
        self.in_flight += 1
        return item

    def leave(self) -> None:
        """An item that was let in is through."""
        self.in_flight -= 1
        self._wake_getter()
