"""Shrink a model, and prove that it keeps its promise."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._version import __version__
from edgeml.errors import DataError, OptimizeError
from edgeml.quantize._compare import load_any
from edgeml.quantize._elsewhere import Elsewhere
from edgeml.quantize._examine import FEW, Examination
from edgeml.quantize._index import Index
from edgeml.quantize._judge import Judge
from edgeml.quantize._model import Model, opset_of, save
from edgeml.quantize._prepare import is_quantized, prepare
from edgeml.quantize._qdq import LEAST_OPSET
from edgeml.quantize._report import Report
from edgeml.quantize._samples import Samples, samples_of
from edgeml.quantize._search import Found, Listener, Search, Wanted
from edgeml.quantize._store import Store
from edgeml.quantize._targets import Target, target_of

Array = NDArray[Any]
_MOST = (200, 200)  # examples to calibrate and to search with
_JOINED = {"Clip", "Relu"}  # become part of the range of what is before them
_HASHED = 256  # examples that tell data apart
_COMPARED, _DISTINCT = 64, 0.9  # examples that are compared, and how many of them are to differ


@dataclass(frozen=True)
class Result:
    """What `optimize` returns.

    Attributes:
        model: The ``onnx.ModelProto``: the smaller one, or what came in when it is best.
        report: What was asked, found, measured and proved.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import optimize
        >>> net = edgeml.Sequential([edgeml.Input((8,)), edgeml.layers.Dense(4)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> x = np.random.default_rng(0).standard_normal((40, 8)).astype("float32")
        >>> result = optimize("/tmp/edgeml-example.onnx", x, target="raspberry-pi-5")
        >>> result.verdict  # too small to gain anything
        'refused'
        >>> result.save("/tmp/edgeml-example-small.onnx")
    """

    model: Model
    report: Report

    @property
    def verdict(self) -> str:
        """``"proved"``, ``"not proved"`` or ``"refused"``; see `optimize`."""
        return self.report.verdict

    def save(self, path: str | os.PathLike[str], *, report: bool = True) -> None:
        """Write the model, and beside it the report as .html and .json.

        Raises:
            OptimizeError: the path ends in .html or .json, which the report is to have.
            OSError: the folder cannot be written to; what was there before is untouched.
        """
        target = Path(path)
        if report and target.suffix in (".html", ".json"):
            raise OptimizeError(f"{target}: the report would replace it; let it end in .onnx")
        save(self.model, target)
        if report:
            self.report.save(target.with_suffix(".html"))
            self.report.save(target.with_suffix(".json"))


def _quiet(stage: str, share: float, left: float) -> None:
    """Listen to nothing."""


@dataclass
class _Options:
    wanted: Wanted
    seconds: float
    seed: int
    store: Store
    elsewhere: Elsewhere | None
    notes: list[str]
    listen: Listener = field(default=_quiet)


def optimize(
    model: Model | str | os.PathLike[str], data: Any, *, target: str = "this", metric: Any = None,
    max_drop: float = 0.5, max_latency_ms: float | None = None, max_bytes: int | None = None,
    labels: Any = None, groups: Any = None, minutes: float = 5.0, seed: int = 0,
    resume: str | os.PathLike[str] | None = None,
    measured: Sequence[str | os.PathLike[str]] = (), on_progress: Listener | None = None,
) -> Result:  # fmt: skip
    """Return the smallest and fastest form of a model that keeps its promise on a target.

    The data are divided in three: one part calibrates, one searches, and one, which is opened
    once, decides. The verdict is ``"proved"`` when the 95% interval of the paired difference to
    the original lies within `max_drop`; ``"not proved"`` when the difference does but its
    interval does not (more data may prove it); and ``"refused"`` when nothing kept the promise,
    or was faster or smaller: then the original comes back, and the report says why.

    Args:
        model: Path, ``edgeml:NAME`` of a float model, or ``onnx.ModelProto``.
        data: See `samples_of`: arrays, (inputs, labels), a list of feeds, a Dataset, a folder of
            pictures or an ``.npz`` file; a few hundred real examples.
        target: ``"this"`` machine, whose time is measured, or the name of another.
        metric: ``"accuracy"``, ``"agreement"``, ``"boxes"``, ``"closeness"``, or a function of
            (outputs, label) that returns 0 to 1; None takes what fits the model and the data.
        max_drop: Points (of 100) of the metric that may be lost, 0 to 100.
        max_latency_ms: The most that a call may take on the target; None: no limit.
        max_bytes: The most that the file may have; None: no limit.
        labels: The truth of each example, if not in `data`.
        groups: What each example belongs to, such as a person: never divided between parts, and
            what intervals count.
        minutes: How long the search may take; what was found by then is used.
        seed: Of the division and the intervals.
        resume: Folder that keeps what was found; a run that was stopped goes on there. For
            another target it has the forms to be measured there, in ``*/forms/``.
        measured: Files of what ``edgeml bench MODEL --json`` printed on the target, for those
            forms; without, its time is "not measured".
        on_progress: Called with (stage, share done, seconds left).

    Raises:
        OptimizeError: there is no such target, the limits contradict each other, or the results
            of `measured` are of other models.
        ModelNotFound: there is no such file.
        StoreError: `resume` cannot be written to.
        ModelFormatError: the file is no model, or is too large.
        DataError: the data are empty or all alike, or labels are missing for the metric.
        InputError: an example does not fit the model, or holds NaN.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import optimize
        >>> net = edgeml.Sequential([edgeml.Input((8,)), edgeml.layers.Dense(4)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> x = np.random.default_rng(0).standard_normal((40, 8)).astype("float32")
        >>> optimize("/tmp/edgeml-example.onnx", x).verdict  # too small to gain anything
        'refused'
    """
    wanted = Wanted(max_drop, max_latency_ms, max_bytes)
    _check(wanted, minutes, seed)
    place = target_of(target)
    if place.here and measured:
        raise OptimizeError("measured is for another target: this machine is measured anyway")
    if max_latency_ms is not None and not (place.here or measured):
        raise OptimizeError(
            f"max_latency_ms with target {target!r}: its time is not known here. Optimize there "
            "with target 'this', pass measured=, or leave the limit out"
        )
    elsewhere = Elsewhere(measured) if measured else None
    original = load_any(model)
    samples = samples_of(data, original, labels=labels, groups=groups)
    notes = _copies(samples)
    judge = Judge(original, samples, metric, place.config)
    parts = _parts(samples, seed)
    store = Store(_folder(resume, original, samples, place, _name_of(metric, judge), seed))
    options = _Options(wanted, minutes * 60, seed, store, elsewhere, notes, on_progress or _quiet)
    return _optimize(original, judge, parts, place, options)


def _check(wanted: Wanted, minutes: float, seed: int) -> None:
    if not (0 <= wanted.max_drop <= 100 and minutes > 0 and seed >= 0):
        raise OptimizeError(
            "expected max_drop of 0 to 100 points, minutes above 0 and a seed of 0 or more, "
            f"received {wanted.max_drop}, {minutes} and {seed}"
        )
    for name in ("max_latency_ms", "max_bytes"):
        limit = getattr(wanted, name)
        if limit is not None and not limit > 0:
            raise OptimizeError(f"expected {name} above 0, received {limit}")


def _copies(samples: Samples) -> list[str]:
    """Return a note when many examples are copies of others, which intervals know nothing of.

    Raises:
        DataError: all are the same: any model keeps any promise on them.
    """
    some = np.unique(np.linspace(0, len(samples) - 1, _COMPARED).astype(int))
    if not samples.feed(0):  # a model without inputs
        return []
    distinct = len({samples.digest([int(i)]) for i in some})
    if distinct == 1 < len(some):
        raise DataError(
            f"all of the {len(samples)} examples hold the same numbers, which says nothing of a "
            "model: pass real, varied ones"
        )
    if distinct > _DISTINCT * len(some):
        return []
    note = (
        f"of {len(some)} examples that were compared only {distinct} are distinct: intervals take "
        "copies for examples of their own, and are too narrow"
    )
    return [note]


def _parts(samples: Samples, seed: int) -> list[Array]:
    if len(samples) < FEW:
        return [np.arange(len(samples))] * 3
    shares = (0.2, 0.2, 0.6) if samples.groups is not None else (0.3, 0.3, 0.4)
    first, second, last = samples.split(shares, seed)
    if not (len(first) and len(second) and len(last)):
        raise OptimizeError(
            f"the examples belong to too few groups ({len(set(map(str, samples.groups or ())))}) "
            "to divide in three parts: expected at least 5, and 10 for a proof"
        )
    return [first[: _MOST[0]], second[: _MOST[1]], last]


def _name_of(metric: Any, judge: Judge) -> str:
    """Return what tells metrics apart; a function that was edited is another."""
    code = getattr(metric, "__code__", None)
    return judge.metric.name + ("" if code is None else f"{code.co_code!r}{code.co_consts!r}")


def _folder(
    resume: Any, model: Model, samples: Samples, target: Target, metric: str, seed: int
) -> Path | None:
    """Return the folder of exactly this question below the one given."""
    if resume is None:
        return None
    some = np.unique(np.linspace(0, len(samples) - 1, _HASHED).astype(int))
    asked = [
        hashlib.sha256(model.SerializeToString()).hexdigest(), metric, seed,
        target.name, sorted(target.kernels), target.activations, target.weight_bits,
        samples.digest(some), len(samples), __version__, str(samples.labels), str(samples.groups),
    ]  # fmt: skip
    return Path(resume) / hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def _optimize(
    original: Model, judge: Judge, parts: list[Array], target: Target, options: _Options
) -> Result:
    notes = options.notes
    prepared, search = original, None
    if is_quantized(original):
        found = Found(why="it is quantized already: pass the float model it was made from")
    else:
        few = list(judge.samples.feeds(parts[0][:4]))
        prepared = prepare(original, few, on_note=notes.append)
        search = Search(
            original, prepared, judge, (parts[0], parts[1]), target, options.wanted,
            seconds=options.seconds, store=options.store, listen=options.listen,
            elsewhere=options.elsewhere,
        )  # fmt: skip
        found = search.run()
        notes += _too_old(prepared) + _open_shapes(prepared, target)
        notes += _left_float(prepared, target)
    examination = Examination(
        original, prepared, judge, parts, target, options.wanted, found, search,
        seed=options.seed, notes=notes,
    )  # fmt: skip
    try:
        if not found.interrupted:
            options.listen("final examination", 0.0, 0.0)
        model, report = examination.result()
    except KeyboardInterrupt:
        found.interrupted, found.why = True, "stopped by the user"
        model, report = examination.result()
    if found.chosen is not None:
        options.store.keep_best(model, found.chosen.to_dict())
    elif not found.interrupted:
        options.store.forget_best()
    return Result(model, report)


def _too_old(model: Model) -> list[str]:
    """Return why no layers are in 8 bits when the operators are those of an old opset."""
    version = opset_of(model)
    if version >= LEAST_OPSET:
        return []
    return [f"layers in 8 bits want opset {LEAST_OPSET} or newer, and it has {version}: all float"]


def _open_shapes(model: Model, target: Target) -> list[str]:
    """Return what stands in the way of a target that takes fixed shapes only."""
    index = Index(model)
    shapes = {name: index.shape(name) for name in index.inputs}
    open_ = {name: shape for name, shape in shapes.items() if shape is None or None in shape}
    if not (target.static and open_):
        return []
    shown = ", ".join(
        f"{name} {['any' if n is None else n for n in shape or ()]}"
        for name, shape in open_.items()
    )
    return [f"{target.name} takes fixed shapes only; export the model with them: {shown}"]


def _left_float(model: Model, target: Target) -> list[str]:
    """Return which operators the target has no 8-bit kernels for."""
    index = Index(model)
    counts = Counter(
        node.op_type for node in index.nodes
        if node.op_type not in target.kernels | _JOINED and any(map(index.is_float, node.output))
    )  # fmt: skip
    if not counts:
        return []
    shown = ", ".join(f"{op} ({n})" for op, n in counts.most_common())
    return [f"{target.name} has no 8-bit kernels for {shown}: float there"]
