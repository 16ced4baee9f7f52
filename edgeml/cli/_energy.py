"""What a call costs in energy, for ``edgeml bench``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeml.devices import EnergyMeter
    from edgeml.runtime import Measurement

_SECONDS = 1.0  # of calls, for the energy of one

Energy = Mapping[str, str | None]


def described(meter: EnergyMeter) -> dict[str, str | None]:
    """Return what counted the energy, or why nothing did; for JSON."""
    return {"source": meter.source or None, "problem": meter.problem}


def sentence(energy: Energy) -> str:
    """Say what the energies in the table are, or why there are none."""
    if energy["problem"] is not None:
        return f"energy: not measured: {energy['problem']}"
    return f"energy: of all that ran, and of idling, by {energy['source']}"


def millijoules(joules: float | None) -> str:
    """Return an energy for a table."""
    return "-" if joules is None else f"{joules * 1e3:.3g}"


def added(joules: float | None, before: float | None, after: float | None) -> float | None:
    """Return the energy so far with that of a turn; None when some of it was not measured."""
    return None if joules is None or before is None or after is None else joules + after - before


def joules_per_call(
    meter: EnergyMeter, call: Callable[[Any], Any], inputs: Any, seconds: float = _SECONDS
) -> float | None:
    """Return the energy of a call, of calls one after the other; None when not measured."""
    call(inputs)
    before, calls, ends = meter.joules, 0, time.monotonic() + seconds
    while not calls or time.monotonic() < ends:
        call(inputs)
        calls += 1
    used = added(0.0, before, meter.joules)
    return None if used is None else used / calls


def energy_of_delegates(
    model: str, found: Measurement, inputs: Any, meter: EnergyMeter | None = None
) -> tuple[list[float | None], Energy]:
    """Return the energy of a call on each delegate that was timed, and what counted it.

    Times are taken in turns of milliseconds, which is too short for a power monitor; so the
    model is loaded once more and runs for a second, where there is a counter at all.
    """
    from edgeml.cli.bench import callable_of
    from edgeml.devices import EnergyMeter
    from edgeml.runtime import load
    from edgeml.runtime._random import random_inputs

    joules: list[float | None] = []
    with meter or EnergyMeter() as opened:
        for row in found.rows:
            if opened.problem is not None or row.problem is not None:
                joules.append(None)
                continue
            with load(model, row.delegate, found.threads) as session:
                given = random_inputs(session.inputs, {}) if inputs is None else inputs
                joules.append(joules_per_call(opened, callable_of(session, given), given))
        return joules, described(opened)
