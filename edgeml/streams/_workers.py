"""Worker threads for blocking calls, made for one owner and gone with it."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

R = TypeVar("R")


_all: weakref.WeakSet[Workers] = weakref.WeakSet()

_EXIT_TIME = 2.0  # seconds that calls which run may take to return when the program ends


class _Call:
    """One call: `hung` is set when its waiter gave it up and a new thread took its place."""

    __slots__ = ("args", "fn", "future", "hung", "loop")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
        fn: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> None:
        self.loop = loop
        self.future = future
        self.fn = fn
        self.args = args
        self.hung = False


class Workers:
    """`n` daemon threads that serve one queue in order.

    Why not `ThreadPoolExecutor`: its threads are joined when the interpreter exits, so a
    driver that hangs would keep the program from ending; and a hop through
    `concurrent.futures` costs several lock operations that a future of the loop's own
    does not need.
    """

    def __init__(self, n: int, name: str) -> None:
        self._queue: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._name = name
        self._n = n
        self._threads: list[threading.Thread] = []
        self._calls: dict[asyncio.Future[Any], _Call] = {}
        self._alive = 0
        self._gone: asyncio.Future[None] | None = None
        _all.add(self)
        self.hung = 0

    def submit(self, fn: Callable[..., R], *args: Any) -> asyncio.Future[R]:
        """Queue a call from the loop's thread; its result arrives on the loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        call = _Call(loop, future, fn, args)
        self._calls[future] = call
        if len(self._threads) < self._n:
            self._spawn()
        self._queue.put(call)
        return future

    def _spawn(self) -> None:
        name = f"{self._name}-{len(self._threads)}"
        loop = asyncio.get_running_loop()
        thread = threading.Thread(target=self._serve, args=(loop,), name=name, daemon=True)
        self._threads.append(thread)
        self._alive += 1
        thread.start()

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._serve_calls()
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._thread_ended)

    def _thread_ended(self) -> None:
        self._alive -= 1
        if self._alive == 0 and self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _serve_calls(self) -> None:
        while (call := self._queue.get()) is not None:
            if call.future.cancelled():
                self._calls.pop(call.future, None)
                continue
            try:
                result, error = call.fn(*call.args), None
            except BaseException as caught:  # it is the waiter's to handle, whatever it is
                result, error = None, caught
            # The loop may have closed while the call ran; then nobody waits.
            with contextlib.suppress(RuntimeError):
                call.loop.call_soon_threadsafe(self._settle, call, result, error)
            hung = call.hung
            del call, result, error  # don't hold a frame while waiting for the next call
            if hung:
                return

    def _settle(self, call: _Call, result: Any, error: BaseException | None) -> None:
        self._calls.pop(call.future, None)
        if call.hung:
            self.hung -= 1
        if call.future.done():
            return
        if error is None:
            call.future.set_result(result)
        elif isinstance(error, StopIteration):  # a future refuses to carry one
            call.future.set_exception(RuntimeError("the call raised StopIteration"))
        else:
            call.future.set_exception(error)

    def abandon(self, future: asyncio.Future[Any]) -> None:
        """Give up a call that hangs: another thread takes over, this one ends with its call."""
        call = self._calls.pop(future, None)
        future.cancel()
        if call is not None and not call.hung:
            call.hung = True
            self.hung += 1
            self._n += 1
            self._spawn()

    def close(self) -> None:
        """Let the threads end after the calls queued so far; idempotent, does not wait."""
        for _ in self._threads:
            self._queue.put(None)

    async def aclose(self, timeout: float) -> bool:
        """Close, and wait for the threads to end; return whether all did."""
        self.close()
        if self._alive:
            self._gone = asyncio.get_running_loop().create_future()
            await asyncio.wait([self._gone], timeout=timeout)
        if self._alive:
            return False
        for thread in self._threads:
            thread.join(0.1)  # it has said so already: this is the last of its frames
        return True


@atexit.register
def _leave_native_code() -> None:
    """Let calls that run return: a thread inside a C++ library aborts an interpreter that ends."""
    deadline = time.monotonic() + _EXIT_TIME
    for workers in list(_all):
        workers.close()
        for thread in workers._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
