"""What is normal, learned from normal readings alone, and what is not, in a stream."""

import asyncio
import json

import numpy as np
import pytest

import edgeml
from edgeml.errors import (
    ConfigError,
    DataError,
    InputError,
    ModelError,
    ShapeError,
    StoreError,
)
from edgeml.personalize import Learner, Store, learn_normal
from edgeml.personalize._alarms import DAY, Timeline, at_most, threshold_for
from edgeml.streams import Sample, Source
from edgeml.tasks import AnomalyDetector

RATE = 50
CHANNELS = ("x", "y", "z")


def machine(seconds, seed=0, gain=1.0, level=0.0):
    """Return readings of a machine that turns: two channels shake, one is noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(seconds * RATE) / RATE
    wave = np.sin(2 * np.pi * 5 * t + rng.uniform(0, 6))
    values = np.stack([gain * wave, 0.5 * wave, np.zeros_like(t)], 1) + level
    return (values + rng.normal(0, 0.1, values.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    return learn_normal(machine(300), rate=RATE, window=1.0, channels=CHANNELS, alarms_per_day=24)


def readings(values, start=0):
    return [Sample(row, t=start + i * 10**9 // RATE, arrived=0, source="motor")
            for i, row in enumerate(values)]  # fmt: skip


def states(detector, *parts):
    """Return the results of parts that follow each other without a gap."""
    values = np.concatenate(parts)

    async def main():
        return [s.data async for s in Source.of(readings(values)) | detector]

    return asyncio.run(main())


def test_normal_stays_normal_and_the_channel_that_changed_is_named(model):
    with_fault = machine(10, seed=2)
    with_fault[:, 1] += np.random.default_rng(3).normal(0, 0.5, len(with_fault))
    found = states(AnomalyDetector(model), machine(20, seed=1), with_fault)
    normal, fault = found[:38], found[-18:]
    assert sum(f.is_anomaly for f in normal) <= 1
    assert all(f.is_anomaly and f.state == "anomaly" and f.channel == "y" for f in fault)
    assert sum(share for _, share in fault[0].contributions) == pytest.approx(1, abs=1e-4)
    assert json.loads(json.dumps(fault[0].to_dict()))["channel"] == "y"


@pytest.mark.parametrize("fault", [
    lambda x: x * np.float32(1.6),                      # stronger
    lambda x: x + np.float32([0, 0, 0.5]),              # a level
    lambda x: x * np.float32([0, 1, 1]),                # a channel that died
    lambda x: np.where(np.arange(len(x))[:, None] == 30, 5, x).astype(np.float32),  # one spike
    lambda x: machine(2)[::2],                          # twice as fast
], ids=["gain", "level", "dead", "spike", "speed"])  # fmt: skip
def test_faults_of_many_kinds(model, fault):
    window = machine(1, seed=5)
    detector = AnomalyDetector(model)
    assert not detector(window).is_anomaly
    assert detector(fault(window)).is_anomaly


def test_slow_drift_is_followed_when_asked_and_a_jump_is_not(model):
    drift = machine(300, seed=4) + np.linspace(0, 1, 300 * RATE, dtype=np.float32)[:, None]
    plain = states(AnomalyDetector(model), drift)
    assert plain[-1].is_anomaly
    following = AnomalyDetector(model, adapt=10)
    jump = machine(20, seed=6, level=4.0)
    found = states(following, drift, jump)
    assert sum(f.is_anomaly for f in found[: len(plain)]) <= 2
    assert all(f.is_anomaly for f in found[-30:])  # what is not normal is not followed


def test_false_alarms_are_as_few_as_asked():
    rng = np.random.default_rng(0)
    for draw, low, high in ((rng.normal, 0, 50), (lambda size: rng.standard_t(4, size), 3, 90)):
        found = []
        for _ in range(40):
            scores = draw(size=3600)
            hour = Timeline(scores, np.arange(3600.0), np.zeros(3600), 1.0, 1.0)
            found.append((draw(size=200_000) > threshold_for(hour, 24)).mean() * DAY)
        assert low <= np.mean(found) <= high  # 24 asked, from an hour: an extrapolation


def test_false_alarms_of_a_model_on_readings_that_it_has_not_seen():
    rng = np.random.default_rng(1)
    model = learn_normal(rng.normal(size=(18000, 2)), rate=10, alarms_per_day=240)
    windows = rng.normal(size=(7200, 20, 2)).astype(np.float32)  # two hours
    detector = AnomalyDetector(model)
    detector.open()
    scores = detector.session.run({"readings": windows})["score"]
    assert (scores > model.report.threshold).sum() <= 40  # 20 asked; Poisson
    assert model.report.at_most >= 240


def test_a_long_recording_needs_no_extrapolation():
    scores = np.random.default_rng(0).normal(size=100_000)
    line = Timeline(scores, np.arange(1e5), np.zeros(100_000), 1.0, 1.0)
    threshold = threshold_for(line, 24)
    assert (scores > threshold).sum() == int(24 * 1e5 / DAY)


def test_windows_that_overlap_are_one_alarm():
    scores = np.array([0, 3, 4, 2, 0, 0, 5, 0.0])
    line = Timeline(scores, np.arange(8) * 0.5, np.zeros(8), 0.5, 1.0)
    np.testing.assert_array_equal(line.peaks(1.0), [4, 5])
    apart = Timeline(scores, np.arange(8) * 0.5, np.repeat([0, 1], [2, 6]), 0.5, 1.0)
    np.testing.assert_array_equal(apart.peaks(1.0), [3, 4, 5])


@pytest.mark.parametrize(("count", "bound"), [(0, 2.996), (1, 4.744), (10, 16.96), (300, 330.1)])
def test_bound_is_poissons(count, bound):
    assert at_most(count, DAY) == pytest.approx(bound, rel=1e-3)


def test_report_says_what_is_proven(model):
    report = model.report
    assert report.hours == pytest.approx(300 / 3600, rel=0.01)
    assert report.at_most > 24 * 20  # five minutes prove little
    assert "prove no more than" in str(report)
    assert "times as many readings" in str(report)


def test_recordings_that_do_not_follow_each_other():
    parts = [machine(20, seed=i) for i in range(6)]
    model = learn_normal(parts, rate=RATE, window=1.0)
    assert model.report.windows == 6 * 39
    assert not AnomalyDetector(model)(machine(1, seed=50)).is_anomaly


def test_only_the_least_alike_windows_are_kept_and_it_says_so():
    model = learn_normal(machine(120), rate=RATE, window=1.0, most=50)
    assert "keeps the 50" in model.report.notes[-1]
    detector = AnomalyDetector(model)
    assert not any(detector(machine(1, seed=i)).is_anomaly for i in range(10, 20))
    assert detector(machine(1, gain=3.0)).is_anomaly


def test_a_file_and_a_store_keep_it(model, tmp_path):
    model.export(tmp_path / "motor.onnx")
    window = machine(1, seed=7)
    found = AnomalyDetector(tmp_path / "motor.onnx")(window)
    assert found == AnomalyDetector(model)(window)
    with edgeml.load(tmp_path / "motor.onnx") as session:
        assert session.metadata.task == "anomaly-detection"
        assert session.metadata.preprocess["channels"] == list(CHANNELS)
    with Store(tmp_path / "store") as store:
        store.accept(model.content, model.info)
        assert store.current()[1] == model.content
        assert store.history()[0].info["threshold"] == model.report.threshold
        assert AnomalyDetector(store.current()[1])(window) == found
    with pytest.raises(StoreError, match="no head of a learner"):
        Learner("edgeml:activity_watch_int8.onnx", store=tmp_path / "store")


@pytest.mark.parametrize(("values", "options", "error", "said"), [
    (machine(10), {}, DataError, "record more"),
    (np.where(np.eye(15000, 1, -7), np.nan, machine(300)), {}, DataError, "'x' holds NaN"),
    (machine(300) * [1, 1, 0], {}, DataError, "'z' is 0 in all readings"),
    ([machine(100), np.ones((500, 2))], {}, ShapeError, "same channels"),
    (machine(300), {"channels": ["x"]}, ShapeError, "there are 3, and 1 names"),
    (machine(300), {"window": 0.05}, ConfigError, "8 to 2048 readings"),
    (machine(300), {"rate": 0}, ConfigError, "above 0"),
    (machine(300), {"rate": float("inf")}, ConfigError, "finite rate"),
    ("text", {}, ShapeError, "expected numbers"),
])  # fmt: skip
def test_refuses_what_nothing_can_be_learned_from(values, options, error, said):
    with pytest.raises(error, match=said):
        learn_normal(values, **{"rate": RATE, "window": 1.0, "channels": CHANNELS, **options})


def test_refuses_other_readings_and_other_models(model):
    detector = AnomalyDetector(model)
    with pytest.raises(InputError, match="3 channels"):
        detector(np.ones((RATE, 2)))
    with pytest.raises(InputError, match="NaN"):
        detector(np.full((RATE, 3), np.nan))
    with pytest.raises(ModelError, match="learn_normal"):
        AnomalyDetector("edgeml:activity_watch_int8.onnx")(np.ones((100, 6)))
    with pytest.raises(ValueError, match="threshold must be positive"):
        AnomalyDetector(model, threshold=0)
