"""Splits, and the check that they do not leak."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.data import Dataset, check_leak
from edgeml.errors import DataError

SHARES = st.lists(st.integers(1, 9), min_size=2, max_size=4).map(
    lambda parts: tuple(part / sum(parts) for part in parts)
)


def rows(n, **options):
    return Dataset.from_arrays(np.arange(n, dtype=np.float32), np.arange(n) % 3, **options)


def values(part):
    return [int(x) for x, _ in part]


@given(st.integers(4, 200), SHARES, st.integers(0, 99))
def test_a_random_split_is_a_partition_of_the_right_sizes(n, shares, seed):
    parts = rows(n).split(shares, seed=seed)
    assert sorted(v for part in parts for v in values(part)) == list(range(n))
    assert all(len(part) >= 1 for part in parts)
    for part, share in zip(parts, shares, strict=True):
        assert abs(len(part) - share * n) <= max(1, len(parts))


def test_the_seed_decides():
    assert values(rows(50).split(0.5)[0]) == values(rows(50).split(0.5)[0])
    assert values(rows(50).split(0.5, seed=1)[0]) != values(rows(50).split(0.5)[0])


@given(st.lists(st.integers(0, 6), min_size=8, max_size=80), SHARES, st.integers(0, 99))
def test_groups_stay_whole(groups, shares, seed):
    data = rows(len(groups))
    if len(set(groups)) < len(shares):
        with pytest.raises(DataError, match="groups"):
            data.split(shares, by=groups, seed=seed)
        return
    parts = data.split(shares, by=groups, seed=seed)
    assert sorted(v for part in parts for v in values(part)) == list(range(len(groups)))
    members = [{groups[v] for v in values(part)} for part in parts]
    assert all(members)
    assert sum(map(len, members)) == len(set(groups))
    assert check_leak(parts[0], parts[1]).ok


def test_groups_fill_the_shares():
    groups = np.repeat(np.arange(20), 5)
    train, val, test = rows(100).split((0.6, 0.2, 0.2), by=groups)
    assert (len(train), len(val), len(test)) == (60, 20, 20)
    other = rows(100).split((0.6, 0.2, 0.2), by=groups, seed=7)
    assert values(other[0]) != values(train)


def test_by_source():
    data = rows(6, sources=["a", "a", "b", "b", "c", "c"])
    train, test = data.split(2 / 3, by="source")
    assert set(train.sources) & set(test.sources) == set()
    with pytest.raises(DataError, match="knows no sources"):
        rows(6).split(0.5, by="source")


def test_stratified_keeps_the_classes_shares():
    y = np.repeat([0, 1], [90, 10])
    train, test = Dataset.from_arrays(np.arange(100), y).split(0.8, by="label")
    assert np.bincount(train.to_arrays()[1]).tolist() == [72, 8]
    assert np.bincount(test.to_arrays()[1]).tolist() == [18, 2]


def test_stratified_by_one_hot():
    y = np.eye(2)[np.repeat([0, 1], [8, 4])]
    _, test = Dataset.from_arrays(np.arange(12), y).split(0.75, by="label")
    assert test.to_arrays()[1].sum(axis=0).tolist() == [2, 1]


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda d: d.split(1.5), ValueError, "between 0 and 1"),
        (lambda d: d.split((0.5, 0.6)), ValueError, "sum 1"),
        (lambda d: d.split(0.5, by="lable"), ValueError, "by must be"),
        (lambda d: d.split(0.5, by=[1, 2]), DataError, "one value for each of the 10 rows"),
        (lambda d: d.take(1).split(0.5), DataError, "1 rows, too few for 2"),
        (lambda d: d.take(4).split(0.5, by="label"), DataError, "class 1 has 1 rows"),
        (lambda d: d.batch(2).split(0.5), DataError, "cannot be split"),
        (lambda d: d.shuffle().split(0.5), DataError, "before shuffle"),
        (lambda d: d.split_by_time(0.5), DataError, "knows no times"),
        (lambda d: d.split_by_time(0.5, np.arange(10), gap=9), DataError, "no row left"),
        (lambda d: d.split_by_time(0.5, np.arange(10), gap=-1), ValueError, "gap"),
        (lambda d: d.split_by_time(0.5, list("abcdefghij")), DataError, "in seconds"),
        (lambda d: d.map(lambda x, y: x).map(lambda x: x).filter(bool).split(0.5), DataError,
         "cannot be split"),
    ],
)  # fmt: skip
def test_bad_input(act, error, message):
    with pytest.raises(error, match=message):
        act(rows(10))


def test_no_label_to_stratify_by():
    with pytest.raises(DataError, match="have no label"):
        Dataset.from_arrays(np.arange(5)).split(0.5, by="label")


def test_a_mapped_dataset_can_be_split():
    train, test = rows(10).map(lambda x, y: (x * 2, y)).split(0.8)
    assert sorted(values(train) + values(test)) == list(range(0, 20, 2))


class TestByTime:
    @given(st.lists(st.integers(0, 50), min_size=4, max_size=60), SHARES)
    def test_parts_follow_each_other(self, times, shares):
        try:
            parts = rows(len(times)).split_by_time(shares, times)
        except DataError:  # equal times cannot be cut
            assert len(set(times)) < len(times)
            return
        got = [[times[v] for v in values(part)] for part in parts]
        assert sum(map(len, got)) == len(times)
        for before, after in itertools.pairwise(got):
            assert max(before) < min(after)
        assert check_leak(parts[0], parts[1]).ok

    def test_the_gap_is_left_out(self):
        train, test = rows(100).split_by_time(0.8, np.arange(100.0), gap=5)
        assert values(train) == list(range(80))
        assert values(test) == list(range(85, 100))
        assert check_leak(train, test, gap=5).ok

    def test_windows_that_overlap_are_left_out(self):
        data = rows(100, times=np.arange(100) * 0.5, durations=[2.0] * 100)
        train, test = data.split_by_time((0.5, 0.5))
        assert values(train)[-1] == 49
        assert values(test)[0] == 53
        assert check_leak(train, test).ok

    def test_datetimes(self):
        times = np.datetime64("2026-01-01") + np.arange(10) * np.timedelta64(1, "h")
        train, test = rows(10).split_by_time(0.7, times[::-1])
        assert values(train) == [3, 4, 5, 6, 7, 8, 9]
        assert values(test) == [0, 1, 2]

    def test_seconds_of_an_epoch_keep_their_digits(self):
        data = rows(2, times=[1.7e9, 1.7e9 + 0.25])
        assert (data.times[1] - data.times[0]) == 250_000_000


class TestLeak:
    def test_duplicates(self):
        x = np.arange(10.0)
        train = Dataset.from_arrays(x, np.zeros(10))
        test = Dataset.from_arrays(np.array([3.0, 77.0, 4.0]), [1, 1, 1])
        report = check_leak(train.batch(4), test, on_leak="report")
        assert (report.train, report.test, report.duplicates) == (10, 3, 2)
        assert report.duplicate_examples == ((3, 0), (4, 2))
        with pytest.raises(DataError, match=r"2 of 3 test inputs .*test 0 = training 3") as caught:
            check_leak(train, test)
        assert caught.value.report == report

    def test_equal_bytes_of_other_shape_are_no_duplicates(self):
        a, b = Dataset.from_arrays(np.zeros((1, 2, 3))), Dataset.from_arrays(np.zeros((1, 3, 2)))
        assert check_leak(a, b).ok

    def test_groups(self):
        train, test = rows(6).take(3), rows(6).skip(3)
        with pytest.raises(DataError, match=r"1 groups are in both \(ann\)"):
            check_leak(train, test, groups=(["ann", "bob", "bob"], ["ann", "cy", "cy"]))
        assert check_leak(train, test, groups=([1, 1, 2], [3, 4, 5])).ok

    def test_windows_torn_apart_by_a_random_split(self):
        data = rows(60, times=np.arange(60) * 0.5, durations=[2.0] * 60, sources=["imu"] * 60)
        with pytest.raises(DataError, match="overlap training rows in time"):
            check_leak(*data.split(0.8))

    def test_two_sources_do_not_overlap(self):
        kinds = np.repeat(["a", "b"], 10)
        data = rows(20, times=np.tile(np.arange(10), 2), durations=[5] * 20, sources=kinds)
        train, test = data.split(0.5, by="source")
        assert check_leak(train.shuffle().batch(3), test.prefetch(1)).ok

    def test_text(self):
        a = Dataset.from_generator(["on", "off"])
        assert check_leak(a, Dataset.from_generator(["of"])).ok
        assert check_leak(a, Dataset.from_generator(["off"]), on_leak="report").duplicates == 1

    def test_empty_and_bad_arguments(self):
        with pytest.raises(DataError, match="test is empty"):
            check_leak(rows(2), rows(2).take(0))
        with pytest.raises(ValueError, match="on_leak"):
            check_leak(rows(2), rows(2), on_leak="warn")
        with pytest.raises(ValueError, match="gap"):
            check_leak(rows(2), rows(2), gap=-1)

    def test_the_check_is_no_epoch(self):
        data = rows(30).shuffle(seed=0)
        first = values(data)
        data.set_epoch(0)
        check_leak(data, rows(40).skip(30))
        assert values(data) == first
