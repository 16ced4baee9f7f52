"""The search itself: one trial after the other, each in a study that survives the process."""

from __future__ import annotations

import inspect
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from edgeml.callbacks import Monitor
from edgeml.errors import ConfigError, EdgeMLError, NonFinite, TrainingError
from edgeml.evaluation import Estimate, Report, evaluate
from edgeml.layers import set_random_seed
from edgeml.tuning._parts import Split
from edgeml.tuning._parts import split as cut
from edgeml.tuning._result import Trial, TuningResult
from edgeml.tuning._space import Space, checked, values

log = logging.getLogger("edgeml.tuning")

_STUDY = "edgeml"
_FAILURES = (EdgeMLError, ValueError, ArithmeticError, MemoryError)
"""What a setting may do to a training; anything else is a mistake in the program."""


def tune(
    space: Space, build: Callable[..., Any], data: Any, *, trials: int = 50,
    metric: str = "val_loss", mode: Literal["auto", "min", "max"] = "auto", epochs: int = 10,
    batch_size: int = 32, split: Sequence[float] = (0.6, 0.2, 0.2), by: Any = None,
    gap: float = 0.0, validation: Any = None, test: Any = None, patience: int | None = None,
    prune: bool = True, callbacks: Sequence[Any] = (), seconds: float | None = None,
    storage: str | os.PathLike[str] | None = None, seed: int = 0,
    on_leak: Literal["raise", "report"] = "raise",
) -> TuningResult:  # fmt: skip
    """Search for the setting whose model does best on validation data; test it once.

    Settings are proposed by Optuna's TPE (Bergstra et al. 2011) and trained one at a time; those
    that lag behind the median of the others at the same epoch are stopped. A trial that fails,
    such as by a loss that is not finite, is told with its reason and does not end the search.
    At the end, and only then, the test set is opened: for the best model. Ctrl-C ends the search
    with the best so far and leaves it sealed.

    Args:
        space: By name an `Int`, a `Float` or a `Choice`.
        build: ``fn(params)``, or ``fn(params, train)`` with the training set to adapt to, that
            returns a compiled `Model` or a `Trainer`; or that and a dict of arguments for `fit`,
            such as ``{"batch_size": params["batch"]}``.
        data: A dataset that can be split, or ``(x, y)``.
        trials: How many settings are tried in all, with those of an earlier process.
        metric: Value of the logs of validation.
        mode: Whether it is to be "min" or "max"; "auto" goes by its name.
        epochs: Most epochs of a trial.
        batch_size: Examples in a step.
        split: Shares of training, validation and test.
        by: How to split: None (at random), "label", "source", "time", or one group a row; see
            `edgeml.data.Dataset.split`.
        gap: Seconds between parts, for "time".
        validation: Validation data, when they are not to be cut from `data`.
        test: Test data, when they are not to be cut from `data`.
        patience: Epochs without an improvement that end a trial; None trains all epochs.
        prune: Whether trials that lag behind are stopped.
        callbacks: Callbacks for each trial.
        seconds: Time after which no trial is started, and one that runs ends with its epoch.
        storage: File of the study (SQLite): a search with the same file goes on where the last
            one ended, also after ``kill -9``. One process at a time.
        seed: Of the split, of proposals, of weights and of training: all of it is reproducible.
        on_leak: Whether data that are in two parts are an error, or left to you.

    Returns:
        The best setting, its model, all trials, and the test's metrics with intervals.

    Raises:
        DataError: parts share inputs, groups or times; or data cannot be split.
        TrainingError: all trials failed; or the study's test set is open and more are asked for.
        ConfigError: the metric is not in the logs, or the file holds another search.
        MissingExtra: Optuna is not installed.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.layers import Dense
        >>> from edgeml.tuning import Float, tune
        >>> def build(params):
        ...     model = edgeml.Sequential([edgeml.Input((2,)), Dense(1)])
        ...     model.compile(edgeml.optimizers.Adam(params["rate"]), "mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> result = tune({"rate": Float(1e-3, 0.3, log=True)}, build, (x, x.sum(1)), trials=3)
        >>> result.counts, result.report.kind
        ({'complete': 3}, 'regression')
    """
    if trials < 1 or epochs < 1:
        raise ConfigError(f"expected at least 1 trial and epoch, received {trials} and {epochs}")
    kinds = checked(space)
    name = metric if metric.startswith("val_") else f"val_{metric}"
    sign = Monitor(name, mode=mode).direction()
    parts = cut(data, validation, test, split, by, gap, seed, on_leak)
    search = _Search(kinds, build, parts, name, sign, epochs, batch_size, patience, prune,
                     list(callbacks), seed, seconds)  # fmt: skip
    with _quiet():
        search.open(storage)
        search.run(trials)
        return search.result()


