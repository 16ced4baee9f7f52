"""What all tasks share: a model that is loaded when needed, and its metadata."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgeml.errors import ModelError
from edgeml.platform import cores
from edgeml.streams import Sample, Stage

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session

Model = Any  # str | os.PathLike[str] | Session


class Task(Stage):
    """A stage with a model; the base of all tasks.

    The model is loaded when the pipeline starts, or with the first direct call.

    Args:
        model: Path, URL, ``"edgeml:NAME"`` for one that ships with edgeml, or a `Session`,
            which stays the caller's to close.
        labels: Names of the classes, instead of those in the model's metadata.
        delegate: As for `edgeml.load`.
        threads: Of one inference; more inferences in flight (`concurrency`) are faster.
        **options: As for `Stage`: name, concurrency, on_error, timeout.
    """

    task = ""  # what the model's metadata calls it

    def __init__(
        self,
        model: Model,
        *,
        labels: Sequence[str] | None = None,
        delegate: str = "auto",
        threads: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.model = model
        self._labels = None if labels is None else tuple(labels)
        self._delegate = delegate
        self._threads = threads
        self._session: Session | None = None
        self._lock = threading.Lock()

    def open(self) -> None:
        """Load the model and read its metadata; does nothing when that is done.

        Raises:
            ModelError: the model cannot be loaded, or is not made for this task.
        """
        with self._lock:
            if self._session is not None:
                return
            session = self._load()
            try:
                self._prepare(session)
            except BaseException:
                self._release(session)
                raise
            self._session = session

    def aclose(self) -> None:
        """Free the model; idempotent. A later call loads it again."""
        with self._lock:
            session, self._session = self._session, None
        if session is not None:
            self._release(session)

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        return ()

    @property
    def session(self) -> Session:
        """The loaded model."""
        if self._session is None:
            self.open()
        assert self._session is not None
        return self._session

    def _load(self) -> Session:
        from edgeml.runtime import load

        if isinstance(self.model, str | os.PathLike):
            return load(self.model, delegate=self._delegate, threads=self._threads)
        session: Session = self.model
        return session

    def _release(self, session: Session) -> None:
        if session is not self.model:
            session.close()

    def _prepare(self, session: Session) -> None:
        """Read what the task needs from the metadata."""

    def _check_task(self, session: Session, *arguments: str) -> None:
        """Refuse a model that says it is for something else."""
        said = session.metadata.task
        if said and said != self.task:
            raise ModelError(
                f"{self.name}: expected a model for {self.task}, received {session.path}, which "
                f"is for {said}. If its outputs fit, pass {' and '.join(arguments)}",
                path=session.path,
            )

    def _labels_of(self, session: Session, count: int | None = None) -> tuple[str, ...]:
        """Return one label a class; `count` is how many the output has, where that is known."""
        labels = self._labels if self._labels is not None else session.metadata.labels
        if not labels:
            raise ModelError(
                f"{self.name}: {session.path} does not name its classes; pass labels=[…]"
                + (f" with {count} names" if count else ""),
                path=session.path,
            )
        if count is not None and count != len(labels):
            raise ModelError(
                f"{self.name}: {session.path} has {count} classes, but there are {len(labels)} "
                f"labels; pass labels=[…] with {count} names",
                path=session.path,
            )
        return tuple(labels)


class FrameTask(Task):
    """A task that looks at one item at a time, with a step after it that remembers.

    Inference keeps nothing between items, so `concurrency` calls are in flight at once; what
    smooths or tracks follows in order, as a stage of its own.
    """

    def __init__(self, model: Model, *, concurrency: int | None = None, **options: Any) -> None:
        super().__init__(model, concurrency=concurrency or cores(), **options)
        self._after: Stage | None = None
        self._parts: tuple[Stage, ...] | None = None

    def steps(self) -> tuple[Stage, ...]:
        """Return the stages that this stands for."""
        if self._after is None:
            return (self,)
        if self._parts is None:
            self._parts = (_Inference(self), self._after)
        return self._parts

    def __call__(self, item: Any) -> Any:
        """Return the result for plain data, or the sample with the result as its data.

        Smoothing and tracking need times, so they apply to samples only.
        """
        result = self._infer_item(item)
        if self._after is not None and isinstance(result, Sample):
            return self._after(result)
        return result

    def _infer_item(self, item: Any) -> Any:
        if isinstance(item, Sample):
            return item.with_data(self._infer(item.data))
        return self._infer(item)

    def _infer(self, data: Any) -> Any:
        raise NotImplementedError


class _Inference(Stage):
    """The part of a task that may run several calls at once."""

    def __init__(self, task: FrameTask) -> None:
        super().__init__(
            name=task.name,
            concurrency=task.concurrency,
            on_error=task.on_error,
            timeout=task.timeout,
        )
        self.task = task

    def open(self) -> None:
        self.task.open()

    def __call__(self, item: Any) -> Any:
        return self.task._infer_item(item)

    def aclose(self) -> None:
        self.task.aclose()
