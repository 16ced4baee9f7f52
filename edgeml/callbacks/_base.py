"""The base of all callbacks, and the list that calls them."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeml._names import snake
from edgeml.errors import ConfigError

Logs = dict[str, Any]


class Callback:
    """Something that is told how training goes; override what is of interest.

    A hook may be ``async def``: only `fit_async` can await it, on its event loop, while training
    waits.

    Attributes:
        model: What is trained: a model or a trainer. ``model.stop_training = True`` ends it.
        params: ``epochs``, ``steps`` (None when not known), ``verbose``, and ``start``: the epoch
            and the batch that training starts with.
        needs_batch_logs: Whether `on_train_batch_end` reads its logs at the next step. Metrics of
            a step that nobody reads are not computed.

    Example:
        >>> from edgeml.callbacks import Callback
        >>> class Printer(Callback):
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         print(epoch, logs["loss"])
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    @property
    def needs_batch_logs(self) -> bool:
        """Whether the next step's metrics are read."""
        return True

    def set_model(self, model: Any) -> None:
        """Take what is trained."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Take ``epochs``, ``steps`` and ``verbose``."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> Any:
        """Training starts."""

    def on_train_end(self, logs: Logs | None = None) -> Any:
        """Training is over."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> Any:
        """An epoch, counted from 0, starts."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> Any:
        """An epoch is over; `logs` has loss and metrics, validation's with ``val_``."""

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> Any:
        """The same as `on_train_batch_begin`, by its older name."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> Any:
        """The same as `on_train_batch_end`, by its older name."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> Any:
        """A step of training, counted from 0 in each epoch, starts."""
        return self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> Any:
        """A step is done; `logs` has loss and metrics of the epoch so far."""
        return self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Logs | None = None) -> Any:
        """Evaluation or validation starts."""

    def on_test_end(self, logs: Logs | None = None) -> Any:
        """Evaluation or validation is over; `logs` has its loss and metrics."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> Any:
        """A batch of evaluation starts."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> Any:
        """A batch of evaluation is done."""

    def on_predict_begin(self, logs: Logs | None = None) -> Any:
        """Prediction starts."""

    def on_predict_end(self, logs: Logs | None = None) -> Any:
        """Prediction is over."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> Any:
        """A batch of prediction starts."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> Any:
        """A batch of prediction is done."""


HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))
_OLDER = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class LambdaCallback(Callback):
    """A callback from functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: …)``.

    TensorFlow.js's spelling, ``{"onEpochEnd": fn}``, works where a callback is taken. A function
    may be async when training is awaited with `fit_async`.

    Raises:
        ConfigError: there is no such hook, or what is given cannot be called.

    Example:
        >>> from edgeml.callbacks import LambdaCallback
        >>> seen = []
        >>> callback = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(logs["loss"]))
        >>> callback.on_epoch_end(0, {"loss": 0.5})
        >>> seen
        [0.5]
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            if name not in HOOKS:
                raise ConfigError(f"there is no hook {name!r}; there are {', '.join(HOOKS)}")
            if not callable(function):
                raise ConfigError(f"{name}: expected a function, received {function!r}")
            setattr(self, name, function)


def as_callback(callback: Any) -> Callback:
    """Return a callback, made from TensorFlow.js's dict of functions when it is one.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, Mapping):
        return LambdaCallback(**{snake(name): fn for name, fn in callback.items()})
    hint = ""
    if inspect.isclass(callback) and issubclass(callback, Callback):
        hint = f": did you mean {callback.__name__}()?"
    raise ConfigError(
        "expected an edgeml.callbacks.Callback or a dict such as {'onEpochEnd': fn}, received "
        f"{callback!r}{hint}"
    )


class CallbackList:
    """Calls each callback in order.

    What a callback raises goes on unchanged, with a note that names the callback and its hook.

    Args:
        callbacks: Callbacks, or dicts of functions.
        model: What is trained.
        params: ``epochs``, ``steps`` and ``verbose``.
        loop: Event loop that awaits async hooks; training runs in another thread.

    Raises:
        ConfigError: something is no callback, or a hook is async and there is no `loop`.

    Example:
        >>> from edgeml.callbacks import CallbackList, History
        >>> history = History()
        >>> callbacks = CallbackList([history], model=None, params={})
        >>> callbacks.on_epoch_end(0, {"loss": 0.5})
        >>> history.history
        {'loss': [0.5]}
    """

    def __init__(
        self, callbacks: Sequence[Any], *, model: Any, params: Mapping[str, Any],
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:  # fmt: skip
        self.callbacks = [as_callback(callback) for callback in callbacks]
        self._loop = loop
        self._of = {name: [c for c in self.callbacks if _overrides(c, name)] for name in HOOKS}
        for hook, callback in ((h, c) for h, some in self._of.items() for c in some):
            if loop is None and inspect.iscoroutinefunction(getattr(callback, hook)):
                raise ConfigError(
                    f"{type(callback).__name__}.{hook} is async: only fit_async can await it; "
                    "with fit, make it a plain function"
                )
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)

    @property
    def wants_logs(self) -> bool:
        """Whether anybody reads the metrics of the next step."""
        return any(callback.needs_batch_logs for callback in self._of["on_train_batch_end"])

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self._of[hook]:
            try:
                result = getattr(callback, hook)(*args)
                if inspect.iscoroutine(result):
                    self._await(result, hook)
            except Exception as error:
                error.add_note(f"raised in the callback {type(callback).__name__}.{hook}")
                raise

    def _await(self, result: Any, hook: str) -> None:
        if self._loop is None:
            result.close()
            raise ConfigError(f"{hook} returned a coroutine: only fit_async can await it")
        asyncio.run_coroutine_threadsafe(result, self._loop).result()

    def on_train_begin(self) -> None:
        """Training starts."""
        self._call("on_train_begin", None)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Training is over."""
        self._call("on_train_end", logs)

    def on_epoch_begin(self, epoch: int) -> None:
        """An epoch starts."""
        self._call("on_epoch_begin", epoch, None)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """An epoch is over."""
        self._call("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch: int) -> None:
        """A step starts."""
        self._call("on_train_batch_begin", batch, None)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A step is done; `logs` may be missing when nobody wanted them."""
        self._call("on_train_batch_end", batch, logs)

    def on_test_begin(self) -> None:
        """Evaluation starts."""
        self._call("on_test_begin", None)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Evaluation is over."""
        self._call("on_test_end", logs)

    def on_test_batch_begin(self, batch: int) -> None:
        """A batch of evaluation starts."""
        self._call("on_test_batch_begin", batch, None)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of evaluation is done."""
        self._call("on_test_batch_end", batch, logs)

    def on_predict_begin(self) -> None:
        """Prediction starts."""
        self._call("on_predict_begin", None)

    def on_predict_end(self) -> None:
        """Prediction is over."""
        self._call("on_predict_end", None)

    def on_predict_batch_begin(self, batch: int) -> None:
        """A batch of prediction starts."""
        self._call("on_predict_batch_begin", batch, None)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A batch of prediction is done."""
        self._call("on_predict_batch_end", batch, logs)


def _overrides(callback: Callback, hook: str) -> bool:
    own = getattr(callback, hook)
    if getattr(own, "__func__", own) is not getattr(Callback, hook):
        return True
    return hook in _OLDER and _overrides(callback, _OLDER[hook])
