"""Which delegate is the fastest whose outputs are right: measured, not guessed."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.errors import DelegateError, ModelError
from edgeml.platform import cores, resident
from edgeml.runtime import _delegates
from edgeml.runtime._agreement import TOLERANCES, disagreement
from edgeml.runtime._availability import Reason
from edgeml.runtime._backend import Delegate
from edgeml.runtime._delegate import DelegateLike, availability, every, parse
from edgeml.runtime._placement import CPU
from edgeml.runtime._random import random_inputs
from edgeml.runtime._session import Inputs, Session
from edgeml.runtime._winners import remember as keep

_CHECKS = 4  # sets of random inputs to compare outputs with
_WARM = 3  # calls
_SLICE = 0.02  # seconds that each delegate has its turn
_ROUNDS = 11  # at least
_REGRET = 1.03  # how much faster another may be than the winner, at most
_SURE = 2.33  # standard deviations: 99%, one-sided
_PATIENCE = 4  # times the seconds for timing, while that is not sure


@dataclass(frozen=True)
class MeasuredDelegate:
    """What was measured of one delegate.

    Attributes:
        delegate: Which.
        problem: Why it cannot be used, in words; None if it can.
        median_ms: Of one call; None when it was not timed.
        spread_ms: Quartiles of the rounds.
        speedup: Over the CPU: the median of the rounds' ratios, as both had the same moments.
        calls: How many calls were timed.
        load_ms: Opening the model and the first calls.
        memory: Bytes that the process grew by meanwhile.
        error: How far its outputs are from the CPU's, relative to their size.
        tolerance: Up to which they count as right, by its precision.
        on_cpu: How many of the model's nodes it left to the CPU.
    """

    delegate: Delegate
    problem: str | None = None
    median_ms: float | None = None
    spread_ms: tuple[float, float] | None = None
    speedup: float | None = None
    calls: int = 0
    load_ms: float | None = None
    memory: int | None = None
    error: float | None = None
    tolerance: float | None = None
    on_cpu: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        error = self.error if self.error is None or np.isfinite(self.error) else None
        return {**vars(self), "delegate": self.delegate.to_dict(), "error": error}


@dataclass(frozen=True)
class Measurement:
    """What `measure` found.

    Attributes:
        model: As it was given; a URL without what may be secret in it.
        threads: Of one call, for delegates on the CPU.
        winner: The fastest whose outputs are right.
        rows: One for each delegate.
        remembered: Whether ``"auto"`` takes the winner from now on.
    """

    model: str
    threads: int
    winner: Delegate
    rows: tuple[MeasuredDelegate, ...]
    remembered: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        rows = [row.to_dict() for row in self.rows]
        return {**vars(self), "winner": self.winner.to_dict(), "rows": rows}


@dataclass
class _Candidate:
    """A delegate with the model loaded."""

    row: dict[str, Any]
    session: Session
    call: Callable[[Any], Any]
    rounds: list[float] = field(default_factory=list)
    calls: int = 0


def measure(
    path: str | os.PathLike[str],
    delegates: DelegateLike | None = None,
    *,
    inputs: Inputs | None = None,
    threads: int | None = None,
    seconds: float = 2.0,
    remember: bool = True,
) -> Measurement:
    """Time a model on delegates, check their outputs, and remember the fastest that is right.

    Each is warmed up; calls are timed in turns, so that a clock that changes or a busy moment
    meets all alike, until it is sure (99%) that no other is more than 3% faster than the
    winner. Outputs are compared with the CPU's with a tolerance by precision: one whose outputs
    are off never wins. Neither does a simulator, which is not timed.

    Args:
        path: As for `load`.
        delegates: Which; None is all that can be had here. The CPU always takes part.
        inputs: What to run; None is random numbers, with free dimensions of 1. Give real data
            where random numbers mean nothing to the model.
        threads: Of one call; None is all cores. Winners are kept by the number of threads.
        seconds: Time for timing, in all; up to four times that while the fastest is not sure.
        remember: Whether ``"auto"`` shall take the winner for this model on this device, until
            the device or a version changes.

    Raises:
        ModelError: the model does not run on the CPU.
        DelegateError: an option of a delegate is wrong.
        ValueError: `threads` or `seconds` is no such number.

    Example:
        >>> from edgeml.runtime import measure
        >>> found = measure("edgeml:activity_watch_int8.onnx", "cpu", seconds=0.1, remember=False)
        >>> str(found.winner), found.rows[0].problem
        ('cpu', None)
    """
    from edgeml.runtime._load import check_threads, resolve, said

    check_threads(threads)
    if not 0 < seconds < math.inf:
        raise ValueError(f"seconds must be a positive number; received {seconds!r}")
    file, used = resolve(path), threads or cores()
    reference = _reference(file)
    candidates: list[_Candidate] = []
    rows: list[MeasuredDelegate | _Candidate] = []
    try:
        for delegate in [reference, *_asked(delegates, file, reference)]:
            made = _open(file, delegate, used, candidates[0] if candidates else None, inputs)
            rows.append(made)
            if isinstance(made, _Candidate):
                candidates.append(made)
        timed = [c for c in candidates if c.row["problem"] is None]
        _time(timed, _sets(candidates[0].session, inputs)[0], seconds)
    finally:
        for candidate in candidates:
            candidate.session.close()
    done = tuple(
        _finished(row, candidates[0]) if isinstance(row, _Candidate) else row for row in rows
    )
    right = [row for row in done if row.problem is None]
    winner = max(right, key=lambda row: row.speedup or 0.0).delegate
    table = [row.to_dict() for row in done]
    kept = remember and keep(file, used, winner, table)
    return Measurement(said(path), used, winner, done, kept)


def _reference(file: Path) -> Delegate:
    """Return the delegate whose outputs are right: the CPU, without XNNPACK."""
    return Delegate("cpu", xnnpack=False) if _format(file) == "tflite" else Delegate("cpu")


def _format(file: Path) -> str:
    with file.open("rb") as opened:
        return "tflite" if opened.read(8)[4:] == b"TFL3" else "onnx"


def _asked(delegates: DelegateLike | None, file: Path, reference: Delegate) -> list[Delegate]:
    """Return the delegates to measure beside the reference."""
    model_format = _format(file)
    if delegates is None:
        found = [
            entry
            for entry in every()
            if availability(entry, model_format).reason is Reason.AVAILABLE
        ]
    else:
        found = []
        for entry in parse(delegates):
            if entry.name in _delegates.KINDS:
                found += [
                    Delegate(one.name, one.device, entry.required, **entry.options)
                    for one in every(entry.name)
                ]
            else:
                found.append(entry)
    for entry in found:
        if (backend := _delegates.find(entry.name)) is not None:
            backend.check(entry)
    if model_format == "tflite":  # the CPU is XNNPACK by another name
        found = [entry for entry in found if entry.name != "cpu"]
    return [entry for entry in found if entry != reference or entry.options != reference.options]


def _open(
    file: Path, delegate: Delegate, threads: int, reference: _Candidate | None, inputs: Any
) -> MeasuredDelegate | _Candidate:
    """Load the model on a delegate and check its outputs."""
    from edgeml.runtime._load import load

    found = availability(delegate, _format(file))
    if not found:
        return MeasuredDelegate(delegate, str(found))
    before, began = resident(), time.perf_counter()
    session = None
    try:
        session = load(file, delegate, threads)
        call = _callable(session, _sets(session, inputs)[0])
        for _ in range(_WARM):
            call(_sets(session, inputs)[0])
        row: dict[str, Any] = {
            "delegate": delegate,
            "problem": None,
            "load_ms": (time.perf_counter() - began) * 1e3,
            "memory": max(resident() - before, 0),
            "on_cpu": sum(node.delegate == CPU for node in session.placement()),
        }
        if reference is not None:
            row |= _checked(reference.session, session, delegate, inputs)
    except (DelegateError, ModelError) as error:
        if session is not None:
            session.close()
        if reference is None:
            if session is not None and inputs is None and (free := _free(session)):
                raise ModelError(
                    f"{error}; the free dimensions of {', '.join(free)} were 1: give inputs=, or "
                    "on the command line --shape"
                ) from error
            raise
        return MeasuredDelegate(delegate, str(error))
    if found.reason is Reason.SIMULATED and row["problem"] is None:
        row["problem"] = "a simulator: its outputs are right, its time says nothing"
    return _Candidate(row, session, call)


def _free(session: Session) -> list[str]:
    """Return the inputs that have free dimensions."""
    return [s.name for s in session.inputs if not all(type(n) is int for n in s.shape)]


def _checked(reference: Session, session: Session, delegate: Delegate, inputs: Any) -> Any:
    """Compare outputs with the reference's."""
    backend = _delegates.find(delegate.name)
    tolerance = TOLERANCES[backend.precision(delegate) if backend else "fp32"]
    if _is_quantized(reference):
        tolerance = max(tolerance, TOLERANCES["int8"])
    sets = _sets(session, inputs)
    expected = list(map(_callable(reference, sets[0]), sets))
    received = list(map(_callable(session, sets[0]), sets))
    error, output = disagreement(expected, received)
    problem = None
    if not np.isfinite(error):
        problem = f"output {output!r} has NaN or infinity, or a shape, where the CPU's has not"
    elif error > tolerance:
        problem = (
            f"output {output!r} is off by {error:.2g} of the CPU's; {tolerance:.2g} is allowed"
        )
    return {"error": error, "tolerance": tolerance, "problem": problem}


