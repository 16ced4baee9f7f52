"""What an evaluation found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgeml.evaluation._calibration import Calibration
from edgeml.evaluation._classes import ClassScores, Curve
from edgeml.evaluation._differences import Difference
from edgeml.evaluation._stats import Array, Estimate

SCHEMA = 1

_MOST_ROWS = 30  # of a table in the summary
Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Baseline:
    """What common sense reaches on the same data.

    Attributes:
        name: What it says, such as "majority class".
        metrics: Its metrics.
        difference: How much better the model is.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import evaluate
        >>> y = np.arange(90) % 3
        >>> baseline = evaluate(y, y=y).best_baseline
        >>> baseline.name, baseline.difference.verdict
        ('majority class', 'better')
    """

    name: str
    metrics: dict[str, Estimate]
    difference: Difference


@dataclass(frozen=True, slots=True)
class Slice:
    """The main metric of some of the examples.

    Attributes:
        name: Its name.
        count: Number of examples.
        metric: The main metric of these.
        rest: The main metric of all others.
        p: Probability of a gap like this were the slice as good as the rest, corrected for the
            number of slices (Holm 1979); None when it cannot be said.
        worse: Whether it is significantly worse than the rest.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import evaluate
        >>> y = np.arange(300) % 3
        >>> report = evaluate(np.where(np.arange(300) < 60, 0, y), y=y,
        ...                   slices={"early": np.arange(300) < 100})
        >>> report.slices[0].worse, report.slices[0].metric.value
        (True, 0.6)
    """

    name: str
    count: int
    metric: Estimate
    rest: Estimate | None
    p: float | None
    worse: bool


@dataclass(frozen=True)
class Report:
    """What `evaluate` found; print it, or take the numbers.

    Attributes:
        kind: Kind of problem.
        count: Number of examples.
        groups: Number of groups, when examples belong to some.
        level: Of all intervals.
        metric: The main metric, which verdicts are about.
        metrics: All metrics, by name.
        baselines: What common sense reaches.
        slices: The main metric by slice.
        classes: How each class fares.
        labels: Names of the classes.
        confusion: Counts (actual, predicted).
        curves: ROC and precision-recall of each class.
        calibration: Of the probabilities.
        notes: What was assumed, and what to mind.

    Example:
        >>> import numpy as np
        >>> from edgeml.evaluation import evaluate
        >>> y = np.arange(200) % 4
        >>> report = evaluate(np.where(np.arange(200) < 180, y, 0), y=y)
        >>> report.beats_baseline
        True
        >>> print(report.metrics["accuracy"])
        0.925 [0.88, 0.954]
    """

    kind: str
    count: int
    groups: int | None
    level: float
    metric: str
    metrics: dict[str, Estimate]
    baselines: tuple[Baseline, ...] = ()
    slices: tuple[Slice, ...] = ()
    classes: tuple[ClassScores, ...] = ()
    labels: tuple[str, ...] = ()
    confusion: Array | None = None
    curves: tuple[Curve, ...] = field(default=(), repr=False)
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()

    @property
    def best_baseline(self) -> Baseline | None:
        """The baseline that the model gains least against."""
        return min(self.baselines, key=lambda b: b.difference.gain.value, default=None)

    @property
    def beats_baseline(self) -> bool | None:
        """Whether the model is significantly better than every baseline; None: cannot say."""
        verdicts = {b.difference.verdict for b in self.baselines}
        if verdicts <= {"better"}:
            return True if verdicts else None
        return None if verdicts <= {"better", "cannot say"} else False

    @property
    def verdict(self) -> str:
        """Whether the model is worth more than common sense, in a sentence."""
        best = self.best_baseline
        if best is None:
            return "there is nothing to compare the model with"
        said = {
            "better": "the model beats the baseline",
            "worse": "THE MODEL IS WORSE THAN THE BASELINE",
            "no difference": "THE MODEL DOES NOT BEAT THE BASELINE SIGNIFICANTLY",
            "cannot say": "whether the model beats the baseline cannot be said",
        }
        hard = [b for b in self.baselines if b.difference.verdict != "better"]
        shown = min(hard, key=lambda b: b.difference.gain.value) if hard else best
        return f"{said[shown.difference.verdict]} ({shown.name}): {shown.difference}"

    def tables(self) -> list[Table]:
        """Return what there is to show: title, header and rows of each table."""
        return _tables(self)

    def summary(self) -> str:
        """Return the report as text."""
        of = f" in {self.groups} groups" if self.groups is not None else ""
        lines = [f"{self.kind}, {self.count} examples{of}; {self.level:.0%} intervals",
                 f"verdict: {self.verdict}"]  # fmt: skip
        for title, header, rows in self.tables():
            lines += ["", title, *_aligned(header, rows)]
        lines += ["", *(f"note: {note}" for note in self.notes)] if self.notes else []
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def __rich__(self) -> Any:
        """Return what `rich.print` shows."""
        from edgeml._require import require

        console = require("rich.console", extra="app", purpose="a report in colours")
        table_module = require("rich.table", extra="app", purpose="a report in colours")
        text = require("rich.text", extra="app", purpose="a report in colours")
        style = "bold green" if self.beats_baseline else "bold red"
        parts = [text.Text(f"verdict: {self.verdict}", style=style)]
        for title, header, rows in self.tables():
            table = table_module.Table(*header, title=title, title_justify="left")
            for row in rows:
                table.add_row(*map(text.Text, row))
            parts.append(table)
        parts += [text.Text(f"note: {note}", style="dim") for note in self.notes]
        return console.Group(*parts)

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        found = {
            "type": "evaluation", "schema": SCHEMA, "kind": self.kind, "count": self.count,
            "groups": self.groups, "level": self.level, "metric": self.metric,
            "verdict": self.verdict, "beats_baseline": self.beats_baseline,
            "metrics": _each(self.metrics),
            "baselines": [
                {"name": b.name, "metrics": _each(b.metrics), "difference": b.difference.to_dict()}
                for b in self.baselines
            ],
            "slices": [_slice(s) for s in self.slices],
            "classes": [
                {"label": c.label, "support": c.support, "scores": _each(c.scores)}
                for c in self.classes
            ],
            "labels": list(self.labels),
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "curves": [_curve(c) for c in self.curves],
            "calibration": None if self.calibration is None else _calibration(self.calibration),
            "notes": list(self.notes),
        }  # fmt: skip
        plain: dict[str, Any] = _plain(found)
        return plain

    def to_json(self) -> str:
        """Return it as a line of JSON; what is not defined is null."""
        return json.dumps(self.to_dict(), allow_nan=False)


def _each(scores: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: estimate.to_dict() for name, estimate in scores.items()}


def _slice(s: Slice) -> dict[str, Any]:
    rest = None if s.rest is None else s.rest.to_dict()
    return {"name": s.name, "count": s.count, "metric": s.metric.to_dict(), "rest": rest,
            "p": s.p, "worse": s.worse}  # fmt: skip


def _curve(c: Curve) -> dict[str, Any]:
    names = ("thresholds", "tpr", "fpr", "precision")
    return {"label": c.label, **{name: getattr(c, name).tolist() for name in names}}


def _calibration(c: Calibration) -> dict[str, Any]:
    found = asdict(c)
    found["bins"] = [{**asdict(b), "accuracy": b.accuracy.to_dict()} for b in c.bins]
    return {**found, "calibrated": c.calibrated}


def _plain(value: Any) -> Any:
    """Return NumPy's numbers as Python's, and what is not finite as None."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _tables(report: Report) -> list[Table]:
    names = list(report.metrics)
    header = ("metric", "model", *(b.name for b in report.baselines))
    rows = [
        (name, str(report.metrics[name]),
         *(str(b.metrics[name]) if name in b.metrics else "" for b in report.baselines))
        for name in names
    ]  # fmt: skip
    found: list[Table] = [("metrics", header, rows)]
    if report.slices:
        found.append((f"{report.metric} by slice", ("slice", "examples", report.metric, "p", ""),
                      [_slice_row(s) for s in report.slices]))  # fmt: skip
    if report.classes:
        scores = list(dict.fromkeys(name for c in report.classes for name in c.scores))
        found.append((
            "by class", ("class", "support", *scores),
            [(c.label, str(c.support), *(str(c.scores.get(n, "")) for n in scores))
             for c in report.classes],
        ))  # fmt: skip
    if report.confusion is not None and len(report.labels) > 2 and report.confusion.ndim == 2:
        found.append(("most confused", ("actual", "predicted", "examples"), _confused(report)))
    if report.calibration is not None:
        found.append(_calibration_table(report.calibration))
    return [(title, head, _cut(rows)) for title, head, rows in found if rows]


