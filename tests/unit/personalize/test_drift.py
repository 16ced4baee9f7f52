"""Drift of features: found when it is there, rarely when not, and said why."""

import asyncio
import json
import math
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgeml.errors import ConfigError, ShapeError
from edgeml.personalize import Backbone, DriftWatch, Learner
from edgeml.streams import Sample, Source
from edgeml.tasks import Classification


def series(count, rho, rng, size=8):
    """Return features of which neighbours are alike."""
    x = rng.normal(size=(count, size))
    for i in range(1, count):
        x[i] = rho * x[i - 1] + math.sqrt(1 - rho**2) * x[i]
    return x.astype(np.float32)


def checked(watch, rows, checks=1):
    for row in rows:
        watch(row)
        if watch.checks == checks:
            break
    return watch


@pytest.mark.parametrize(("rho", "stride"), [(0.0, 1), (0.8, 8)])
def test_false_alarms_are_as_rare_as_promised(rho, stride):
    rng = np.random.default_rng(1)
    alarms, rounds = 0, 120
    for _ in range(rounds):
        watch = DriftWatch(every=0, reference=100, recent=50, false_alarms=0.05)
        checked(watch, series(stride * 300, rho, rng))
        assert watch.checks == 1
        alarms += watch.drift is not None
    assert alarms <= 14  # 6 expected; more with a probability of 0.002
    assert watch.stride in (stride // 2, stride, 2 * stride)


@pytest.mark.parametrize("change", [
    lambda x: x + np.float32(0.5),                                # a shift
    lambda x: x * np.float32(1.5),                                # a spread
    lambda x: np.where(np.arange(len(x))[:, None] % 4, x, 3.0),   # a kind that is new
], ids=["shift", "spread", "mixture"])  # fmt: skip
def test_drift_is_found(change):
    rng = np.random.default_rng(2)
    watch = checked(DriftWatch(every=0), series(500, 0.0, rng))
    assert watch.drift is None
    checked(watch, change(series(100, 0.0, rng)), checks=2)
    assert watch.drift is not None
    assert watch.drift.p <= 0.001


@pytest.fixture(scope="module")
def watch_recordings():
    """Features of ten people's exercises, as the watch was worn and turned on the wrist."""
    package = Path(find_spec("seglearn").origin).parent
    data = np.load(package / "data" / "watch_dataset.npy", allow_pickle=True).item()
    units, turned = np.float32([9.80665] * 3 + [1] * 3), np.float32([-1, -1, 1, -1, -1, 1])
    people, worn, other = [], [], []
    with Backbone("edgeml:activity_watch_int8.onnx") as backbone:
        for values, person in zip(data["X"], data["subject"], strict=True):
            for at in range(0, len(values) - 99, 100):
                window = np.float32(values[at : at + 100]) * units
                people.append(person)
                worn.append(backbone(window))
                other.append(backbone(window * turned))
    return np.array(people), np.stack(worn), np.stack(other)


def test_on_real_recordings_a_wearer_is_no_drift_and_a_turned_watch_is(watch_recordings):
    """Windows in random order, since an hour of exercises comes in any.

    The net has learned from nine of the ten. To it another one of them is hardly drift, as it
    was taught to look through that; the one whom it has never seen, the fourth, mostly is.
    """
    people, worn, turned = watch_recordings
    rng = np.random.default_rng(0)
    told = {"same": 0, "known": 0, "new": 0, "turned": 0}
    known = (1, 2, 3, 5, 6, 7, 8, 9, 10)
    for person, another in zip(known, (*known[1:], 1), strict=True):
        own = rng.permutation(np.flatnonzero(people == person))
        new = rng.permutation(np.flatnonzero(people == 4))
        like = rng.permutation(np.flatnonzero(people == another))
        later = {"same": worn[own[100:150]], "turned": turned[own[100:150]],
                 "known": worn[like[:50]], "new": worn[new[:50]]}  # fmt: skip
        for name, rows in later.items():
            watch = DriftWatch(every=0, reference=worn[own[:100]], recent=50, false_alarms=0.01)
            told[name] += checked(watch, rows).drift is not None
    assert told["same"] <= 1  # of nine; 0.1 expected
    assert told["known"] <= 5 < told["new"]
    assert told["turned"] == 9


def results(count, rng, shift=0.0, label="mug", start=0):
    """Return samples of a stream behind a learner, a second apart."""
    found = []
    for number in range(count):
        features = (rng.normal(size=8) + shift).astype(np.float32)
        data = Classification.of(np.ones(1, np.float32), (label,), features=features)
        found.append(Sample(data, t=(start + number) * 10**9, arrived=0, source="camera"))
    return found


def test_in_a_stream_it_tells_once_why_and_passes_everything_on():
    rng = np.random.default_rng(3)
    told = []
    watch = DriftWatch(every=1.0, reference=200, recent=50, on_drift=told.append)
    samples = [*results(250, rng), *results(100, rng, 1.0, "unknown", 250)]

    async def main():
        return [s async for s in Source.of(samples) | watch]

    out = asyncio.run(main())
    assert [s.data for s in out] == [s.data for s in samples]
    assert told == [watch.drift]
    assert [i for i, s in enumerate(out) if "drift" in s.meta] == [299]
    assert out[299].meta["drift"].t == 299 * 10**9
    assert "mug 100% -> 0%" in str(watch.drift)
    assert "collect examples as they are now" in str(watch.drift)
    assert json.loads(json.dumps(watch.drift.to_dict()))["now"] == {"unknown": 1.0}


def test_only_samples_some_time_apart_count():
    rng = np.random.default_rng(4)
    watch = DriftWatch(every=10.0)
    for sample in results(100, rng):
        watch(sample)
    assert len(watch.features) == 10


def test_a_new_head_starts_it_anew(tmp_path):
    rng = np.random.default_rng(5)
    with Learner("edgeml:activity_watch_int8.onnx", store=tmp_path) as learner:
        watch = DriftWatch(learner, every=0)
        for _ in range(30):
            watch(rng.normal(size=64).astype(np.float32))
        for number in range(6):
            learner.add("ab"[number % 2], rng.normal(0, 1 + 20 * (number % 2), (100, 6)))
        learner.accept(learner.train())
        watch(rng.normal(size=64).astype(np.float32))
        assert len(watch.features) == 1


def test_the_reference_of_an_earlier_process():
    rng = np.random.default_rng(6)
    before = checked(DriftWatch(every=0), series(500, 0.0, rng)).features
    watch = checked(DriftWatch(every=0, reference=before), series(100, 0.0, rng) + 1)
    assert watch.drift is not None


def test_items_without_features_pass():
    watch = DriftWatch(every=0)
    sample = Sample("text", t=0, arrived=0)
    assert watch(sample) is sample
    assert len(watch.features) == 0


@pytest.mark.parametrize("options", [
    {"reference": 15}, {"recent": 10}, {"recent": 25}, {"false_alarms": 0}, {"every": -1},
    {"reference": 40, "recent": 20}, {"reference": np.ones((7, 3))},
    {"reference": np.ones(400)},
])  # fmt: skip
def test_refuses_what_cannot_tell_anything(options):
    with pytest.raises(ConfigError, match="DriftWatch"):
        DriftWatch(**options)


def test_refuses_features_of_another_backbone():
    watch = DriftWatch(every=0)
    watch(np.ones(8, np.float32))
    with pytest.raises(ShapeError, match="another backbone"):
        watch(np.ones(9, np.float32))
