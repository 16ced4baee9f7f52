"""Epochs: batches, metrics, validation and callbacks around the engine."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from edgeml import metrics as metrics_module
from edgeml.callbacks import Callback, CallbackList
from edgeml.callbacks._history import History
from edgeml.errors import ConfigError, DataError, TrainingError
from edgeml.training._engine import Engine, Result
from edgeml.training._inputs import Batch, Data
from edgeml.training._progress import ProgressBar

Array = np.ndarray[Any, Any]

_thread = threading.local()
"""``loop``: the event loop that awaits this thread's training, and its async callbacks."""


class Fitted(Protocol):
    """What is trained, as the loop and callbacks see it."""

    stop_training: bool


@dataclass
class Scores:
    """The running means of losses and the metrics of one pass over data.

    Args:
        metrics: For each output, its metrics.
        prefix: ``"val_"`` for validation.
        outputs: Names of the outputs, when there are several: their metrics start with them.
        weighted: For each output, its metrics that count with the sample weights.
        parts: Names of the outputs that have a loss, when there are several.
    """

    metrics: Sequence[Sequence[metrics_module.Metric]]
    prefix: str = ""
    outputs: Sequence[str] = ()
    weighted: Sequence[Sequence[metrics_module.Metric]] = ()
    parts: Sequence[str] = ()
    _losses: dict[str, float] = field(default_factory=dict)
    _count: float = 0.0

    def reset(self) -> None:
        """Start a new pass."""
        self._losses = dict.fromkeys(["loss", *(f"{name}_loss" for name in self.parts)], 0.0)
        self._count = 0.0
        for metric in itertools.chain(*self.metrics, *self.weighted):
            metric.reset_state()

    def add(self, result: Result, batch: Batch) -> None:
        """Count a batch; weights are for the loss and the weighted metrics alone, as in Keras."""
        arrays, targets, weights = batch
        size = len(next(iter(arrays.values())))
        self._count += size
        self._losses["loss"] += result.loss * size
        for name, value in result.losses.items():
            self._losses[f"{name}_loss"] += value * size
        each = zip(targets, result.outputs, strict=True)
        for i, (y, output) in enumerate(each):
            weight = weights[i] if weights else None
            own = self.metrics[i] if self.metrics else ()
            weighted = self.weighted[i] if self.weighted else ()
            mask = result.masks.get(i)
            if (own or weighted) and mask is not None and y.shape[: mask.ndim] == mask.shape:
                y, output = y[mask], output[mask]
                weight = None if weight is None else _along(weight, mask)[mask]
            for metric in own:
                metric.update_state(y, output)
            for metric in weighted:
                metric.update_state(y, output, weight)

    def names(self) -> list[str]:
        """Return the names that `result` uses."""
        if not self._losses:
            self.reset()
        return list(self.result())

    def result(self) -> dict[str, float]:
        """Return the losses and each metric, by name."""
        found: dict[str, Any] = {
            name: total / max(self._count, 1.0) for name, total in self._losses.items()
        }
        for i, own in [*enumerate(self.metrics), *enumerate(self.weighted)]:
            output = f"{self.outputs[i]}_" if self.outputs else ""
            for metric in own:
                value = metric.result()
                name = first = output + metric.name
                number = 1
                while name in found:
                    number += 1
                    name = f"{first}_{number}"
                found[name] = float(value) if np.ndim(value) == 0 else value
        return {self.prefix + name: value for name, value in found.items()}


def _along(weight: Array, mask: Array) -> Array:
    """Return the weight of each step."""
    wide = weight.reshape(weight.shape + (1,) * (mask.ndim - weight.ndim))
    return np.broadcast_to(wide, mask.shape)


@dataclass
class Plan:
    """How long and on what to train; see `Model.fit`."""

    data: Data
    epochs: int = 1
    initial_epoch: int = 0
    validation: Data | None = None
    validation_freq: int = 1
    shuffle: bool = True
    steps_per_epoch: int | None = None
    verbose: Any = "auto"
    callbacks: Sequence[Callback] = ()
    seed: int = 0
    class_weight: Mapping[int, float] | None = None
    start_batch: int = 0
    steps_per_execution: int = 1
    validation_steps: int | None = None
    check: Callable[[Batch], None] | None = None
    history: History = field(default_factory=History)

    def __post_init__(self) -> None:
        for name, least in (("epochs", 0), ("initial_epoch", 0), ("validation_freq", 1),
                            ("steps_per_epoch", 1), ("steps_per_execution", 1),
                            ("validation_steps", 1)):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < least:
                raise ConfigError(f"{name}: expected at least {least}, received {value!r}")
        if self.class_weight is not None:
            check_class_weight(self.class_weight)


def run(model: Fitted, engine: Engine, scores: Scores, validation: Scores, plan: Plan) -> History:
    """Train; return the history."""
    steps = plan.steps_per_epoch or plan.data.steps()
    params = {
        "epochs": plan.epochs, "steps": steps, "verbose": plan.verbose,
        "start": (plan.initial_epoch, plan.start_batch),
    }  # fmt: skip
    bar = ProgressBar(plan.verbose)
    callbacks = CallbackList(
        [*plan.callbacks, plan.history, bar], model=model, params=params,
        loop=getattr(_thread, "loop", None),
    )  # fmt: skip
    model.stop_training = False
    if plan.initial_epoch < plan.epochs:  # a model that cannot be trained fails before the start
        engine.prepare(with_class_weight(plan.data.head(), plan.class_weight))
    callbacks.on_train_begin()
    plan.initial_epoch, plan.start_batch = params["start"]  # a backup may have been restored
    try:
        for epoch in range(plan.initial_epoch, plan.epochs):
            callbacks.on_epoch_begin(epoch)
            logs = _epoch(model, engine, scores, plan, epoch, callbacks)
            if plan.validation is not None and (epoch + 1) % plan.validation_freq == 0:
                logs |= evaluate(
                    engine, plan.validation, validation, callbacks, plan.validation_steps
                )
            callbacks.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
    finally:
        engine.take_average()
        callbacks.on_train_end()  # may bring back the best weights
    return plan.history


