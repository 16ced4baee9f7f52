"""Steadiness by sample time, at any and irregular frame rates."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml import SKIP, Sample
from edgeml.errors import InputError
from edgeml.tasks import Box, Changed, Classification, Debounce, Detection, Detections, Hold, Smooth

S = 1_000_000_000
LABELS = ("a", "b")


def sample(data, t, source="s", **meta):
    return Sample(data, t, t, source=source, meta=meta)


@st.composite
def streams(draw):
    """States with increasing, irregular times in ns."""
    gaps = draw(st.lists(st.integers(1, 3 * S), min_size=1, max_size=40))
    states = draw(st.lists(st.sampled_from("abc"), min_size=len(gaps), max_size=len(gaps)))
    times = np.cumsum(gaps).tolist()
    return list(zip(times, states, strict=True))


seconds = st.floats(0, 5)


@given(streams(), st.floats(0.01, 10))
def test_smooth_reaches_63_percent_after_its_time_constant_at_any_rate(stream, tau):
    """A step from 0 to 1 is 1 - exp(-T / tau) after T, however many samples lie between."""
    smooth = Smooth(tau)
    smooth(sample(0.0, 0))
    for t, _ in stream:
        got = smooth(sample(1.0, t)).data
        assert got == pytest.approx(1 - math.exp(-t / S / tau), abs=1e-9)


@given(st.lists(st.tuples(st.integers(1, S), st.floats(0, 1)), min_size=1), st.floats(0.01, 10))
def test_smoothed_probabilities_stay_probabilities(steps, tau):
    smooth, t = Smooth(tau), 0
    for gap, p in steps:
        t += gap
        scores = np.array([p, 1 - p], np.float32)
        result = smooth(sample(Classification.of(scores, LABELS), t)).data
        assert result.scores.sum() == pytest.approx(1, abs=1e-4)
        assert result.score == pytest.approx(float(result.scores.max()))
        assert result.label == LABELS[int(result.scores.argmax())]


def test_smooth_0_changes_nothing():
    smooth = Smooth(0)
    assert [smooth(sample(x, t)).data for t, x in enumerate([1.0, 0.0, 1.0])] == [1, 0, 1]


@given(streams(), seconds)
def test_hold_keeps_every_state_for_its_time(stream, hold):
    stage, changes, last = Hold(hold), [], None
    for t, state in stream:
        out = stage(sample(state, t))
        assert out.t == t
        if out.data != last:
            changes.append(t)
            last = out.data
    assert all(b - a >= hold * S for a, b in itertools.pairwise(changes))


@given(streams(), seconds)
def test_hold_takes_a_new_state_as_soon_as_it_may(stream, hold):
    stage, since, shown = Hold(hold), None, None
    for t, state in stream:
        out = stage(sample(state, t)).data
        if shown is None or (state != shown and t - since >= hold * S):
            since, shown = t, state
        assert out == shown


@given(streams(), seconds)
def test_debounce_lets_only_lasting_states_pass(stream, least):
    stage, shown = Debounce(least), None
    for i, (t, state) in enumerate(stream):
        out = stage(sample(state, t))
        # How long the input has been in this state.
        since = t
        for t_before, before in reversed(stream[: i + 1]):
            if before != state:
                break
            since = t_before
        if t - since >= least * S:
            shown = state
        assert (out is SKIP) == (shown is None)
        assert out is SKIP or out.data == shown


@given(streams(), st.none() | st.floats(0, 5))
def test_changed_loses_no_change_and_keeps_the_heartbeat(stream, heartbeat):
    stage, passed = Changed(heartbeat), None
    for t, state in stream:
        out = stage(sample(state, t))
        due = passed is not None and heartbeat is not None and t - passed[0] >= heartbeat * S
        assert (out is not SKIP) == (passed is None or passed[1] != state or due)
        if out is not SKIP:
            passed = (t, state)


def test_results_are_compared_by_their_state_not_their_scores():
    changed = Changed()

    def found(x, *labels):
        return Detections(Detection(Box(x, 0, 5, 5), label, x / 10) for label in labels)

    assert changed(sample(found(1, "cat"), 0)) is not SKIP
    assert changed(sample(found(2, "cat"), 1)) is SKIP
    assert changed(sample(found(2, "cat", "dog"), 2)) is not SKIP
    assert changed(sample(found(3, "dog", "cat"), 3)) is SKIP


def test_key_says_what_a_state_is():
    changed = Changed(key=lambda value: value // 10)
    assert [changed(sample(x, t)) is not SKIP for t, x in enumerate([1, 5, 11, 15])] == [
        True, False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("make", [Smooth, Hold, Debounce])
def test_sources_do_not_mix(make):
    stage = make(1.0)
    for t in range(0, 5 * S, S // 2):
        one, two = stage(sample(0.0, t, "one")), stage(sample(1.0, t, "two"))
        assert one is SKIP or one.data == 0
        assert two is SKIP or two.data == 1


@pytest.mark.parametrize("restart", [{"t": -S}, {"t": 2 * S, "discontinuity": True}])
def test_a_restart_of_the_source_forgets_what_was(restart):
    smooth = Smooth(100.0)
    smooth(sample(0.0, 0))
    assert smooth(sample(1.0, restart.pop("t"), **restart)).data == 1.0


@pytest.mark.parametrize("stage", [Smooth(1), Hold(1), Debounce(1), Changed()])
def test_what_has_no_time_is_refused(stage):
    with pytest.raises(InputError, match=r"expected a Sample.*received float"):
        stage(0.5)


@pytest.mark.parametrize("make", [Smooth, Hold, Debounce, Changed])
@pytest.mark.parametrize("bad", [-1, math.nan, math.inf])
def test_bad_seconds_are_refused(make, bad):
    with pytest.raises(ValueError, match="seconds; received"):
        make(bad)
