"""Elements kept in memory and in files."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgeml.data import Dataset, check_leak
from edgeml.errors import DataError


class Counted:
    """A function for `from_generator` that counts its passes."""

    def __init__(self, n=5):
        self.passes = 0
        self.n = n

    def __call__(self):
        self.passes += 1
        return ((np.full(i + 1, i, np.float32), {"name": f"é{i}", "y": i}) for i in range(self.n))


@pytest.fixture(params=["memory", "file"])
def place(request, tmp_path):
    return None if request.param == "memory" else tmp_path / "kept.edgeml"


def test_the_second_pass_reads_what_the_first_kept(place):
    source = Counted()
    data = Dataset.from_generator(source).cache(place)
    first, second = list(data), list(data)
    assert source.passes == 1
    for (x, y), (x2, y2) in zip(first, second, strict=True):
        assert x.tolist() == x2.tolist()
        assert x.dtype == x2.dtype
        assert y == y2
    assert len(data) == 5


def test_a_pass_that_was_left_early_keeps_nothing(place, tmp_path):
    source = Counted()
    data = Dataset.from_generator(source).cache(place)
    for _ in data:
        break
    assert list(tmp_path.iterdir()) == []
    assert len(list(data)) == 5
    assert source.passes == 2


def test_a_pass_that_failed_keeps_nothing(place, tmp_path):
    def fails():
        yield 1
        raise OSError("gone")

    data = Dataset.from_generator(fails).cache(place)
    with pytest.raises(OSError, match="gone"):
        list(data)
    assert list(tmp_path.iterdir()) == []


def test_a_file_serves_the_next_program(tmp_path):
    list(Dataset.from_generator(Counted()).cache(tmp_path / "kept"))
    source = Counted()
    assert len(list(Dataset.from_generator(source).cache(tmp_path / "kept"))) == 5
    assert source.passes == 0


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "middle"])
def test_a_damaged_file_is_named(tmp_path, damage):
    path = tmp_path / "kept"
    Dataset.from_generator(Counted()).save(path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[:-5], "text": b"x,y\n" * 50,
                      "middle": whole[:8] + whole[100:]}[damage])  # fmt: skip
    with pytest.raises(DataError, match="kept: not a dataset file, or damaged"):
        list(Dataset.load(path))


def test_there_is_no_file(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        Dataset.load(tmp_path / "none")
    with pytest.raises(DataError, match="cannot be written"):
        Dataset.from_generator(Counted()).save(tmp_path / "no" / "folder")


def test_what_a_file_cannot_hold(tmp_path):
    data = Dataset.from_generator([(1, None)])
    with pytest.raises(DataError, match="element 0 has NoneType"):
        data.save(tmp_path / "kept")
    assert list(tmp_path.iterdir()) == []


@given(
    st.lists(
        hnp.arrays(
            st.sampled_from(["f4", "i8", "u1", "?", "f2"]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        ),
        min_size=1,
        max_size=5,
    ),
    st.lists(st.text(), max_size=3),
)
def test_a_file_gives_back_what_went_in(tmp_path_factory, values, texts):
    path = tmp_path_factory.mktemp("records") / "kept"
    elements = [(value, {"text": tuple(texts), "bytes": b"\x00\xff"}) for value in values]
    Dataset.from_generator(elements).save(path)
    loaded = Dataset.load(path)
    assert len(loaded) == len(values)
    for (x, rest), value in zip(loaded, values, strict=True):
        assert x.dtype == value.dtype
        np.testing.assert_array_equal(x, value)
        assert rest == {"text": tuple(texts), "bytes": b"\x00\xff"}


def test_sources_and_times_are_kept_and_rows_can_be_picked(tmp_path):
    data = Dataset.from_arrays(np.arange(20.0), np.arange(20) % 2, sources=["a", "b"] * 10,
                               times=np.arange(20), durations=[0.5] * 20)  # fmt: skip
    data.save(tmp_path / "kept")
    loaded = Dataset.load(tmp_path / "kept")
    assert loaded.sources.tolist() == data.sources.tolist()
    assert loaded.times.tolist() == [i * 10**9 for i in range(20)]
    assert loaded.durations.tolist() == [5 * 10**8] * 20
    train, test = loaded.split(0.5, by="label")
    assert check_leak(train, test).ok
    assert [y.tolist().count(1) for _, y in train.shuffle(seed=0).batch(10)] == [5]


def test_a_shuffled_order_does_not_keep_wrong_times(tmp_path):
    data = Dataset.from_arrays(np.arange(20.0), times=np.arange(20)).shuffle(seed=0)
    data.save(tmp_path / "kept")
    assert Dataset.load(tmp_path / "kept").times is None