def _sets(session: Session, inputs: Any) -> list[Any]:
    """Return the inputs to check with; the first is the one to time."""
    if inputs is not None:
        return [inputs]
    return [random_inputs(session.inputs, {}, seed) for seed in range(_CHECKS)]


def _is_quantized(session: Session) -> bool:
    signs = ("QuantizeLinear", "QLinear", "Integer", "MatMulNBits", "QUANTIZE")
    return any(sign in node.op for node in session.placement() for sign in signs) or any(
        spec.dtype.kind in "iu" and spec.dtype.itemsize == 1 for spec in session.inputs
    )


def _callable(session: Session, inputs: Any) -> Callable[[Any], Any]:
    """Return what runs the model: one that keeps its state itself runs in a stream only."""
    try:
        session.run(inputs)
    except ModelError as error:
        try:
            session.stream().run(inputs)
        except ModelError:
            raise error from None
        return session.stream().run
    return session.run


def _time(candidates: Sequence[_Candidate], inputs: Any, seconds: float) -> None:
    """Time calls in rounds, in which each candidate has its turn; the order goes round."""
    racing, began, done = list(candidates), time.monotonic(), 0
    while True:
        for k in range(len(racing)):
            _turn(racing[(k + done) % len(racing)], inputs, candidates[0])
        racing = [candidate for candidate in racing if candidate.row["problem"] is None]
        done += 1
        spent = time.monotonic() - began
        if (
            done >= _ROUNDS
            and spent >= seconds
            and (_is_sure(racing) or spent > _PATIENCE * seconds)
        ):
            return