@dataclass
class _Search:
    space: Space
    build: Callable[..., Any]
    parts: Split
    metric: str
    sign: float
    epochs: int
    batch_size: int
    patience: int | None
    prune: bool
    callbacks: list[Any]
    seed: int
    seconds: float | None
    best: Any = None
    """The best model of this process."""
    best_number: int = -1
    interrupted: bool = False
    study: Any = None
    started: float = field(default_factory=time.monotonic)

    def open(self, storage: Any) -> None:
        """Open the study, or start one; trials that a killed process left are not counted."""
        from edgeml._require import require

        optuna = require("optuna", extra="tune", purpose="edgeml.tune")
        self.states = optuna.trial.TrialState
        self.sampler = optuna.samplers.TPESampler
        warm_up = max(1, self.epochs // 5)
        pruner = optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=warm_up)
        self.study = optuna.create_study(
            study_name=_STUDY, load_if_exists=True,
            storage=None if storage is None else f"sqlite:///{os.fspath(storage)}",
            direction="minimize" if self.sign > 0 else "maximize",
            pruner=pruner if self.prune else optuna.pruners.NopPruner(),
        )  # fmt: skip
        own = {
            "schema": 1, "space": repr(sorted(self.space.items())), "metric": self.metric,
            "epochs": self.epochs, "seed": self.seed, "sizes": self.parts.sizes,
        }  # fmt: skip
        known = self.study.user_attrs.get("search")
        if known is None:
            self.study.set_user_attr("search", own)
        elif known != own:
            key = next(key for key in own if own[key] != known.get(key))
            raise ConfigError(
                f"{storage}: the file holds a search with another {key}: {known.get(key)!r}, now "
                f"it is {own[key]!r}. Use a new file, or the arguments of the old search"
            )
        for trial in self._trials():
            if not trial.state.is_finished():
                self.study.tell(trial.number, state=self.states.FAIL)

    def run(self, trials: int) -> None:
        """Try settings until there are enough, the time is over, or Ctrl-C."""
        if self._done() < trials and "test" in self.study.user_attrs:
            raise TrainingError(
                f"this search ended with {self._done()} trials and its test set was opened: "
                f"{trials} trials would be chosen with that figure known. Start a new search, "
                "with a new file and new test data"
            )
        distributions = {name: kind.distribution() for name, kind in self.space.items()}
        while (done := self._done()) < trials and (not done or not self._late()):
            # By the number of trials so far: a search that goes on proposes what it would have.
            self.study.sampler = self.sampler(seed=self.seed * 100_003 + done)
            trial = self.study.ask(distributions)
            try:
                self._try(trial)
            except KeyboardInterrupt:
                self.interrupted = True
                return
            finally:  # a trial that did not come to its end
                self.study.tell(trial, state=self.states.FAIL, skip_if_finished=True)

    def _try(self, trial: Any) -> None:
        began = time.monotonic()
        watch = _Watch(self, trial)
        params = values(self.space, trial.params)
        if self._repeats(trial):
            return
        reason = ""
        try:
            model = self._train(params, [watch])
        except _Misused as error:
            raise ConfigError(str(error)) from None
        except _FAILURES as error:
            reason = f"{type(error).__name__}: {error}"
        trial.set_user_attr("epochs", watch.epochs)
        trial.set_user_attr("seconds", round(time.monotonic() - began, 3))
        if reason:
            log.info("trial %d failed: %s", trial.number, reason)
            trial.set_user_attr("reason", reason)
            self.study.tell(trial, state=self.states.FAIL)
            return
        if watch.late:
            trial.set_user_attr("reason", "ended early: the time was over")
        if watch.pruned:
            self.study.tell(trial, state=self.states.PRUNED)
            return
        self.study.tell(trial, watch.best)
        log.info("trial %d: %s %.6g, %s", trial.number, self.metric, watch.best, params)
        if self.study.best_trial.number == trial.number:
            self.best, self.best_number = model, trial.number

    def _repeats(self, trial: Any) -> bool:
        """Whether this setting was trained before; it would end in the same way."""
        for other in self._trials():
            if other.number == trial.number or other.params != trial.params:
                continue
            if other.state in (self.states.COMPLETE, self.states.PRUNED):
                trial.set_user_attr("reason", f"the setting of trial {other.number}")
                for epoch, value in other.intermediate_values.items():
                    trial.report(value, epoch)
                complete = other.state == self.states.COMPLETE
                self.study.tell(trial, other.value if complete else None, other.state)
                return True
        return False

    def _train(self, params: dict[str, Any], watches: list[Any]) -> Any:
        """Return the model of a setting, trained, with the weights of its best epoch."""
        set_random_seed(self.seed)
        wants_data = len(inspect.signature(self.build).parameters) > 1
        made = self.build(params, self.parts.train) if wants_data else self.build(params)
        model, options = made if isinstance(made, tuple) else (made, {})
        if not hasattr(model, "fit"):
            raise _Misused(
                f"build: expected a compiled Model or a Trainer, received {type(model).__name__}"
            )
        options = {"epochs": self.epochs, "verbose": 0, **options}
        size = options.pop("batch_size", self.batch_size)
        if "seed" in inspect.signature(model.fit).parameters:
            options.setdefault("seed", self.seed)
        model.fit(
            self.parts.train.shuffle(seed=self.seed).batch(size),
            validation_data=self.parts.validation.batch(size),
            callbacks=[*self.callbacks, *watches], **options,
        )  # fmt: skip
        return model

    def result(self) -> TuningResult:
        """Return what was found; open the test set unless the search was interrupted."""
        table = tuple(self._row(trial) for trial in self._trials())
        complete = [row for row in table if row.state == "complete"]
        if not complete and self.interrupted:
            raise KeyboardInterrupt
        if not complete:
            reasons = "; ".join(dict.fromkeys(row.reason for row in table if row.reason))
            raise TrainingError(f"all {len(table)} trials failed: {reasons}")
        best = self.study.best_trial
        params = values(self.space, best.params)
        model = self.best
        if best.number != self.best_number:  # it was trained by an earlier process
            model = self._train(params, [_Watch(self, None)])
        test, report = None, None
        if "test" in self.study.user_attrs:
            known = json.loads(self.study.user_attrs["test"])
            test = {name: Estimate(**{**e, "value": _number(e["value"])})
                    for name, e in known.items()}  # fmt: skip
        elif not self.interrupted:
            test, report = self._test(model)
        return TuningResult(
            params, float(best.value), self.metric, model, table, test, report, self.interrupted,
            self.parts.sizes, self.study, self._test if test is None else None,
        )  # fmt: skip

    def _test(self, model: Any) -> tuple[dict[str, Estimate], Report | None]:
        """Open the test set, and remember in the study that it is open, and what it said."""
        data = self.parts.test.open()
        report: Report | None = None
        try:
            report = evaluate(model, data, seed=self.seed)
            found = report.metrics
        except EdgeMLError as error:  # a model of several outputs, for instance
            log.warning("the test has no intervals: %s", error)
            plain = model.evaluate(data.batch(self.batch_size))
            found = {name: Estimate(float(v), note=str(error)) for name, v in plain.items()}
        text = json.dumps({name: value.to_dict() for name, value in found.items()})
        self.study.set_user_attr("test", text)
        return found, report

    def _row(self, trial: Any) -> Trial:
        said = trial.user_attrs
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "interrupted")
        if trial.state == self.states.FAIL and said.get("reason"):
            state = "failed"
        value = trial.value if state == "complete" else None
        return Trial(trial.number, state, value, values(self.space, trial.params),
                     said.get("epochs", 0), said.get("seconds", 0.0),
                     said.get("reason", ""))  # fmt: skip

    def _trials(self) -> list[Any]:
        found: list[Any] = self.study.get_trials(deepcopy=False)
        return found

    def _done(self) -> int:
        return sum(self._row(trial).state != "interrupted" for trial in self._trials())

    def _late(self) -> bool:
        return self.seconds is not None and time.monotonic() - self.started >= self.seconds


