"""The last look at what a search chose, on data that nothing was chosen with."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._version import __version__
from edgeml.errors import EdgeMLError, OptimizeError
from edgeml.evaluation import Estimate
from edgeml.platform import cores, cpu_flags, cpu_name
from edgeml.quantize._candidates import Candidate
from edgeml.quantize._footprint import footprint
from edgeml.quantize._index import Index
from edgeml.quantize._judge import Judge
from edgeml.quantize._measure import side_by_side
from edgeml.quantize._metadata import set_metadata
from edgeml.quantize._model import Model
from edgeml.quantize._report import Report
from edgeml.quantize._robust import robustness
from edgeml.quantize._search import Found, Search, Wanted
from edgeml.quantize._session import open_model, what_runs
from edgeml.quantize._targets import Target
from edgeml.quantize._truth import layers, saturation, weights_bytes, what_ran

Array = NDArray[Any]
SCHEMA = 1
FEW = 10  # examples below which they are not divided
_TRIED = 32  # examples for robustness
_FLAGS = ("avx2", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm", "sve", "sme")


class Examination:
    """Judges the chosen form and describes it.

    Args:
        original: The model that came in.
        prepared: The same, cleaned up.
        judge: Scores candidates.
        parts: Indices of the examples to calibrate, to search and to decide with.
        target: Where it is to run.
        wanted: What is promised.
        found: What the search found.
        search: The search, which may go on when the chosen form fails; None: it cannot.
        seed: Of the intervals.
        notes: What the report is to say; grows.
    """

    def __init__(
        self, original: Model, prepared: Model, judge: Judge, parts: list[Array], target: Target,
        wanted: Wanted, found: Found, search: Search | None, *, seed: int, notes: list[str],
    ) -> None:  # fmt: skip
        self.original, self.prepared, self.judge, self.parts = original, prepared, judge, parts
        self.target, self.wanted, self.found, self.search = target, wanted, found, search
        self.seed, self.notes = seed, notes

    def result(self) -> tuple[Model, Report]:
        """Return the model to take, and the report."""
        verdict, difference, scores = self._verdict()
        latency = self._latency()
        if slow := self._too_slow(latency):
            self.found.why, self.found.chosen, verdict = slow, None, "refused"
        chosen = self.found.chosen
        if chosen is not None and not self.found.interrupted:
            self._explain(chosen)
        said: dict[str, Any] = {
            "verdict": verdict,
            "asked": {"metric": self.judge.metric.name, **asdict(self.wanted),
                      "seed": self.seed},
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
        return model, Report(content)

    def _explain(self, chosen: Candidate) -> None:
        """Say of each form that keeps the promise, too, why another was taken."""
        for other in self.found.candidates:
            if other is not chosen and not other.note:
                other.note = (
                    "outputs less near, or as near as another's" if other.drop is None
                    else "not timed: the chosen one is the better guess" if other.ratio is None
                    else "the chosen one is faster, or smaller and about as fast"
                )  # fmt: skip

    def _described(self, chosen: Candidate, said: Mapping[str, Any]) -> Model:
        """Return the model with its history in its metadata, if it stays small enough."""
        history = {
            "verdict": said["verdict"], "asked": said["asked"], "target": self.target.name,
            "form": chosen.name, "float_blocks": list(chosen.floating),
        }  # fmt: skip
        model = set_metadata(chosen.model, {"optimized": history})
        limits = [self.original.ByteSize() - 1, self.wanted.max_bytes]
        fits = all(limit is None or model.ByteSize() <= limit for limit in limits)
        return model if fits else chosen.model

    def _verdict(self) -> tuple[str, Estimate | None, dict[str, Any]]:
        """Decide on the last part; a form that fails there makes way for a safer one, once."""
        found = self.found
        if found.chosen is None:
            return "refused", None, {}
        if found.interrupted:
            return "not proved", None, {}
        first = found.chosen.name
        said = self._judged(found.chosen)
        if said[0] != "refused":
            return said
        failed = found.why
        if self.search is None or self.search.left <= 0:
            found.chosen = None
            return said
        assert said[1] is not None
        found = self.found = self.search.again(-said[1].value)
        if found.chosen is None:
            found.why = f"{failed}; {found.why}"
            return said
        if found.interrupted:
            return "not proved", None, {}
        second = self._judged(found.chosen)
        if second[0] == "refused":
            found.why, found.chosen = f"{failed}; {found.why}", None
            return second
        # What was chosen with a look at these data is not proved by them.
        found.why = f"it was taken after {first} had failed on the same data: others may prove it"
        return ("not proved", *second[1:])

    def _judged(self, chosen: Candidate) -> tuple[str, Estimate | None, dict[str, Any]]:
        """Return the verdict on a form."""
        found = self.found
        scores = self.judge.scores(chosen.model, self.parts[2])
        gain = scores.difference(self.seed)
        figures = {
            "original": float(scores.theirs.mean()) * 100, "model": float(scores.ours.mean()) * 100,
            "divergence": scores.divergence, "examples": len(scores.ours),
            "flips": int((scores.ours != scores.theirs).sum()),
        }  # fmt: skip
        limit = -self.wanted.max_drop
        if gain.value < limit:
            found.why = (
                f"{chosen.name} loses {-gain.value:.2f} points on the final data, more than "
                f"{self.wanted.max_drop:g}"
            )
            return "refused", gain, figures
        if len(self.judge.samples) < FEW:
            found.why = (
                f"{len(self.judge.samples)} examples are too few to keep some for a proof: pass "
                "a few hundred"
            )
        elif figures["original"] <= self.wanted.max_drop:
            found.why = (
                f"the original itself gets {figures['original']:.2f} points, no more than may be "
                "lost: see whether data and labels are right"
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
        model, limit = latency["model"], self.wanted.max_latency_ms
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
            "overlap": len(samples) < FEW,
        }  # fmt: skip

    def _latency(self) -> dict[str, Any] | str:
        """Time the chosen form and the original anew: the search picked by its own timing."""
        chosen = self.found.chosen
        if chosen is None or self.found.interrupted:
            return "not measured"
        if not self.target.here:
            known = self.found.timings
            if chosen.name not in known:
                return "not measured"
            return {"original": known["original"].to_dict(), "model": known[chosen.name].to_dict(),
                    "measured_on": self.found.measured_on}  # fmt: skip
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
            try:
                looks["process"] = {
                    name: footprint(model, feeds[0], self.target.config)
                    for name, model in (("original", self.original), ("model", chosen.model))
                }
            except OptimizeError as error:
                self.notes.append(str(error))
        plan = self.found.plans.get(chosen.name)
        if plan is not None:
            index = Index(self.prepared)  # its weights are those of the plan
            nodes = looks["ran"]["nodes"] if "ran" in looks else {}
            looks["layers"] = layers(index, plan, self.found.sensitivity, nodes, chosen.floating)
            looks["saturation"] = saturation(index, plan, chosen.model)
        try:
            some = self.parts[2][:_TRIED]
            looks["robustness"] = robustness(self.original, chosen.model, self.judge, some)
            looks["robust_examples"] = len(some)
        except EdgeMLError as error:
            self.notes.append(f"robustness not measured: {error}")
        return looks
