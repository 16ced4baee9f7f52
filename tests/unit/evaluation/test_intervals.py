"""Intervals hold what they promise, also with few groups."""

import numpy as np
import pytest

from edgeml.errors import ConfigError, DataError
from edgeml.evaluation import Measure, paired_difference
from edgeml.evaluation._differences import holm, worse_than
from edgeml.evaluation._measures import mean
from edgeml.evaluation._stats import (
    Estimate,
    Options,
    Share,
    Units,
    estimates,
    t_cdf,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize("df", [1, 2, 4, 9, 30, 500, 5000])
@pytest.mark.parametrize("p", [0.9, 0.975, 0.9995])
def test_students_t(df, p):
    stats = pytest.importorskip("scipy.stats", reason="the judge of these numbers")
    rel = 1e-6 if df < 2000 else 3e-3
    assert t_quantile(p, df) == pytest.approx(stats.t.ppf(p, df), rel=rel)
    if df < 2000:
        assert t_cdf(1.3, df) == pytest.approx(stats.t.cdf(1.3, df), rel=1e-9)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (8, 10, 0.4902, 0.9433),
        (0, 20, 0.0, 0.1611),
        (20, 20, 0.8389, 1.0),
        (50, 100, 0.4038, 0.5962),
    ],
)
def test_wilson(hits, n, low, high):
    found = wilson(Share(np.arange(n) < hits), Units.make(n), 0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)
    assert found.method == "wilson"


def people(rng, count, spread=1.0):
    sizes = rng.integers(10, 40, count)
    groups = np.repeat(np.arange(count), sizes)
    return groups, rng.normal(size=count)[groups] * spread


def covered(make, truth, draws=150):
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(draws):
        found = make(rng)
        hits += found.low <= truth <= found.high
    return hits / draws


@pytest.mark.parametrize("count", [6, 12])
def test_clustered_intervals_hold_for_new_people(count):
    def share(rng):
        groups, _ = people(rng, count)
        able = rng.beta(8, 2, count)[groups]
        return wilson(Share(rng.random(len(groups)) < able), Units.make(len(groups), groups), 0.95)

    def value(rng):
        groups, base = people(rng, count)
        units = Units.make(len(groups), groups)
        measured = {"m": mean(base + rng.normal(size=len(groups)))}
        return estimates(measured, units, Options(resamples=200))["m"]

    def as_if_independent(rng):
        groups, base = people(rng, count)
        measured = {"m": mean(base + rng.normal(size=len(groups)))}
        return estimates(measured, Units.make(len(groups)), Options(resamples=200))["m"]

    assert covered(share, 0.8) >= 0.89
    assert covered(value, 0.0) >= 0.86
    assert covered(as_if_independent, 0.0) < 0.6  # what clustering is for


def test_a_group_counts_as_no_more_than_one_when_all_examples_agree():
    groups = np.repeat(np.arange(8), 100)
    found = wilson(Share(np.ones(800)), Units.make(800, groups), 0.95)
    alone = wilson(Share(np.ones(8)), Units.make(8), 0.95)
    assert 0.5 < found.low <= alone.low
    assert wilson(Share(np.ones(800)), Units.make(800), 0.95).low > 0.99


def test_too_few_units_have_no_interval_and_say_so():
    found = estimates({"m": mean(np.arange(4.0))}, Units.make(4), Options())["m"]
    assert (found.low, found.note) == (None, "4 examples are too few for an interval; it takes 5")
    grouped = wilson(Share(np.ones(90)), Units.make(90, np.arange(90) % 3), 0.95)
    assert grouped.low is None
    assert "3 groups" in grouped.note


def test_what_does_not_vary_has_no_interval():
    found = estimates({"m": mean(np.ones(50))}, Units.make(50), Options())["m"]
    assert found.low is None
    assert "the same in all resamples" in found.note


def test_paired_difference_finds_what_two_intervals_would_hide():
    rng = np.random.default_rng(0)
    y = np.zeros(200)
    hard = rng.normal(scale=5, size=200)  # for both alike
    a, b = hard + 0.1, hard + 0.1 * np.sign(hard) + 0.1
    found = paired_difference(a, b, y)
    assert found.verdict == "better"
    assert found.first.high > found.second.low
    assert paired_difference(b, a, y).gain.value == pytest.approx(-found.gain.value)


def test_paired_shares_by_bonett_and_price():
    y = np.zeros(100, int)
    a, b = np.zeros(100, int), np.zeros(100, int)
    a[:8], b[8:30] = 1, 1  # a alone is wrong in 8, b alone in 22
    found = paired_difference(a, b, y, kind="binary").gain
    won, lost = 23 / 102, 9 / 102
    half = 1.959964 * np.sqrt((won + lost - (won - lost) ** 2) / 102)
    assert found.value == pytest.approx(0.14)
    assert (found.low, found.high) == pytest.approx(
        (won - lost - half, won - lost + half), rel=1e-6
    )


def test_equal_predictions_on_few_examples_prove_nothing():
    few, many = np.arange(20) % 2, np.arange(4000) % 2
    assert not paired_difference(few, few, few).not_worse_by(0.01)
    assert paired_difference(many, many, many).not_worse_by(0.01)


def test_groups_widen_a_difference():
    groups = np.repeat(np.arange(10), 50)
    y = np.zeros(500, int)
    a = (groups < 3).astype(int)  # wrong for three people
    b = np.zeros(500, int)
    assert paired_difference(a, b, y, kind="binary").verdict == "worse"
    grouped = paired_difference(a, b, y, groups=groups, kind="binary")
    assert grouped.verdict == "no difference"
    assert grouped.gain.method == "clustered adjusted wald"


def test_measures_that_fall_and_of_ones_own():
    y = np.arange(60.0)
    worst = Measure("worst", lambda y, p: np.abs(y - p).max(), "down")
    found = paired_difference(y + np.sin(y), y + 5 * np.sin(y), y, worst)
    assert found.metric == "worst"
    assert found.verdict == "better"
    assert "significantly better" in str(found)
    assert found.to_dict()["verdict"] == "better"


def test_holm():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.005])
    np.testing.assert_allclose(holm(p), [0.03, 0.06, np.nan, 0.06, 0.02])


def test_worse_than_goes_by_direction():
    low, high = Estimate(0.5, 0.4, 0.6), Estimate(0.9, 0.85, 0.95)
    assert worse_than(low, high, "up", 0.95) < 1e-4
    assert worse_than(low, high, "down", 0.95) > 0.99
    assert np.isnan(worse_than(Estimate(0.5), high, "up", 0.95))


def test_bad_options_and_groups():
    with pytest.raises(ConfigError, match="level"):
        Options(level=95)
    with pytest.raises(ConfigError, match="resamples"):
        Options(resamples=3)
    with pytest.raises(DataError, match="one for each of the 3"):
        Units.make(3, [1, 2])
    with pytest.raises(DataError, match="NaN"):
        Units.make(2, [1.0, np.nan])
