"""Ending for good what may swallow a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 2.0  # seconds until a task that was cancelled is cancelled again


async def insist(doing: Awaitable[T]) -> T:
    """Await, and raise the cancellation that what is awaited has swallowed.

    asyncio.wait_for may swallow one before Python 3.12, and so may a library that uses it.
    """
    task = asyncio.current_task()
    asked = task.cancelling() if task is not None else 0
    result = await doing
    if task is not None and task.cancelling() > asked:
        raise asyncio.CancelledError
    return result


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel a task, again and again until it has ended."""
    task.cancel()
    while not (await asyncio.wait([task], timeout=PATIENCE))[0]:
        task.cancel()
