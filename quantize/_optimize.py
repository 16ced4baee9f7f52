"""Shrink a model, and prove that it keeps its promise."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._version import __version__
from edgeml.errors import EdgeMLError, ModelFormatError, OptimizeError
from edgeml.evaluation import Estimate
from edgeml.platform import cores, cpu_flags, cpu_name
from edgeml.quantize._candidates import Candidate
from edgeml.quantize._compare import load_any
from edgeml.quantize._index import Index
from edgeml.quantize._judge import Judge
from edgeml.quantize._measure import side_by_side
from edgeml.quantize._metadata import set_metadata
from edgeml.quantize._model import LARGEST, Model
from edgeml.quantize._prepare import is_quantized, prepare
from edgeml.quantize._report import Report
from edgeml.quantize._robust import robustness
from edgeml.quantize._samples import Samples, samples_of
from edgeml.quantize._search import Found, Listener, Search, Wanted
from edgeml.quantize._session import open_model, what_runs
from edgeml.quantize._store import Store, write_atomically
from edgeml.quantize._targets import Target, target_of
from edgeml.quantize._truth import layers, saturation, weights_bytes, what_ran

Array = NDArray[Any]
SCHEMA = 1
_FEW = 10  # examples below which they are not divided
_MOST = (200, 200)  # examples to calibrate and to search with
_TRIED = 32  # examples for robustness
_FLAGS = ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "sve", "sme")


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
        """Write the model, and beside it the report as .html and .json."""
        target = Path(path)
        write_atomically(target, self.model.SerializeToString())
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
    listen: Listener = field(default=_quiet)


def optimize(
    model: Model | str | os.PathLike[str], data: Any, *, target: str = "this", metric: Any = None,
    max_drop: float = 0.5, max_latency_ms: float | None = None, max_bytes: int | None = None,
    labels: Any = None, groups: Any = None, minutes: float = 5.0, seed: int = 0,
    resume: str | os.PathLike[str] | None = None, on_progress: Listener | None = None,
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
        target: ``"this"`` machine, or the name of another; its time is measured here only.
        metric: ``"accuracy"``, ``"agreement"``, ``"boxes"``, ``"closeness"``, or a function of
            (outputs, label) that returns 0 to 1; None takes what fits the model and the data.
        max_drop: Points (of 100) of the metric that may be lost.
        max_latency_ms: The most that a call may take here; None: no limit.
        max_bytes: The most that the file may have; None: no limit.
        labels: The truth of each example, if not in `data`.
        groups: What each example belongs to, such as a person: never divided between parts, and
            what intervals count.
        minutes: How long the search may take; what was found by then is used.
        seed: Of the division and the intervals.
        resume: Folder that keeps what was found; a run that was stopped goes on there.
        on_progress: Called with (stage, share done, seconds left).

    Raises:
        OptimizeError: there is no such target, or the limits contradict each other.
        ModelNotFound: there is no such file.
        ModelFormatError: the file is no model, or is too large.
        DataError: the data are empty, or labels are missing for the metric.
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
    if not (max_drop >= 0 and minutes > 0):
        raise OptimizeError(
            f"expected max_drop of 0 or more and minutes above 0, received {max_drop}, {minutes}"
        )
    place = target_of(target)
    if max_latency_ms is not None and not place.here:
        raise OptimizeError(
            f"max_latency_ms with target {target!r}: time is measured on this machine only. "
            "Optimize there with target 'this', or leave the limit out"
        )
    original = load_any(model)
    if original.ByteSize() > LARGEST:
        raise ModelFormatError("the model is over 2 GB, more than one ONNX file can hold")
    samples = samples_of(data, original, labels=labels, groups=groups)
    judge = Judge(original, samples, metric, place.config)
    parts = _parts(samples, seed)
    wanted = Wanted(max_drop, max_latency_ms, max_bytes)
    store = Store(_folder(resume, original, samples, place, _name_of(metric, judge), seed))
    options = _Options(wanted, minutes * 60, seed, store, on_progress or _quiet)
    return _optimize(original, judge, parts, place, options)


def _parts(samples: Samples, seed: int) -> list[Array]:
    if len(samples) < _FEW:
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
    some = np.unique(np.linspace(0, len(samples) - 1, 8).astype(int))
    asked = [
        hashlib.sha256(model.SerializeToString()).hexdigest(), metric, seed,
        target.name, sorted(target.kernels), target.activations, target.weight_bits,
        samples.digest(some), len(samples), __version__, str(samples.labels), str(samples.groups),
    ]  # fmt: skip
    return Path(resume) / hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def _optimize(
    original: Model, judge: Judge, parts: list[Array], target: Target, options: _Options
) -> Result:
    notes: list[str] = []
    prepared = original
    if is_quantized(original):
        found = Found(why="it is quantized already: pass the float model it was made from")
    else:
        few = list(judge.samples.feeds(parts[0][:4]))
        prepared = prepare(original, few, on_note=notes.append)
        search = Search(
            original, prepared, judge, (parts[0], parts[1]), target, options.wanted,
            seconds=options.seconds, store=options.store, listen=options.listen,
        )  # fmt: skip
        found = search.run()
    notes += _open_shapes(prepared, target)
    examination = _Examination(original, prepared, judge, parts, target, options, found, notes)
    try:
        if not found.interrupted:
            options.listen("final examination", 0.0, 0.0)
        return examination.result()
    except KeyboardInterrupt:
        found.interrupted, found.why = True, "stopped by the user"
        return examination.result()


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


class _Examination:
    """The last look, on data that nothing was chosen with."""

    def __init__(
        self, original: Model, prepared: Model, judge: Judge, parts: list[Array], target: Target,
        options: _Options, found: Found, notes: list[str],
    ) -> None:  # fmt: skip
        self.original, self.prepared, self.judge, self.parts = original, prepared, judge, parts
        self.target, self.options, self.found, self.notes = target, options, found, notes

    def result(self) -> Result:
        verdict, difference, scores = self._verdict()
        latency = self._latency()
        if slow := self._too_slow(latency):
            self.found.why, self.found.chosen, verdict = slow, None, "refused"
        chosen = self.found.chosen
        said: dict[str, Any] = {
            "verdict": verdict,
            "asked": {"metric": self.judge.metric.name, **asdict(self.options.wanted),
                      "seed": self.options.seed},
            "target": {"name": self.target.name, "note": self.target.note,
                       "kernels": sorted(self.target.kernels)},
            "chosen": None if chosen is None else chosen.to_dict(),
        }  # fmt: skip
        model = self.original if chosen is None else self._described(chosen, said)
        content: dict[str, Any] = {
            "schema": SCHEMA,
            **said,
            "why": self.found.why,
            "notes": self.notes,
            "identity": self._identity(model),
            "data": self._data(),
            "quality": {"difference": None if difference is None else difference.to_dict(),
                        **scores},
            "bytes": {"original": self.original.ByteSize(), "model": model.ByteSize()},
            "latency": latency,
            "candidates": [candidate.to_dict() for candidate in self.found.candidates],
            "sensitivity": {"alone": self.found.sensitivity, "fisher": self.found.fisher,
                            "rank_correlation": self.found.agreement_of_scores},
            "stages": self.found.stages,
        }  # fmt: skip
        if chosen is not None and not self.found.interrupted:
            content |= self._looks(chosen)
        return Result(model, Report(content))

    def _described(self, chosen: Candidate, said: Mapping[str, Any]) -> Model:
        """Return the model with its history in its metadata, if it stays small enough."""
        history = {
            "verdict": said["verdict"], "asked": said["asked"], "target": self.target.name,
            "form": chosen.name, "float_blocks": list(chosen.floating),
        }  # fmt: skip
        model = set_metadata(chosen.model, {"optimized": history})
        limits = [self.original.ByteSize() - 1, self.options.wanted.max_bytes]
        fits = all(limit is None or model.ByteSize() <= limit for limit in limits)
        return model if fits else chosen.model

    def _verdict(self) -> tuple[str, Estimate | None, dict[str, Any]]:
        """Decide on the last part; a form that fails there is given up."""
        found = self.found
        if found.chosen is None:
            return "refused", None, {}
        if found.interrupted:
            return "not proved", None, {}
        scores = self.judge.scores(found.chosen.model, self.parts[2])
        gain = scores.difference(self.options.seed)
        figures = {
            "original": float(scores.theirs.mean()) * 100, "model": float(scores.ours.mean()) * 100,
            "divergence": scores.divergence, "examples": len(scores.ours),
            "flips": int((scores.ours != scores.theirs).sum()),
        }  # fmt: skip
        limit = -self.options.wanted.max_drop
        if gain.value < limit:
            found.why = (
                f"{found.chosen.name} loses {-gain.value:.2f} points on the final data, more than "
                f"{self.options.wanted.max_drop:g}"
            )
            found.chosen = None
            return "refused", gain, figures
        if len(self.judge.samples) < _FEW:
            found.why = (
                f"{len(self.judge.samples)} examples are too few to keep some for a proof: pass "
                "a few hundred"
            )
        elif gain.low is None:
            found.why = gain.note
        elif gain.low >= limit:
            return "proved", gain, figures
        else:
            found.why = f"the interval reaches to {gain.low:.2f} points: more examples may prove it"
        return "not proved", gain, figures

    def _too_slow(self, latency: dict[str, Any] | str) -> str:
        """Return why the chosen form is given up after all, when it was timed again."""
        if isinstance(latency, str):
            return ""
        model, limit = latency["model"], self.options.wanted.max_latency_ms
        if model["ratio_high"] < 1:
            return f"timed again, it is {model['ratio']:.2f} times as fast as what came in"
        if limit is not None and model["median_ms"] > limit:
            return f"timed again, it takes {model['median_ms']:.2f} ms, more than {limit:g}"
        return ""

    def _identity(self, model: Model) -> dict[str, Any]:
        import onnx
        import onnxruntime

        def name(proto: Model) -> str:
            return hashlib.sha256(proto.SerializeToString()).hexdigest()

        return {
            "original_sha256": name(self.original), "model_sha256": name(model),
            "opset": {e.domain or "ai.onnx": e.version for e in model.opset_import},
            "versions": {"edgeml": __version__, "onnxruntime": onnxruntime.__version__,
                         "onnx": onnx.__version__, "numpy": np.__version__},
            "cpu": cpu_name(), "flags": sorted(set(_FLAGS) & cpu_flags()), "threads": cores(),
            "session": dict(self.target.config),
        }  # fmt: skip

    def _data(self) -> dict[str, Any]:
        samples = self.judge.samples
        names = ("calibration", "search", "final")
        return {
            "origin": samples.origin, "examples": len(samples),
            "labels": samples.labels is not None, "groups": samples.groups is not None,
            "parts": {name: len(part) for name, part in zip(names, self.parts, strict=True)},
            "sha256": {name: samples.digest(part[:16])
                       for name, part in zip(names, self.parts, strict=True)},
            "overlap": len(samples) < _FEW,
        }  # fmt: skip

    def _latency(self) -> dict[str, Any] | str:
        """Time the chosen form and the original anew: the search picked by its own timing."""
        chosen = self.found.chosen
        if not self.target.here or chosen is None or self.found.interrupted:
            return "not measured"
        feeds = list(self.judge.samples.feeds(self.parts[2][:8]))
        sessions = [open_model(m, config=self.target.config) for m in
                    (self.original, chosen.model)]  # fmt: skip
        timings = side_by_side(sessions, feeds)
        return {"original": timings[0].to_dict(), "model": timings[1].to_dict()}

    def _looks(self, chosen: Candidate) -> Mapping[str, Any]:
        """Look inside: what ran, the worst layers, saturation, robustness."""
        looks: dict[str, Any] = {}
        feeds = list(self.judge.samples.feeds(self.parts[0][:4]))
        if self.target.here:
            looks["ran"] = what_ran(chosen.model, feeds, config=self.target.config)
            before = weights_bytes(what_runs(self.original, config=self.target.config))
            looks["memory"] = {"original": before, "model": looks["ran"]["weights_bytes"]}
        plan = self.found.plans.get(chosen.name)
        if plan is not None:
            index = Index(self.prepared)  # its weights are those of the plan
            nodes = looks["ran"]["nodes"] if "ran" in looks else {}
            looks["layers"] = layers(index, plan, self.found.sensitivity, nodes, chosen.floating)
            looks["saturation"] = saturation(index, plan, chosen.model)
        try:
            looks["robustness"] = robustness(
                self.original, chosen.model, self.judge, self.parts[2][:_TRIED]
            )
        except EdgeMLError as error:
            self.notes.append(f"robustness not measured: {error}")
        return looks
