"""A real recording of a watch, on somebody the model was not trained on."""

from __future__ import annotations

import csv
from importlib.resources import files

import numpy as np
import pytest

from edgeml import ActivityRecognizer, Sample
from edgeml.devices import Reading

CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
S = 1_000_000_000


@pytest.fixture(scope="module")
def watch():
    """Times in s, readings [n, 6], labels."""
    with (files("edgeml") / "media" / "watch.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = np.array([[float(row[c]) for c in CHANNELS] for row in rows], np.float32)
    return np.array([float(row["t"]) for row in rows]), values, [row["label"] for row in rows]


def recognize(times, values, recognizer, source="watch"):
    results = []
    for t, row in zip(times, values, strict=True):
        ns = round(t * 1e9)
        results += list(recognizer(Sample(row, ns, ns, source=source)))
    return results


def share_right(results, times, labels):
    middles = [np.searchsorted(times, (r.t + r.duration / 2) / 1e9) for r in results]
    return np.mean([r.data.label == labels[i] for r, i in zip(results, middles, strict=True)])


def test_the_exercises_are_recognized(watch):
    times, values, labels = watch
    recognizer = ActivityRecognizer()
    results = recognize(times, values, recognizer)
    assert len(results) == pytest.approx(times[-1] - 1, abs=2)
    assert share_right(results, times, labels) > 0.9
    assert recognizer.restarts == 0
    assert {r.duration for r in results} == {2 * S}
    assert set(np.diff([r.t for r in results])) == {S}


def test_jitter_and_missing_readings_do_no_harm(watch):
    times, values, labels = watch
    rng = np.random.default_rng(0)
    keep = rng.random(len(times)) > 0.1
    shaken = np.sort(times + rng.uniform(-0.008, 0.008, len(times)))[keep]
    results = recognize(shaken - shaken[0], values[keep], ActivityRecognizer())
    assert len(results) == pytest.approx(times[-1] - 1, abs=2)
    assert share_right(results, times, labels) > 0.9


def test_another_rate_is_brought_to_the_models(watch):
    times, values, labels = watch
    fast = np.arange(0, times[-1], 1 / 87)
    resampled = np.stack([np.interp(fast, times, c) for c in values.T], 1)
    results = recognize(fast, resampled, ActivityRecognizer())
    assert share_right(results, times, labels) > 0.9


def test_an_exact_grid_is_taken_as_it_is(watch):
    """Interpolation onto the grid on which the readings lie changes nothing."""
    _times, values, _ = watch
    recognizer = ActivityRecognizer()
    first = recognize(np.arange(100) / 50, values[:100], recognizer)[0]
    np.testing.assert_allclose(first.data.scores, recognizer(values[:100]).scores, atol=1e-5)


def test_readings_may_come_in_packets(watch):
    times, values, labels = watch
    recognizer, results = ActivityRecognizer(), []
    for i in range(0, len(values), 25):
        rows = values[i : i + 25]
        t = round(i / 50 * 1e9)
        sample = Sample(rows, t, t, source="watch", duration=len(rows) * S // 50)
        results += list(recognizer(sample))
    assert share_right(results, times, labels) > 0.9


def test_a_gap_starts_anew_and_is_counted(watch):
    _, values, _ = watch
    recognizer = ActivityRecognizer()
    before = np.arange(75) / 50
    after = 10 + np.arange(110) / 50
    results = recognize(np.concatenate([before, after]), values[:185], recognizer)
    assert recognizer.restarts == 1
    assert [r.t for r in results] == [10 * S]


def test_readings_of_a_sensor_are_taken(watch):
    times, values, labels = watch
    readings = [Reading(dict(zip(CHANNELS, row.tolist(), strict=True)), {}) for row in values[:600]]
    results = recognize(times[:600], readings, ActivityRecognizer(smooth=3.0))
    assert {r.data.label for r in results} == {labels[0]}


def test_watches_do_not_mix(watch):
    _times, values, labels = watch
    recognizer, half = ActivityRecognizer(), len(values) // 2
    results = {"one": [], "two": []}
    for i in range(500):
        t = round(i / 50 * 1e9)
        for source, row in (("one", values[i]), ("two", values[half + i])):
            results[source] += list(recognizer(Sample(row, t, t, source=source)))
    assert {r.data.label for r in results["one"]} == {labels[0]}
    assert {r.data.label for r in results["two"]} == {labels[half]}
    assert recognizer.restarts == 0


def test_the_hop_can_be_chosen(watch):
    times, values, _ = watch
    results = recognize(times[:300], values[:300], ActivityRecognizer(hop=0.5))
    assert set(np.diff([r.t for r in results])) == {S // 2}
