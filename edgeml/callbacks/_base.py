"""The base of all callbacks, and the list that calls them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgeml._names import snake
from edgeml.errors import ConfigError

Logs = dict[str, Any]


class Callback:
    """Something that is told how training goes; override what is of interest.

    Attributes:
        model: What is trained: a model or a trainer. ``model.stop_training = True`` ends it.
        params: ``epochs``, ``steps`` (None when not known) and ``verbose``.

    Example:
        >>> from edgeml.callbacks import Callback
        >>> class Printer(Callback):
        ...     def on_epoch_end(self, epoch, logs=None):
        ...         print(epoch, logs["loss"])
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Take what is trained."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Take ``epochs``, ``steps`` and ``verbose``."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Training starts."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Training is over."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch, counted from 0, starts."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """An epoch is over; `logs` has loss and metrics, validation's with ``val_``."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """A step starts."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """A step is done; `logs` has loss and metrics of the epoch so far."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Validation starts."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Validation is over."""


class LambdaCallback(Callback):
    """A callback from functions: ``LambdaCallback(on_epoch_end=lambda epoch, logs: …)``.

    TensorFlow.js's spelling, ``{"onEpochEnd": fn}``, works where a callback is taken.

    Raises:
        ConfigError: there is no such hook, or the function is async: training runs in a thread,
            where nobody awaits it.
    """

    def __init__(self, **functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            if name not in _HOOKS:
                raise ConfigError(f"there is no hook {name!r}; there are {', '.join(_HOOKS)}")
            if inspect.iscoroutinefunction(function):
                raise ConfigError(
                    f"{name}: an async function cannot be called while training: use "
                    "loop.call_soon_threadsafe in a plain one"
                )
            setattr(self, name, function)


_HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_"))


def as_callback(callback: Any) -> Callback:
    """Return a callback, made from TensorFlow.js's dict of functions when it is one."""
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, Mapping):
        return LambdaCallback(**{snake(name): fn for name, fn in callback.items()})
    raise ConfigError(f"expected an edgeml.callbacks.Callback, received {type(callback).__name__}")


class CallbackList:
    """Calls each callback in order.

    Args:
        callbacks: Callbacks, or dicts of functions.
        model: What is trained.
        params: ``epochs``, ``steps`` and ``verbose``.
    """

    def __init__(self, callbacks: Sequence[Any], *, model: Any, params: Mapping[str, Any]) -> None:
        self.callbacks = [as_callback(callback) for callback in callbacks]
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
        self._of = {name: [c for c in self.callbacks if _overrides(c, name)] for name in _HOOKS}
        self.wants_logs = bool(self._of["on_train_batch_end"])
        """Whether anybody reads the metrics of single steps."""

    def _call(self, hook: str, *args: Any) -> None:
        for callback in self._of[hook]:
            getattr(callback, hook)(*args)

    def on_train_begin(self) -> None:
        """Training starts."""
        self._call("on_train_begin", None)

    def on_train_end(self) -> None:
        """Training is over."""
        self._call("on_train_end", None)

    def on_epoch_begin(self, epoch: int) -> None:
        """An epoch starts."""
        self._call("on_epoch_begin", epoch, None)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """An epoch is over."""
        self._call("on_epoch_end", epoch, logs)

    def on_train_batch_begin(self, batch: int) -> None:
        """A step starts."""
        if self._of["on_train_batch_begin"]:
            self._call("on_train_batch_begin", batch, None)

    def on_train_batch_end(self, batch: int, logs: Logs | None) -> None:
        """A step is done."""
        if self.wants_logs:
            self._call("on_train_batch_end", batch, logs)

    def on_test_begin(self) -> None:
        """Validation starts."""
        self._call("on_test_begin", None)

    def on_test_end(self, logs: Logs) -> None:
        """Validation is over."""
        self._call("on_test_end", logs)


def _overrides(callback: Callback, hook: str) -> bool:
    if hook == "on_train_batch_end" and getattr(callback, "ignores_batches", False):
        return False
    own = getattr(callback, hook)
    return getattr(own, "__func__", own) is not getattr(Callback, hook)