def _slice_row(s: Slice) -> tuple[str, ...]:
    flag = "WORSE" if s.worse else s.metric.note
    return s.name, str(s.count), str(s.metric), "" if s.p is None else f"{s.p:.3g}", flag


def _confused(report: Report) -> list[tuple[str, ...]]:
    assert report.confusion is not None
    wrong = report.confusion * (1 - np.eye(len(report.labels), dtype=int))
    best = np.argsort(-wrong, axis=None, kind="stable")[:5]
    pairs = [np.unravel_index(i, wrong.shape) for i in best if wrong.flat[i]]
    return [(report.labels[a], report.labels[b], str(wrong[a, b])) for a, b in pairs]


def _calibration_table(c: Calibration) -> Table:
    said = "no miscalibration seen" if c.calibrated else "NOT CALIBRATED"
    title = f"calibration: ECE {c.ece:.3g}, {said} (below {c.ece_if_calibrated:.3g} is chance)"
    if c.temperature is not None:
        title += f"; temperature {c.temperature:.3g} makes it {c.ece_scaled:.3g}"
    rows: list[tuple[str, ...]]
    rows = [(f"{b.low:.2f} to {b.high:.2f}", str(b.count), f"{b.confidence:.3f}", str(b.accuracy))
            for b in c.bins]  # fmt: skip
    return title, ("confidence", "examples", "mean", "came true"), rows


def _cut(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    if len(rows) <= _MOST_ROWS:
        return rows
    more = (f"… {len(rows) - _MOST_ROWS} more", *[""] * (len(rows[0]) - 1))
    return [*rows[:_MOST_ROWS], more]


def _aligned(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    table = [header, *rows]
    widths = [max(len(row[i]) for row in table) for i in range(len(header))]
    return [
        "  " + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