def _epoch(
    model: Fitted, engine: Engine, scores: Scores, plan: Plan, epoch: int, callbacks: CallbackList
) -> dict[str, Any]:
    rng = np.random.default_rng([plan.seed, epoch]) if plan.shuffle else None
    scores.reset()
    number = plan.start_batch if epoch == plan.initial_epoch else 0
    plan.data.set_epoch(epoch)
    batches = itertools.islice(plan.data.batches(rng, number), plan.steps_per_epoch)
    for group in grouped(_weighted(batches, plan), plan.steps_per_execution):
        callbacks.on_train_batch_begin(number)
        results = engine.train_all(group, number)
        for result, batch in zip(results, group, strict=True):
            scores.add(result, batch)
        number += len(group)
        callbacks.on_train_batch_end(number - 1, scores.result() if callbacks.wants_logs else None)
        if model.stop_training:
            break
    if not number:  # a resumed epoch may have had its last batch already
        raise plan.data.empty()
    return scores.result()


def _weighted(batches: Iterable[Batch], plan: Plan) -> Iterator[Batch]:
    for batch in batches:
        weighted = with_class_weight(batch, plan.class_weight)
        if plan.check is not None:
            plan.check(weighted)
        yield weighted


def grouped(batches: Iterable[Batch], count: int) -> Iterator[list[Batch]]:
    """Yield `count` batches of one shape at a time; those that are left over one by one."""
    group: list[Batch] = []
    shapes: Any = None
    for batch in batches:
        before, shapes = shapes, _shapes(batch)
        if group and shapes != before:
            yield from ([single] for single in group)
            group = []
        group.append(batch)
        if len(group) == count:
            yield group
            group = []
    yield from ([single] for single in group)


def _shapes(batch: Batch) -> Any:
    arrays, targets, weights = batch
    return [None if a is None else a.shape for a in (*arrays.values(), *targets, *weights)]


def evaluate(
    engine: Engine, data: Data, scores: Scores, callbacks: CallbackList | None = None,
    steps: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Return loss and metrics on `data`, or on its first `steps` batches."""
    scores.reset()
    number = -1
    if callbacks is not None:
        callbacks.on_test_begin()
    for number, batch in enumerate(itertools.islice(data.batches(None), steps)):
        if callbacks is not None:
            callbacks.on_test_batch_begin(number)
        scores.add(engine.evaluate(batch, number), batch)
        if callbacks is not None:
            callbacks.on_test_batch_end(number)
    if number < 0:
        raise data.empty()
    found = scores.result()
    if callbacks is not None:
        callbacks.on_test_end(found)
    return found


def with_class_weight(batch: Batch, weights: Mapping[int, float] | None) -> Batch:
    """Return the batch with each example's weight multiplied by its class's."""
    if not weights:
        return batch
    arrays, targets, given = batch
    if len(targets) != 1:
        raise DataError(f"class_weight is for one output, and there are {len(targets)} targets")
    y = targets[0]
    wide = y.ndim > 1 and y.shape[-1] > 1
    if y.ndim > 2 or (wide and not np.allclose(y.sum(-1), 1.0, atol=1e-3)):
        raise DataError(
            f"class_weight needs one class for each example: y of the shape {y.shape} holds "
            "neither class numbers nor one-hot rows; use sample_weight"
        )
    labels = y.argmax(-1) if wide else y.reshape(len(y))
    found = np.array([weights.get(int(label), 1.0) for label in labels], np.float32)
    weight = given[0] if given else None
    return arrays, targets, [found if weight is None else found * weight]


def check_class_weight(weights: Any) -> None:
    """Check that weights are by class number.

    Raises:
        ConfigError: they are not, or one is negative or not finite.
    """
    if not isinstance(weights, Mapping):
        raise ConfigError(
            f"class_weight: expected a dict such as {{0: 1.0, 1: 5.0}}, received {weights!r}"
        )
    for label, weight in weights.items():
        if not isinstance(label, (int, np.integer)) or not (np.isfinite(weight) and weight >= 0):
            raise ConfigError(
                f"class_weight: expected class numbers and weights of at least 0, received "
                f"{label!r}: {weight!r}"
            )


def listed(callbacks: Any) -> list[Any]:
    """Return callbacks as a list: one by itself, or TensorFlow.js's dict, is one."""
    if isinstance(callbacks, (Callback, Mapping)):
        return [callbacks]
    return list(callbacks or ())


def refuse_on_loop(name: str) -> None:
    """Raise when called on a running event loop, which training would block.

    Raises:
        TrainingError: the message names the method to await.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise TrainingError(
        f"{name}() would block the running event loop: use `await model.{name}_async(...)`"
    )


async def off_loop(work: Callable[[], Any], stop: Callable[[], None]) -> Any:
    """Run `work` in a thread of its own; a cancelled caller has it stopped, and waits for that."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def finish(result: Any, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)

    def target() -> None:
        result, error = None, None
        _thread.loop = loop
        try:
            result = work()
        except BaseException as raised:
            error = raised
        loop.call_soon_threadsafe(finish, result, error)

    thread = threading.Thread(target=target, name="edgeml-fit", daemon=True)
    thread.start()
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        stop()
        await asyncio.wait([done])
        done.exception()  # seen: the cancellation is what the caller gets
        raise
