"""Stages: what is done with each item."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal, overload

from edgeml.errors import GraphError
from edgeml.streams._backoff import Backoff
from edgeml.streams._chain import Composable


class _Skip:
    """The type of `SKIP`."""

    def __repr__(self) -> str:
        return "SKIP"


SKIP = _Skip()
"""What a stage returns when an item ends here."""


@dataclass(frozen=True)
class Retry:
    """An error policy: try the same item again, then do what `then` says.

    Args:
        attempts: How often to try again after the first failure.
        backoff: Delays between attempts.
        then: What to do when all attempts failed.
    """

    attempts: int = 3
    backoff: Backoff = field(default_factory=lambda: Backoff(initial=0.1, maximum=5.0))
    then: Literal["fail", "skip"] = "fail"


OnError = Literal["fail", "skip"] | Retry
StageState = Literal["running", "fallback", "lost"]


class Stage(Composable):
    """Does something with each item: returns an item, `SKIP`, or a generator of items.

    A subclass overrides `__call__`, sync or async, and where it has something to acquire,
    `open` and `aclose`, sync (then run in a worker thread) or async. Sync stages run in
    worker threads, neighbours fused into one call; async stages run on the loop.

    A stage gets items as they come. When it gets a `Sample` and returns something else,
    that becomes the sample's data: times and source stay.

    Args:
        name: Unique within a pipeline; by default the class's name in lower case.
        concurrency: Calls in flight at once. Their results stay in order. Above 1 the
            stage must be thread-safe.
        on_error: ``"fail"`` ends the pipeline, ``"skip"`` counts the item as failed and
            goes on, `Retry` tries again first.
        timeout: Longest time for one item, seconds; after it the item has failed and a
            thread that hangs is abandoned.
        inline: Run on the loop, without a thread: for work of a few microseconds.

    Example:
        >>> import asyncio
        >>> from edgeml.streams import Source, Stage
        >>> class Double(Stage):
        ...     def __call__(self, item):
        ...         return item * 2
        >>> async def main():
        ...     return [item async for item in Source.of([1, 2]) | Double()]
        >>> asyncio.run(main())
        [2, 4]
    """

    # Tells the pipeline that what the stage works with has gone or come back; from any thread.
    _listener: Callable[[StageState, StageState, str], None] | None = None

    def __init__(
        self,
        *,
        name: str | None = None,
        concurrency: int = 1,
        on_error: OnError = "fail",
        timeout: float | None = None,
        inline: bool = False,
    ) -> None:
        self.name = name or type(self).__name__.lower()
        if concurrency < 1:
            raise GraphError(
                f"stage {self.name!r}: concurrency must be at least 1; received {concurrency}"
            )
        if not (on_error in ("fail", "skip") or isinstance(on_error, Retry)):
            raise GraphError(
                f'stage {self.name!r}: on_error must be "fail", "skip" or Retry(...); '
                f"received {on_error!r}"
            )
        if timeout is not None and not timeout > 0:
            raise GraphError(
                f"stage {self.name!r}: timeout must be positive seconds; received {timeout!r}"
            )
        self.concurrency = concurrency
        self.on_error: OnError = on_error
        self.timeout = timeout
        self.inline = inline

    @property
    def is_async(self) -> bool:
        """Whether a call returns an awaitable or an async generator."""
        return is_async_callable(type(self).__call__)

    def replacement(self, new: Any) -> Stage:
        """Return the stage that takes this one's place; see `Pipeline.swap`.

        Args:
            new: What `Pipeline.swap` was given: a stage or a callable here; a subclass may
                take more, as tasks take models.

        Raises:
            GraphError: it is neither.
        """
        if not callable(new):
            raise GraphError(
                f"swap: {self.name!r} is no task with a model; expected a stage or a function, "
                f"received {new!r}"
            )
        first = as_stage(new).steps()[0]  # what smooths or tracks after a task stays as it is
        assert isinstance(first, Stage)
        return first

    def open(self) -> Awaitable[None] | None:
        """Acquire what the stage needs, before the first item."""
        return None

    def __call__(self, item: Any) -> Any:
        """Process one item."""
        return item

    def aclose(self) -> Awaitable[None] | None:
        """Release what `open` acquired; idempotent."""
        return None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class FunctionStage(Stage):
    """A stage made of a callable; see `stage`."""

    def __init__(self, fn: Callable[[Any], Any], **options: Any) -> None:
        name = options.pop("name", None) or _name_of(fn)
        super().__init__(name=name, **options)
        self.fn = fn
        functools.update_wrapper(self, fn, updated=())

    @property
    def is_async(self) -> bool:
        """Whether a call returns an awaitable or an async generator."""
        return is_async_callable(self.fn)

    def __call__(self, item: Any) -> Any:
        """Process one item."""
        return self.fn(item)


@overload
def stage(fn: Callable[[Any], Any], /) -> FunctionStage: ...
@overload
def stage(
    *,
    name: str | None = ...,
    concurrency: int = ...,
    on_error: OnError = ...,
    timeout: float | None = ...,
    inline: bool = ...,
) -> Callable[[Callable[[Any], Any]], FunctionStage]: ...


def stage(fn: Callable[[Any], Any] | None = None, /, **options: Any) -> Any:
    """Make a stage of a function, sync or async; a decorator with or without options.

    The options are those of `Stage`. A plain function in a pipeline is a stage with
    default options, so this is needed only to set some.

    Example:
        >>> from edgeml.streams import stage
        >>> @stage(concurrency=2, on_error="skip")
        ... def parse(line):
        ...     return float(line)
        >>> parse("1.5")
        1.5
    """
    if fn is None:
        return functools.partial(FunctionStage, **options)
    return FunctionStage(fn, **options)


def as_stage(fn: Any) -> Stage:
    """Return `fn` if it is a stage, else a stage that calls it."""
    return fn if isinstance(fn, Stage) else FunctionStage(fn)


def is_async_callable(fn: Any) -> bool:
    """Whether calling `fn` gives an awaitable or an async generator."""
    while isinstance(fn, functools.partial):
        fn = fn.func
    candidates = (fn, getattr(fn, "__call__", None))  # noqa: B004 - an object with async __call__
    return any(inspect.iscoroutinefunction(c) or inspect.isasyncgenfunction(c) for c in candidates)


def _name_of(fn: Any) -> str:
    while isinstance(fn, functools.partial):
        fn = fn.func
    name = getattr(fn, "__name__", None) or type(fn).__name__.lower()
    return "lambda" if name == "<lambda>" else str(name)