class _Misused(Exception):
    """The program is wrong, not the setting."""


class _Watch(Monitor):
    """Keeps the best epoch's weights, tells the study of each epoch, and ends a trial early."""

    def __init__(self, search: _Search, trial: Any) -> None:
        super().__init__(search.metric, mode="min" if search.sign > 0 else "max")
        self.search, self.trial = search, trial
        self.best: float | None = None
        self.best_epoch = self.epochs = 0
        self.pruned = self.late = False
        self._weights: Any = None

    @property
    def needs_batch_logs(self) -> bool:
        """Whether metrics of each step are read: they are not."""
        return False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the epoch's value."""
        logs = logs or {}
        if self.monitor not in logs:
            raise _Misused(
                f"metric: there is no {self.monitor!r} in the logs; there are {', '.join(logs)}"
            )
        value = float(logs[self.monitor])
        self.epochs += 1
        if not math.isfinite(value):
            raise NonFinite(f"{self.monitor} is {value} after epoch {epoch + 1}")
        if self.better(value, self.best):
            self.best, self.best_epoch = value, epoch
            self._weights = self.model.get_weights()
        if self.trial is None:
            self._stop(epoch)
            return
        self.trial.report(value, epoch)
        self.pruned = bool(self.trial.should_prune())
        self.late = self.search._late()
        self._stop(epoch, self.pruned or self.late)

    def _stop(self, epoch: int, now: bool = False) -> None:
        patience = self.search.patience
        if now or (patience is not None and epoch - self.best_epoch >= patience):
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Bring back the weights of the best epoch."""
        if self._weights is not None:
            self.model.set_weights(self._weights)
            self._weights = None


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's own messages away; ours are logged under edgeml."""
    from edgeml._require import require

    logging_ = require("optuna", extra="tune", purpose="edgeml.tune").logging
    before = logging_.get_verbosity()
    logging_.set_verbosity(logging_.WARNING)
    try:
        yield
    finally:
        logging_.set_verbosity(before)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