def _turn(candidate: _Candidate, inputs: Any, reference: _Candidate) -> None:
    times: list[float] = []
    try:
        candidate.call(inputs)  # what ran in between had the caches and the threads
        turn_ends = time.perf_counter() + _SLICE
        while not times or time.perf_counter() < turn_ends:
            began = time.perf_counter()
            candidate.call(inputs)
            times.append(time.perf_counter() - began)
    except (DelegateError, ModelError) as error:
        if candidate is reference:
            raise
        candidate.row["problem"] = f"it failed while it was timed: {error}"
        return
    candidate.rounds.append(float(np.median(times)) * 1e3)
    candidate.calls += len(times)


def _is_sure(racing: Sequence[_Candidate]) -> bool:
    """Return whether no other can be much faster than the one that leads.

    By rounds, which are pairs: the one-sided confidence bound of the median of their ratios,
    from order statistics, so that busy moments do not count more than others.
    """
    leader = min(racing, key=lambda candidate: _relative(candidate, racing[0]))
    for candidate in racing:
        ratios = np.sort(np.divide(candidate.rounds, leader.rounds))
        rank = int(len(ratios) / 2 - _SURE * math.sqrt(len(ratios)) / 2)
        if candidate is not leader and ratios[max(rank - 1, 0)] < 1 / _REGRET:
            return False
    return True


def _relative(candidate: _Candidate, reference: _Candidate) -> float:
    """Return the median of the rounds' ratios to the reference; less is faster."""
    return float(np.median(np.divide(candidate.rounds, reference.rounds)))


def _finished(candidate: _Candidate, reference: _Candidate) -> MeasuredDelegate:
    row: Mapping[str, Any] = candidate.row
    if not candidate.rounds or row["problem"] is not None:
        return MeasuredDelegate(**row)
    low, median, high = np.percentile(candidate.rounds, [25, 50, 75]).tolist()
    speedup = 1 / _relative(candidate, reference)
    return MeasuredDelegate(
        **row, median_ms=median, spread_ms=(low, high), speedup=speedup, calls=candidate.calls
    )
