"""What a search found."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgeml.evaluation import Estimate, Report


@dataclass(frozen=True, slots=True)
class Trial:
    """One setting that was tried.

    Attributes:
        number: Counted from 0.
        state: "complete", "pruned" (stopped early, as it lagged behind), "failed" or
            "interrupted".
        value: Best value of the metric on the validation data; None when there is none.
        params: The setting.
        epochs: Epochs that were trained.
        seconds: What it took.
        reason: Why it failed, or what else is to be known.

    Example:
        >>> from edgeml.tuning import Trial
        >>> Trial(3, "failed", None, {"rate": 10.0}, reason="NonFinite: the loss is nan").state
        'failed'
    """

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    epochs: int = 0
    seconds: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class TuningResult:
    """What `tune` found.

    Attributes:
        params: The best setting.
        value: Its value on the validation data, which is too good: it was chosen by it.
        metric: Name of the metric.
        model: The model with the best setting, trained.
        trials: All that was tried.
        test: The metrics of that model on the test set, with intervals; None while it is sealed,
            as after an interruption.
        report: The whole evaluation on the test set, where it was made by this process.
        interrupted: Whether Ctrl-C ended the search.
        sizes: Numbers of elements: train, validation, test.

    Example:
        >>> from edgeml.tuning import Trial, TuningResult
        >>> trials = (Trial(0, "complete", 0.8, {"units": 8}), Trial(1, "failed", None, {}))
        >>> TuningResult({"units": 8}, 0.8, "val_accuracy", None, trials).counts
        {'complete': 1, 'failed': 1}
    """

    params: dict[str, Any]
    value: float
    metric: str
    model: Any
    trials: tuple[Trial, ...]
    test: dict[str, Estimate] | None = None
    report: Report | None = None
    interrupted: bool = False
    sizes: dict[str, int] = field(default_factory=dict)
    _study: Any = field(default=None, repr=False, compare=False)
    _open: Callable[[Any], tuple[dict[str, Estimate], Report | None]] | None = field(
        default=None, repr=False, compare=False
    )

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended in which way."""
        states = [trial.state for trial in self.trials]
        return {state: states.count(state) for state in dict.fromkeys(states)}

    def open_test(self) -> dict[str, Estimate]:
        """Open the test set of a search that was interrupted, and return the metrics on it.

        Raises:
            DataError: it was opened before.
        """
        from edgeml.errors import DataError

        if self._open is None:
            raise DataError("the test set was opened before; see result.test")
        return self._open(self.model)[0]

    def importance(self) -> dict[str, float]:
        """Return how much each setting mattered among the better trials, largest first.

        Shares with the sum 1, by PED-ANOVA (Watanabe et al. 2023); empty when fewer than ten
        trials are complete, which say nothing.
        """
        if self._study is None or self.counts.get("complete", 0) < 10:
            return {}
        import optuna

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            found = optuna.importance.get_param_importances(self._study, evaluator=evaluator)
        return {name: float(value) for name, value in found.items()}

    def summary(self) -> str:
        """Return the result as text: the best setting, the test, the trials best first."""
        counts = ", ".join(f"{n} {state}" for state, n in self.counts.items())
        lines = [f"{len(self.trials)} trials: {counts}" + self.interrupted * " (interrupted)",
                 f"best {self.metric} {self.value:.4g} (on the data it was chosen by): "
                 + _shown(self.params)]  # fmt: skip
        if self.test is None:
            lines.append("test set: sealed; open_test() opens it, once")
        else:
            lines += [f"test {name} {value}" for name, value in self.test.items()]
        for name, share in self.importance().items():
            lines.append(f"importance of {name}: {share:.2f}")
        for trial in self.trials:
            value = "" if trial.value is None else f" {self.metric} {trial.value:.4g}"
            reason = f" ({trial.reason})" if trial.reason else ""
            lines.append(f"  {trial.number}: {trial.state}{value}{reason}: {_shown(trial.params)}")
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON; values that are no numbers or text as their repr."""
        test = None if self.test is None else {k: v.to_dict() for k, v in self.test.items()}
        return {
            "type": "tuning", "schema": 1, "metric": self.metric, "value": self.value,
            "params": _plain(self.params), "test": test, "interrupted": self.interrupted,
            "sizes": self.sizes, "importance": self.importance(),
            "trials": [
                {"number": t.number, "state": t.state, "value": t.value,
                 "params": _plain(t.params), "epochs": t.epochs, "seconds": t.seconds,
                 "reason": t.reason}
                for t in self.trials
            ],
        }  # fmt: skip


def _shown(params: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in params.items()
    )


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    plain = (str, int, float, bool, type(None))
    return {name: v if isinstance(v, plain) else repr(v) for name, v in params.items()}
