"""What all tasks share: a model that is loaded when needed, and its metadata."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgeml.errors import GraphError, ModelError
from edgeml.platform import cores
from edgeml.runtime import Isolation
from edgeml.streams import Sample, Stage
from edgeml.tasks._image import ImagePreprocess

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session, SessionState
    from edgeml.streams._stage import StageState

Model = Any  # str | os.PathLike[str] | Session


class Task(Stage):
    """A stage with a model; the base of all tasks.

    The model is loaded when the pipeline starts, or with the first direct call. While the
    pipeline runs, ``await pipeline.swap(task.name, "new.onnx")`` puts another model in its
    place: with the same inputs, outputs and labels, or it is refused. Where the metadata says
    how inputs are made, a model that says otherwise may take another size and dtype. The
    state of a recurrent model begins at zero.

    Args:
        model: Path, URL, ``"edgeml:NAME"`` for one that ships with edgeml, or a `Session`,
            which stays the caller's to close.
        labels: Names of the classes, instead of those in the model's metadata.
        delegate: As for `edgeml.load`.
        threads: Of one inference; more inferences in flight (`concurrency`) are faster.
        isolated: As for `edgeml.load`: the pipeline's event ``"state"`` tells when the model
            leaves its delegate and when it returns, as it does of a `Session` that is isolated.
        **options: As for `Stage`: name, concurrency, on_error, timeout.
    """

    task = ""  # what the model's metadata calls it
    _outside: tuple[str, ...] = ()  # keys of the preprocessing that say what comes from outside
    _grid = False  # whether the shapes of outputs follow the size of the input

    def __init__(
        self,
        model: Model,
        *,
        labels: Sequence[str] | None = None,
        delegate: str = "auto",
        threads: int = 1,
        isolated: bool | Isolation = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if threads is not None and threads < 1:
            raise ValueError(f"{self.name}: threads must be at least 1; received {threads}")
        self.model = model
        self._labels = None if labels is None else tuple(labels)
        self._delegate = delegate
        self._threads = threads
        self._isolated = isolated
        self._state: StageState = "running"
        self._session: Session | None = None
        self._replaced: Task | None = None  # whose place this takes, until it is open
        self._lock = threading.Lock()

    def open(self) -> None:
        """Load the model and read its metadata; does nothing when that is done.

        Raises:
            ModelError: the model cannot be loaded, is not made for this task, or does not fit
                where it shall take the place of another.
        """
        with self._lock:
            if self._session is not None:
                return
            session = self._load()
            try:
                self._prepare(session)
                if self._replaced is not None:
                    self._check_like(self._replaced, session)
                    self._try_out(session)
            except BaseException:
                self._release(session)
                raise
            self._session, self._replaced = session, None
            if (on := getattr(session, "on", None)) is not None:
                on("state", self._session_changed)

    def replacement(self, new: Any) -> Stage:
        """Return the stage that takes this one's place; see `Pipeline.swap`.

        Args:
            new: A model: path, URL, ``"edgeml:NAME"`` or `Session`; or a stage or a callable.

        Raises:
            GraphError: it is none of these.
        """
        if callable(new):
            return super().replacement(new)
        if not isinstance(new, str | os.PathLike) and not hasattr(new, "metadata"):
            raise GraphError(
                f"swap: {self.name!r} takes a model (path, URL, edgeml:NAME or Session), a stage "
                f"or a function; received {new!r}"
            )
        return self._with_model(new)

    def _with_model(self, model: Model) -> Self:
        """Return a task that goes on where this one is, with another model."""
        task = copy.copy(self)
        task.model, task._session, task._replaced = model, None, self
        task._lock = threading.Lock()
        return task

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
            return load(
                self.model, delegate=self._delegate, threads=self._threads,
                isolated=self._isolated,
            )  # fmt: skip
        session: Session = self.model
        return session

    def _session_changed(self, state: SessionState) -> None:
        """Tell the pipeline, if there is one, that the model left its delegate or is back."""
        old, self._state = self._state, state.state
        if self._listener is not None:
            self._listener(old, state.state, state.cause)

    def _release(self, session: Session) -> None:
        if (off := getattr(session, "off", None)) is not None:
            off("state", self._session_changed)
        if session is not self.model:
            session.close()

    def _prepare(self, session: Session) -> None:
        """Read what the task needs from the metadata."""

    def _try_out(self, session: Session) -> None:
        """Run a prepared model once or twice, before it takes the place of another.

        Raises:
            EdgeMLError: it fails, or what it returns cannot be read.
        """
        from edgeml.runtime._random import random_inputs

        session.run(random_inputs(session.inputs, {}))

    def _check_like(self, old: Task, session: Session) -> None:
        """Refuse a model that takes or gives something else than the one it shall replace."""
        from edgeml.runtime._signature import Signature

        if (current := old._session) is None:
            raise ModelError(f"{self.name}: the task ended meanwhile", path=session.path)
        given = getattr(self, "_preprocess_given", None)
        before, after = Signature.of(current), Signature.of(session)
        found = before.differences(
            after, described=given is None, grid=self._grid, outside=self._outside
        )
        labels = current.metadata.labels, session.metadata.labels
        if self._labels is None and labels[0] != labels[1]:
            found.append(_labels_differ(*labels))
        if found:
            raise ModelError(
                f"{self.name}: {session.path} cannot take the place of {current.path}: "
                f"{'; '.join(found)}. The old model goes on; give the new one a task of its own",
                path=session.path,
            )

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
        super().__init__(
            model, concurrency=cores() if concurrency is None else concurrency, **options
        )
        self._preprocess: ImagePreprocess
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
            return item.with_data(self._infer(item.data, self.session))
        return self._infer(item, self.session)

    def _infer(self, data: Any, session: Session) -> Any:
        raise NotImplementedError

    def _try_out(self, session: Session) -> None:
        size = self._preprocess.height, self._preprocess.width
        for _ in range(2):  # the second call runs in memory that the first one has planned
            self._infer(np.zeros((*size, 3), np.uint8), session)

    def _with_model(self, model: Model) -> Self:
        task = super()._with_model(model)
        task._parts = None
        return task


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

    def replacement(self, new: Any) -> Stage:
        stage = self.task.replacement(new)
        return _Inference(stage) if isinstance(stage, FrameTask) else stage

    def open(self) -> None:
        self.task._listener = self._listener
        self.task.open()

    def __call__(self, item: Any) -> Any:
        return self.task._infer_item(item)

    def aclose(self) -> None:
        self.task.aclose()


def _labels_differ(old: Sequence[str], new: Sequence[str]) -> str:
    if len(old) != len(new):
        return f"labels: expected {len(old)}, received {len(new)}"
    number = next(n for n, (a, b) in enumerate(zip(old, new, strict=True)) if a != b)
    return f"label {number}: expected {old[number]!r}, received {new[number]!r}"
