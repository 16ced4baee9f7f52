"""The task ``personal``: classes that are taught on the device, as a stage of an app."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from edgeml.app._windows import Grid, Windows
from edgeml.errors import ConfigError, PipelineError, StoreError
from edgeml.streams import Sample, Stage
from edgeml.tasks._arguments import check_seconds, check_share

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.personalize import Backbone, Learner, Spotter

Collected = Literal["windows", "events"]
Method = Literal[
    "auto", "nearest-mean", "knn", "bias", "linear", "mlp", "last-blocks", "lora"
]  # fmt: skip
_LABEL = "{{ value_json.data.label | default(value_json.data.word) }}"  # of a class, or a word
_KEPT = 2048  # pieces of a signal that wait to be looked at
_RUNNING = "running"  # a file in the store's folder; who holds its lock runs an app


class Personal(Stage):
    """Tells classes apart that are taught while it runs: an `edgeml.personalize.Learner`.

    Readings and sound are cut into windows, as the backbone's metadata describe them. Before the
    first head is accepted, everything is ``"unknown"``. Sound whose examples are events is heard
    for words: each is told once, as a `Wake`, and nothing else is.

    Args:
        model: The backbone: path, URL or ``"edgeml:NAME"``.
        store: Folder of the examples and heads.
        method: How a head is made of examples.
        features: Name of the value in the model that has the features.
        cut: Where the backbone ends and the blocks begin that "last-blocks" and "lora" train:
            "auto", or the name of a value.
        delegate: As for `edgeml.load`.
        threads: Of one inference.
        budget: Bytes that the store may take.
        keep: Share of the known examples that may not be turned away as unknown.
        duplicate: Cosine of features above which two samples are the same.
        keep_raw: Whether samples are kept too, to make features of another backbone from them.
        reembed: Whether features of another backbone in the store are made anew from raw samples.
        collect: What examples of readings or sound are: "windows" as they come, or "events", which
            begin with a movement or a sound and end with rest; None: events of sound, windows of
            readings.
        threshold: Probability at which a word is told; None: 0.9. For words only.
        refractory: Seconds from one word to the same one again at least; None: 1. For words only.
        **options: As for `Stage`: name, concurrency, on_error, timeout.

    Raises:
        ValueError: an option is out of range, or the store is no folder.
    """

    def __init__(
        self, model: str, *, store: str, method: Method = "auto", features: str | None = None,
        cut: str | None = None, delegate: str = "auto", threads: int = 1, budget: int = 64 << 20,
        keep: float = 0.95, duplicate: float = 0.9999, keep_raw: bool = False,
        reembed: bool = False, collect: Collected | None = None, threshold: float | None = None,
        refractory: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        from edgeml.personalize._tables import check_budget

        if not store or chr(0) in store:
            raise ValueError(f"{self.name}: store: expected a folder; received {store!r}")
        self.folder = Path(store)
        self.model = model
        self._backbone = {"features": features, "cut": cut, "delegate": delegate,
                          "threads": threads}  # fmt: skip
        self._budget = check_budget(budget)
        self._learning = {"method": method, "keep": keep, "duplicate": duplicate,
                          "keep_raw": keep_raw, "reembed": reembed}  # fmt: skip
        self._learner: Learner | None = None
        self._collect = collect
        spotting = {"threshold": threshold, "refractory": refractory}
        self._spotting = {name: value for name, value in spotting.items() if value is not None}
        if threshold is not None:
            check_share(self.name, threshold=threshold)
        if refractory is not None:
            check_seconds(self.name, refractory=refractory)
        self._spotter: Spotter | None = None
        self._windows: Windows | None = None
        self._taps: tuple[Tap, ...] = ()
        self._lock = -1

    def open(self) -> None:
        """Load what is needed, and say to other processes that an app uses the store.

        Raises:
            EdgeMLError: see `load`.
        """
        import fcntl

        self.load()
        if self._lock < 0:
            self._lock = os.open(self.folder / _RUNNING, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_SH)

    def load(self) -> None:
        """Load the backbone and the head in use; does nothing when that is done.

        Raises:
            ModelError: the backbone cannot be loaded.
            ConfigError: windows are to be cut by several calls at once, or an option is for
                another kind of backbone.
            StoreError: the store is of another backbone, cannot be made, or is damaged.
        """
        from edgeml.personalize import Backbone, Learner, Spotter, Store

        if self._learner is not None:
            return
        backbone = Backbone(self.model, **self._backbone)  # type: ignore[arg-type]
        try:
            grid = Grid.of(backbone._spec, backbone._session.inputs[0].shape)
            if grid is not None and self.concurrency > 1:
                raise ConfigError(
                    f"{self.name}: concurrency: expected 1, because windows are cut one after "
                    f"another; received {self.concurrency}"
                )
            self._windows = None if grid is None else Windows(grid)
            self._check_options(backbone)
            store = Store(self.folder, budget=self._budget)
            try:
                learner = Learner(backbone, store=store, name=self.name, **self._learning)  # type: ignore[arg-type]
                if self._tells_words(backbone):
                    self._spotter = Spotter(learner, name=self.name, **self._spotting)  # type: ignore[arg-type]
            except BaseException:
                store.close()
                raise
        except BaseException:
            backbone.close()
            raise
        self._learner = learner

    def _tells_words(self, backbone: Backbone) -> bool:
        signal = backbone.signal
        return signal is not None and signal.kind == "audio" and self._collect != "windows"

    def _check_options(self, backbone: Backbone) -> None:
        if self._collect == "events" and backbone.signal is None:
            raise ConfigError(
                f'{self.name}: collect: expected "windows" or nothing, because {self.model} takes '
                'no windows of readings or sound; received "events"'
            )
        if self._spotting and not self._tells_words(backbone):
            raise ConfigError(
                f"{self.name}: {', '.join(self._spotting)}: for words only, and this task tells "
                "none; leave it out"
            )

    @property
    def learner(self) -> Learner:
        """What learns.

        Raises:
            PipelineError: the task has not been opened yet, or was closed.
        """
        if self._learner is None:
            raise PipelineError(f"{self.name} is not running yet: try again in a moment")
        return self._learner

    def aclose(self) -> None:
        """Close the store and the backbone; idempotent."""
        learner, self._learner, self._spotter = self._learner, None, None
        for tap in self._taps:
            tap.end()
        if learner is not None:
            learner.backbone.close()
            learner.store.close()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __call__(self, item: Any) -> Any:
        """Return what a sample is; of readings and sound, each window, or the words in it."""
        if self._windows is None or not isinstance(item, Sample):
            self._offer(item)
            return self.learner(item)
        if self.cut is None:
            self._offer(item)
        return self._each(item) if self._spotter is None else self._spotter(item)

    def _each(self, sample: Sample[Any]) -> Iterator[Any]:
        assert self._windows is not None
        for window in self._windows(sample):
            if self.cut is not None:
                self._offer(window)
            yield self.learner(window)

    @property
    def cut(self) -> Windows | None:
        """What cuts the source into what is collected; None: it is collected as it comes."""
        events = self._collect == "events" or self._spotter is not None
        return None if events else self._windows

    def _offer(self, item: Any) -> None:
        for tap in self._taps:
            tap.put(item)

    def tap(self) -> Tap:
        """Return a stream of the samples to collect, for use on this loop."""
        found = Tap(self, _KEPT if self._windows is not None and self.cut is None else 1)
        self._taps = (*self._taps, found)
        return found

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        return (
            Output("Label", "sensor", _LABEL),
            Output("Score", "sensor", "{{ (value_json.data.score * 100) | round(1) }}", unit="%"),
        )


class Tap:
    """The samples that a running task gets, the newest so many of them; ends with the task."""

    def __init__(self, task: Personal, most: int) -> None:
        self._task = task
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[Any] = asyncio.Queue()

    def put(self, item: Any) -> None:
        """Hand a sample over; any thread."""
        self._loop.call_soon_threadsafe(self._put, item)

    def end(self) -> None:
        """Say that there are no more; any thread."""
        self._loop.call_soon_threadsafe(self._put, _End)

    def _put(self, item: Any) -> None:
        while self._queue.qsize() >= self._most:  # nobody has taken the oldest
            self._queue.get_nowait()
        self._queue.put_nowait(item)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        item = await self._queue.get()
        if item is _End:
            raise StopAsyncIteration
        return item

    async def aclose(self) -> None:
        """Take no more."""
        self._task._taps = tuple(t for t in self._task._taps if t is not self)


class _End:
    """What comes after the last sample."""


def is_held(folder: Path) -> bool:
    """Return whether a running app uses a store.

    Raises:
        StoreError: the folder cannot be read.
    """
    import fcntl

    try:
        file = os.open(folder / _RUNNING, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StoreError(f"{folder}: cannot be read: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(file)
