"""Suggestions of what to label: uncertain, unlike each other, bounded, and labelled by number."""

import asyncio

import numpy as np
import pytest

from edgeml.errors import ConfigError, DataError
from edgeml.personalize import Backbone, Learner, Suggestions
from edgeml.streams import Sample, Source
from edgeml.tasks import Classification

RNG = np.random.default_rng(0)


def motion(kinds, rng=RNG):
    """Return two seconds that shake along some axes."""
    window = rng.normal(0, 0.3, (100, 6))
    for axis in kinds:
        window[:, axis] += 6 * np.sin(np.arange(100) / 8 + rng.uniform(0, 6))
    return window.astype(np.float32)


@pytest.fixture(scope="module")
def backbone():
    backbone = Backbone("edgeml:activity_watch_int8.onnx")
    yield backbone
    backbone.close()


@pytest.fixture
def learner(backbone, tmp_path):
    with Learner(backbone, store=tmp_path, duplicate=0.99999) as learner:
        yield learner


def teach(learner, count=8):
    rng = np.random.default_rng(1)
    for axis in (0, 2):
        for _ in range(count):
            learner.add(f"along {axis}", motion([axis], rng))
    learner.accept(learner.train())


def test_results_pass_and_what_is_unsure_comes_first(learner):
    teach(learner)
    suggestions = Suggestions(learner)
    rng = np.random.default_rng(2)
    windows = [motion([0], rng) for _ in range(20)] + [motion([0, 2], rng) for _ in range(3)]
    samples = [Sample(w, t=i * 10**9, arrived=0) for i, w in enumerate(windows)]

    async def main():
        return [s async for s in Source.of(samples) | suggestions]

    out = asyncio.run(main())
    assert [s.data for s in out] == [learner.predict(w) for w in windows]
    found = suggestions.suggest(2)
    assert all(s.t >= 20 * 10**9 for s in found)  # those that are both, or neither
    assert "no class" in found[0].why or "threshold" in found[0].why
    scores = np.array([0.55, 0.4, 0.05], np.float32)
    torn = Classification.of(scores, learner.labels, features=learner.examples()[0].features)
    assert suggestions._uncertainty(torn) == (pytest.approx(0.85), "along 0 0.55, along 2 0.40")


def test_five_suggestions_are_five_different_things(learner):
    """Fifty copies of each of five kinds: with noise alone the same one would come five times."""
    rng = np.random.default_rng(3)
    kinds = [motion([axis], rng) for axis in (0, 1, 3, 4)] + [motion([1, 4], rng)]
    suggestions = Suggestions(learner)
    which = {}
    for number in range(250):
        kind = number % 5
        before = suggestions._next
        suggestions(kinds[kind] + rng.normal(0, 0.01, (100, 6)).astype(np.float32))
        which[before] = kind
    assert len(suggestions) <= 10  # nearly the same is remembered once
    assert sorted(which[s.id] for s in suggestions.suggest(5)) == [0, 1, 2, 3, 4]


def test_labelled_by_number_and_not_suggested_again(learner):
    suggestions = Suggestions(learner)
    rng = np.random.default_rng(4)
    for axis in (0, 1, 2):
        suggestions(motion([axis], rng))
    first, *_ = suggestions.suggest(3)
    number = suggestions.label(first.id, "wave", subject="ann")
    (example,) = learner.examples()
    assert (example.id, example.label, example.subject) == (number, "wave", "ann")
    assert first.id not in [s.id for s in suggestions.suggest(3)]
    with pytest.raises(DataError, match="no longer remembered"):
        suggestions.label(first.id, "wave")
    suggestions.clear()
    assert suggestions.suggest() == []


def test_what_is_like_an_example_is_not_suggested(learner):
    window = motion([0], np.random.default_rng(5))
    learner.add("wave", window)
    suggestions = Suggestions(learner)
    suggestions(window + np.float32(1e-3))
    assert len(suggestions) == 1
    assert suggestions.suggest() == []


def test_memory_is_bounded_by_count_bytes_and_time(learner):
    rng = np.random.default_rng(6)
    windows = [motion(rng.permutation(6)[:3], rng) * rng.uniform(0.2, 5) for _ in range(60)]
    few = Suggestions(learner, size=5)
    small = Suggestions(learner, budget=4000, keep_samples=True)
    short = Suggestions(learner, seconds=10)
    for number, window in enumerate(windows):
        sample = Sample(window, t=number * 10**9, arrived=0)
        few(sample)
        small(sample)
        short(sample)
        assert small.nbytes <= 4000
    assert len(few) == 5
    assert 1 <= len(small) <= 2
    assert min(k.suggestion.t for k in short._kept) >= 49 * 10**9
    assert few.suggest(1)[0].sample is None
    np.testing.assert_array_equal(small.suggest(1)[0].sample.shape, (100, 6))


def test_raw_samples_of_a_learner_that_keeps_them(backbone, tmp_path):
    with Learner(backbone, store=tmp_path, keep_raw=True) as learner:
        suggestions = Suggestions(learner)
        suggestions(motion([0]))
        suggestions.label(suggestions.suggest()[0].id, "wave")
        assert learner.store.raw(1) is not None


@pytest.mark.parametrize("method", ["nearest-mean", "knn", "linear"])
def test_what_is_at_the_threshold_is_unsure(learner, method):
    learner.method = method
    teach(learner)
    suggestions = Suggestions(learner)
    suggestions(motion([0]))
    edge = suggestions._edge
    rows = np.stack([e.features for e in learner.examples()])
    assert (edge.space.similarity(rows) >= edge.threshold - 0.05).mean() > 0.8  # the head's own
    noise = np.stack([learner.backbone(motion([], np.random.default_rng(i))) for i in range(30)])
    gaps = np.abs(edge.space.similarity(noise) - edge.threshold)
    near = [edge.nearness(row) for row in noise]
    assert near[int(gaps.argmin())] == max(near)


def test_a_sample_with_nothing_in_it_is_not_remembered(learner):
    suggestions = Suggestions(learner)
    assert suggestions(np.zeros((100, 6), np.float32)).label == "unknown"
    assert len(suggestions) == 0


def test_refuses_bad_bounds(learner):
    for options in ({"size": 0}, {"budget": 0}, {"seconds": 0}):
        with pytest.raises(ConfigError, match="Suggestions"):
            Suggestions(learner, **options)
