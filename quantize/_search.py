"""The search for the fastest form that keeps the promise."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ModelError, OptimizeError
from edgeml.quantize._blocks import Block, find_blocks
from edgeml.quantize._calibrate import calibrate
from edgeml.quantize._candidates import FORMS, WEIGHTS, Candidate
from edgeml.quantize._elsewhere import Elsewhere
from edgeml.quantize._index import Index
from edgeml.quantize._judge import Judge
from edgeml.quantize._measure import Timing, side_by_side
from edgeml.quantize._model import Model, check, opset_of
from edgeml.quantize._plan import make_plan, ranges_by, tensors_of
from edgeml.quantize._prepare import input_grid
from edgeml.quantize._qdq import LEAST_OPSET, Params, Plan, write
from edgeml.quantize._ranges import METHODS, Histogram
from edgeml.quantize._rounding import round_weights
from edgeml.quantize._samples import Indices, Samples
from edgeml.quantize._sensitivity import fisher, rank_correlation, sensitivities
from edgeml.quantize._session import open_model
from edgeml.quantize._store import Store
from edgeml.quantize._targets import Target

Array = NDArray[Any]
Listener = Callable[[str, float, float], None]
_ASKED = 16  # examples for sensitivities
_RANKED = 48  # examples that tell methods apart
_FIGURES = ("divergence", "drop", "likely_drop")
_ROUNDED = 64  # examples that weights are rounded for
_ABOUT = 1.1  # divergences on so few examples that are as good as equal
_PREFERRED = ("mse", "minmax", "percentile", "entropy")
_FIRST, _DEEP = 6, 8  # layers that may stay float, of nets with so many
_GLANCES = 7  # rounds that tell which of these is fastest
_NOT_SLOWER = 0.98  # lower end of the interval of the ratio: noise is not a loss
_BAD_FORM = (ModelError, OptimizeError)  # a form that does not run is given up, not the search


@dataclass(frozen=True)
class Wanted:
    """What is promised.

    Args:
        max_drop: Points of the metric that may be lost.
        max_latency_ms: The most a call may take here, or None.
        max_bytes: The most the file may have, or None.
    """

    max_drop: float
    max_latency_ms: float | None = None
    max_bytes: int | None = None


@dataclass
class Found:
    """What a search found.

    Args:
        candidates: All forms that were tried, in order.
        chosen: The one to return, or None: the original is best.
        why: Why there is none, or it was stopped early.
        timings: Of the original and each timed candidate, by name.
        sensitivity: Divergence by block, each alone in 8 bits.
        fisher: Second-order score by block.
        plan: Of the chosen candidate, when it is a static one.
        stages: Seconds by stage.
        interrupted: Whether the user stopped it.
        measured_on: The machine that the timings are of, when it is another.
    """

    candidates: list[Candidate] = field(default_factory=list)
    chosen: Candidate | None = None
    why: str = ""
    timings: dict[str, Timing] = field(default_factory=dict)
    sensitivity: dict[str, float] = field(default_factory=dict)
    fisher: dict[str, float] = field(default_factory=dict)
    plans: dict[str, Plan] = field(default_factory=dict)
    stages: dict[str, float] = field(default_factory=dict)
    interrupted: bool = False
    measured_on: str | None = None

    @property
    def agreement_of_scores(self) -> float | None:
        """Rank correlation of the two sensitivities."""
        return rank_correlation(self.sensitivity, self.fisher)


def _on_grid(scale: float, zero: int, dtype: str) -> Params:
    least = int(np.iinfo(dtype).min)
    return Params(np.array(scale, np.float32), np.array(zero + least, dtype))


def _covers(params: Params, seen: Histogram) -> bool:
    """Return whether the integers reach all values that were seen, not only those of a few."""
    least, most = ((end - int(params.zero_point)) * float(params.scale) for end in params.limits)
    slack = float(params.scale) / 2
    return least - slack <= seen.low and seen.high <= most + slack


class Search:
    """Tries forms of a model, cheap and promising ones first.

    Args:
        original: The model that came in.
        prepared: The same, cleaned up.
        judge: Scores candidates.
        parts: Indices of the examples to calibrate and to search with.
        target: Where it is to run.
        wanted: What is promised.
        seconds: How long it may take.
        store: What an earlier run found.
        listen: Called with (stage, share done, seconds left).
        elsewhere: What was measured on the target, when that is not this machine.
    """

    def __init__(
        self, original: Model, prepared: Model, judge: Judge, parts: tuple[Array, Array],
        target: Target, wanted: Wanted, *, seconds: float, store: Store, listen: Listener,
        elsewhere: Elsewhere | None = None,
    ) -> None:  # fmt: skip
        self.original, self.prepared, self.judge = original, prepared, judge
        self.calibration, self.searching = parts
        self.target, self.wanted, self.store = target, wanted, store
        self.elsewhere = elsewhere
        self.found = Found()
        self._seconds, self._start = seconds, time.monotonic()
        self._listen = listen
        self._index = Index(prepared)
        self._blocks: list[Block] = []
        self._fixed: dict[str, Params] = {}
        self._histograms: dict[str, Histogram] = {}
        self._rounded: dict[str, tuple[Params, Array]] = {}
        self._ranked: dict[str, dict[str, float]] = {}
        self._kept_float: tuple[str, ...] = ()  # as it makes the model no slower
        self._best: Candidate | None = None  # of those that keep the promise on the search data
        self._nearer = np.inf  # divergence that a form must stay below, once one has failed

    @property
    def left(self) -> float:
        """Seconds left."""
        return self._seconds - (time.monotonic() - self._start)

    @property
    def samples(self) -> Samples:
        """The examples."""
        return self.judge.samples

    def run(self) -> Found:
        """Search until it is found or the time is over; Ctrl-C ends it with the best so far."""
        self.store.forget_best(unless=(self.wanted.max_drop, self.wanted.max_bytes))
        self._go_through({
            "calibrating": self._calibrate, "rounding weights": self._round,
            "choosing ranges": self._ranges, "leading layers": self._leading,
            "keeping blocks float": self._mixed, "other forms": self._others, "timing": self._time,
        })  # fmt: skip
        return self.found

    def again(self, lost: float) -> Found:
        """Search on for a safer form: the chosen one lost more on data that it had not seen.

        The search data have said all they can in points, so that the distance of outputs decides:
        a form must be nearer to the original in proportion to what was lost.

        Args:
            lost: Points that it lost there.
        """
        failed, self.found.chosen = self.found.chosen, None
        assert failed is not None
        assert failed.divergence is not None
        failed.note = f"loses {lost:.2f} points on the final data"
        self._nearer = failed.divergence * self.wanted.max_drop / lost
        self._best = None
        self.store.forget_best()
        self._go_through({
            "keeping blocks float": self._mixed, "other forms": self._others, "timing": self._time
        })  # fmt: skip
        return self.found

    def _go_through(self, stages: Mapping[str, Callable[[], None]]) -> None:
        found = self.found
        try:
            for name, stage in stages.items():
                start = time.monotonic()
                self._listen(name, 0.0, max(self.left, 0.0))
                stage()
                took = time.monotonic() - start
                found.stages[name] = found.stages.get(name, 0.0) + took
        except KeyboardInterrupt:
            found.interrupted, found.why = True, "stopped by the user"
            if not found.timings:
                found.chosen = self._best_untimed()
            if found.chosen is None and (kept := self.store.best()) is not None:
                found.why += f"; {kept} is the best of an earlier run"

    def _calibrate(self) -> None:
        self._blocks = find_blocks(self._index, self.target.kernels)
        tensors = tensors_of(self._index, self._blocks)
        old = opset_of(self.prepared) < LEAST_OPSET
        if old or not any(block.weights for block in self._blocks):
            self._blocks = []
            return
        feeds = self._counted(self.calibration, "calibrating")
        self._histograms = calibrate(self.prepared, feeds, tensors)
        few = list(self.samples.feeds(self.calibration[:8]))
        for name in self._index.inputs:
            if name not in self._histograms or self.target.symmetric:
                continue
            grid = input_grid([np.asarray(feed[name]) for feed in few])
            if grid is not None:
                params = _on_grid(*grid, self.target.activations)
                if _covers(params, self._histograms[name]):
                    self._fixed[name] = params

    def _counted(self, indices: Indices, stage: str) -> Iterator[Mapping[str, Array]]:
        for done, feed in enumerate(self.samples.feeds(indices)):
            yield feed
            self._listen(stage, (done + 1) / len(indices), max(self.left, 0.0))

    def _plan(self, method: str, floating: Sequence[str] = ()) -> Plan:
        ranges = ranges_by(method, self._histograms, self._index)
        return make_plan(
            self._index, self._blocks, ranges, self.target, floating=floating, fixed=self._fixed
        )

    def _round(self) -> None:
        """Round all weights together; their scales hardly depend on the ranges."""
        if self._blocks:
            plan = self._plan("minmax")
            feeds = self._counted(self.calibration[:_ROUNDED], "rounding weights")
            self._rounded = {
                name: (plan.weights[name], integers)
                for name, integers in round_weights(self.prepared, plan, feeds).items()
            }

    def _static(
        self, method: str, floating: Sequence[str] = (), *, together: bool = True
    ) -> Candidate:
        plan = self._plan(method, floating)
        rounded = {
            name: integers
            for name, (params, integers) in self._rounded.items()
            if name in plan.weights and np.array_equal(params.scale, plan.weights[name].scale)
        }
        together = together and bool(rounded)
        name = f"int8, {method} ranges" + (", weights rounded together" if together else "")
        many = f"{len(floating)} block{'s' if len(floating) > 1 else ''}"
        name += f", {many} float" if floating else ""
        self.found.plans[name] = plan
        recipe = {
            "form": "static int8", "ranges": method,
            "rounding": "together" if together else "nearest",
        }  # fmt: skip
        model = write(self.prepared, plan, rounded if together else None)
        return Candidate(name, model, recipe, tuple(floating))

    def _ranges(self) -> None:
        if not self._blocks:
            return
        for done, method in enumerate(METHODS):
            self._rank(self._static(method))
            self._listen("choosing ranges", (done + 1) / len(METHODS), max(self.left, 0.0))
        best = self._least_divergent()
        if best is not None and best.recipe["rounding"] == "together":
            self._rank(self._static(best.recipe["ranges"], together=False))
            best = self._least_divergent()
        if best is not None:
            self._weigh(best)

    def _leading(self) -> None:
        """Try the first layers in float, where that takes no longer.

        They have the most places and the fewest channels: 8-bit kernels gain least on them, and
        their rounding is what goes through all that follows.
        """
        best = self._least_divergent()
        layers = [i for i, block in enumerate(self._blocks) if block.weights]
        if not self.target.here or best is None or best.drop is None or len(layers) < _DEEP:
            return
        forms = [best]
        for end in layers[1 : _FIRST + 1]:
            names = [block.name for block in self._blocks[:end]]
            forms.append(self._static(
                best.recipe["ranges"], names, together=best.recipe["rounding"] == "together"
            ))  # fmt: skip
        feeds = list(self.samples.feeds(self.calibration[:4]))
        try:
            sessions = [open_model(form.model, config=self.target.config) for form in forms]
            timings = side_by_side(sessions, feeds, rounds=_GLANCES)
        except _BAD_FORM:  # what they add is speed: without them the search goes on
            return
        fastest = max(range(1, len(forms)), key=lambda k: timings[k].ratio)
        if timings[fastest].ratio >= 1:
            self._weigh(forms[fastest])
            self.found.candidates.append(forms[fastest])
            if not forms[fastest].note:
                self._kept_float = forms[fastest].floating

    def _rank(self, candidate: Candidate) -> None:
        try:
            ranked = self.searching[:_RANKED]
            self._ranked[candidate.name] = self._kept(candidate, ranked)
            candidate.divergence = self._ranked[candidate.name]["divergence"]
        except _BAD_FORM as error:
            candidate.note = str(error)[:300]
        self.found.candidates.append(candidate)

    def _least_divergent(self) -> Candidate | None:
        """Return the ranked form that is nearest, of those that lose about the least.

        Of forms that are about as near, the one whose ranges err least on what was seen of each
        tensor: those few examples cannot tell them apart.
        """
        ranked = [c for c in self.found.candidates if c.name in self._ranked]
        if not ranked:
            return None
        most = min(self._ranked[c.name]["likely_drop"] for c in ranked)
        fit = {c.name: c for c in ranked if self._ranked[c.name]["drop"] <= most}
        gaps = {name: self._ranked[name]["divergence"] for name in fit}
        near = [fit[name] for name, gap in gaps.items() if gap <= _ABOUT * min(gaps.values())]
        return min(near, key=lambda c: (_PREFERRED.index(c.recipe["ranges"]), gaps[c.name]))

    def _kept(self, candidate: Candidate, indices: Indices) -> dict[str, float]:
        """Return a valid candidate's figures, from the store when an earlier run had it.

        Raises:
            ModelError: the standard, or the runtime, does not take it.
        """
        check(candidate.model)
        key = f"{candidate.name}|{candidate.floating}|{len(indices)}"
        known = self.store.get(key)
        if known is None:
            scores = self.judge.scores(candidate.model, indices)
            known = {name: getattr(scores, name) for name in _FIGURES}
            self.store.put(key, known)
        return dict(known)

    def _weigh(self, candidate: Candidate) -> None:
        """Measure what a candidate loses on the search data; one that does not run says why."""
        try:
            figures = self._kept(candidate, self.searching)
        except _BAD_FORM as error:
            candidate.note = str(error)[:300]
            return
        candidate.divergence = figures["divergence"]
        candidate.drop, candidate.likely_drop = figures["drop"], figures["likely_drop"]
        if self._refusal(candidate):
            return
        if self._best is None or self._preference(candidate) < self._preference(self._best):
            self._best = candidate
            self.store.keep_best(candidate.model, candidate.to_dict())

    def _refusal(self, candidate: Candidate) -> str:
        """Return why a form that was weighed cannot be taken, or ""."""
        most = self.wanted.max_bytes
        assert candidate.drop is not None
        if candidate.drop > self.wanted.max_drop:
            return f"loses {candidate.drop:.3g} points on the search data"
        if not self._is_near(candidate):
            return "too much like the form that failed on the final data"
        if most is not None and candidate.size > most:
            return f"{candidate.size} bytes, more than {most}"
        return "" if candidate.size < self.original.ByteSize() else "not smaller than what came in"

    def _is_safe(self, candidate: Candidate) -> bool:
        """Return whether it keeps the promise with a margin: the final data are others."""
        likely = candidate.likely_drop
        return likely is not None and likely <= self.wanted.max_drop and self._is_near(candidate)

    def _is_near(self, candidate: Candidate) -> bool:
        return candidate.divergence is not None and candidate.divergence <= self._nearer

    def _mixed(self) -> None:
        """Keep float what loses most, as little as needed: bisection along that order."""
        judged = [c for c in self.found.candidates if c.drop is not None]
        if not judged or any(map(self._is_safe, judged)):
            return
        recipe = judged[0].recipe
        order = self._order(self.found.plans[judged[0].name])
        low, high = 0, len(order)  # `low` blocks are too few, `high` may be enough
        while high - low > 1 and self.left > 0:
            middle = (low + high) // 2
            names = list(dict.fromkeys([*self._kept_float, *order[:middle]]))
            candidate = self._static(
                recipe["ranges"], names, together=recipe["rounding"] == "together"
            )
            self._weigh(candidate)
            if candidate.name not in {c.name for c in self.found.candidates}:
                self.found.candidates.append(candidate)
            if self._is_safe(candidate):
                high = middle
            else:
                low = middle
            self._listen("keeping blocks float", 1 / max(high - low, 1), max(self.left, 0.0))

    def _order(self, plan: Plan) -> list[str]:
        """Return blocks, those first that lose most when they alone are in 8 bits."""
        key = f"sensitivity|{len(plan.blocks)}|{_ASKED}"
        known = self.store.get(key)
        if known is None:
            asked = self.searching[:_ASKED]
            known = sensitivities(
                self.prepared, plan, lambda: self.samples.feeds(asked), seconds=self.left / 2,
                on_block=lambda done, total: self._listen(
                    "asking each block", done / total, max(self.left, 0.0)
                ),
            )  # fmt: skip
            self.store.put(key, known)
        self.found.sensitivity = dict(known)
        if self.left > 60:
            self.found.fisher = fisher(
                self.prepared, plan, self.samples.feeds(self.searching[: _ASKED // 2])
            )
        # Blocks that were not reached come last.
        names = [block.name for block in plan.blocks if not block.passes]
        return sorted(names, key=lambda name: -known.get(name, -1.0))

    def _others(self) -> None:
        """Try what needs no calibration: for matrices always, else where int8 does not do."""
        safe = any(self._is_safe(c) for c in self.found.candidates if not c.floating)
        tried = {candidate.name for candidate in self.found.candidates}
        for name, make in FORMS.items():
            if self.left < 0:
                return
            if name in tried or (safe and name not in WEIGHTS):
                continue
            candidate = Candidate(name, self.original, {"form": name})
            try:
                model = make(self.prepared)
            except _BAD_FORM as error:
                candidate.note = f"cannot be made: {error}"[:300]
                self.found.candidates.append(candidate)
                continue
            if model is not None:
                candidate.model = model
                self.found.candidates.append(candidate)
                self._weigh(candidate)

    def _best_untimed(self) -> Candidate | None:
        passing = self._passing()
        return min(passing, key=self._preference) if passing else None

    def _preference(self, candidate: Candidate) -> tuple[bool, bool, int]:
        """Return the order of what is not measured: integers throughout are the best guess."""
        guessed = candidate.recipe["form"] != "static int8" and not self.target.here
        return not self._is_safe(candidate), guessed, candidate.size

    def _passing(self) -> list[Candidate]:
        weighed = [c for c in self.found.candidates if not c.note and c.drop is not None]
        for candidate in weighed:
            candidate.note = self._refusal(candidate)
        return [candidate for candidate in weighed if not candidate.note]

    def _time(self) -> None:
        passing = sorted(self._passing(), key=self._preference)[:4]
        if not passing:
            tried = "; ".join(f"{c.name}: {c.note}" for c in self.found.candidates if c.note)
            self.found.why = tried or "nothing in it has 8-bit kernels, or weights worth rounding"
            return
        if not self.target.here:
            self.store.keep_forms(self.original, [c.model for c in passing])
        timings = self._timings(passing)
        if timings is None:
            self.found.chosen = passing[0]
            return
        for candidate in passing:
            timing = timings.get(candidate.name)
            if timing is None:
                candidate.note = "not measured on the target: it is not in the results"
                continue
            candidate.ratio = timing.ratio
            candidate.note = self._too_slow(timing)
        self.found.timings |= timings
        fit = [c for c in passing if not c.note]
        if not fit:
            self.found.why = "; ".join(f"{c.name}: {c.note}" for c in passing)
            return
        fit = [c for c in fit if self._is_safe(c)] or fit
        # Within 3% of the fastest the smallest file wins, and of alike sizes the nearest.
        top = max(c.ratio or 0.0 for c in fit)
        fast = [c for c in fit if (c.ratio or 0.0) >= top * 0.97]
        least = min(c.size for c in fast)
        self.found.chosen = min(
            (c for c in fast if c.size <= least * 1.03), key=lambda c: c.divergence or 0.0
        )

    def _timings(self, forms: Sequence[Candidate]) -> dict[str, Timing] | None:
        """Return how long the original and some forms take on the target, or None."""
        if not self.target.here:
            if self.elsewhere is None:
                return None
            self.found.measured_on = self.elsewhere.machines[0]
            return self.elsewhere.timings(self.original, {form.name: form.model for form in forms})
        feeds = list(self.samples.feeds(self.calibration[:8]))
        sessions = [open_model(m, config=self.target.config) for m in
                    (self.original, *(form.model for form in forms))]  # fmt: skip
        names = ["original", *(form.name for form in forms)]
        return dict(zip(names, side_by_side(sessions, feeds), strict=True))

    def _too_slow(self, timing: Timing) -> str:
        limit = self.wanted.max_latency_ms
        if timing.high < 1:
            return f"{timing.ratio:.2f} times as fast as what came in"
        if timing.low < _NOT_SLOWER:
            return (
                f"{timing.low:.2f} to {timing.high:.2f} times as fast as what came in: "
                "not faster for certain"
            )
        if limit is not None and timing.median > limit:
            return f"{timing.median:.2f} ms, more than {limit:g}"
        return ""
