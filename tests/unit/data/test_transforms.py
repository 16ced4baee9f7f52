"""What datasets do element by element."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.data import INFINITE, UNKNOWN, Dataset
from edgeml.errors import DataError, NonFinite


def numbers(n: int) -> Dataset:
    """A dataset that only streams."""
    return Dataset.from_generator(lambda: iter(range(n)))


def arrays(n: int) -> Dataset:
    """A dataset whose rows can be picked."""
    return Dataset.from_arrays(np.arange(n))


BOTH = pytest.mark.parametrize("make", [numbers, arrays])


def listed(dataset):
    return [np.asarray(item).tolist() for item in dataset]


class TestPasses:
    def test_each_for_starts_afresh(self):
        data = numbers(3)
        assert listed(data) == listed(data) == [0, 1, 2]

    def test_nothing_is_read_before_a_pass(self):
        calls = []
        data = Dataset.from_generator(lambda: calls.append(1) or iter([1])).map(lambda x: x)
        assert not calls
        list(data)
        assert calls == [1]

    def test_passes_at_the_same_time_do_not_disturb_each_other(self):
        data = numbers(3).shuffle(2, seed=0)
        first, second = iter(data), iter(data)
        assert sorted([int(next(first)), *map(int, first)]) == [0, 1, 2]
        assert sorted(map(int, second)) == [0, 1, 2]

    def test_an_iterable_is_iterated_again_and_its_length_known(self):
        data = Dataset.from_generator([1.0, 2.0])
        assert len(data) == 2
        assert listed(data) == listed(data) == [1.0, 2.0]

    def test_an_iterator_is_refused(self):
        with pytest.raises(DataError, match=r"give the function that makes it"):
            Dataset.from_generator(iter([1]))
        with pytest.raises(DataError, match="received int"):
            Dataset.from_generator(3)

    def test_elements_are_arrays_and_float64_becomes_float32(self):
        data = Dataset.from_generator(lambda: iter([({"a": [1.0, 2.0]}, 3), ({"a": [3, 4]}, 4.5)]))
        (x, y), (x2, y2) = data
        assert (x["a"].dtype, y.dtype, x2["a"].dtype, y2.dtype) == ("f4", "i8", "i8", "f4")

    def test_length_unknown_is_a_type_error(self):
        data = numbers(3)
        assert data.cardinality() == UNKNOWN
        with pytest.raises(TypeError, match="known only after a pass"):
            len(data)
        with pytest.raises(TypeError, match="does not end"):
            len(arrays(3).repeat())
        assert list(data)
        assert data
        assert not arrays(3).take(0)

    def test_peek_is_no_epoch(self):
        data, twin = arrays(20).shuffle(seed=1), arrays(20).shuffle(seed=1)
        data.peek()
        assert listed(data) == listed(twin)
        with pytest.raises(DataError, match="empty"):
            numbers(0).peek()

    def test_repr_says_the_length(self):
        assert repr(numbers(2).take(1)) == "<Take of unknown length>"
        assert repr(arrays(2).batch(1)) == "<Batch of 2>"


class TestArrays:
    def test_structures(self):
        x = {"a": np.zeros((3, 2)), "b": np.ones(3)}
        element = Dataset.from_arrays(x, [1, 2, 3], [0.1, 0.2, 0.3]).peek()
        assert element[0]["a"].shape == (2,)
        assert element[0]["a"].dtype == "f4"
        assert (int(element[1]), float(element[2])) == (1, pytest.approx(0.1))

    def test_uint8_stays(self):
        assert Dataset.from_arrays(np.zeros((2, 2), np.uint8)).batch(2).peek().dtype == np.uint8

    @pytest.mark.parametrize(
        ("x", "options", "message"),
        [
            (np.zeros((0, 3)), {}, "no rows"),
            (np.float32(3), {}, "it has no rows"),
            (np.zeros(3), {"y": [1, 2]}, r"same number of rows; received \[0\]: 3, \[1\]: 2"),
            ([[1, 2], [3]], {}, "ragged"),
            ([object()], {}, "numbers or text"),
            (np.zeros(3), {"sample_weight": [1, 1, 1]}, "needs y="),
            (np.zeros(3), {"sources": ["a"]}, "sources must have one value for each of the 3"),
            (np.zeros(1), {"times": [float("nan")]}, "finite"),
        ],
    )
    def test_bad_input(self, x, options, message):
        with pytest.raises(DataError, match=message):
            Dataset.from_arrays(x, **options)

    def test_a_memory_map_is_not_read_whole(self, tmp_path):
        np.save(tmp_path / "x.npy", np.arange(12.0).reshape(6, 2))
        mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
        batch = Dataset.from_arrays(mapped).shuffle(seed=3).batch(4).peek()
        assert type(batch) is np.ndarray
        assert batch.dtype == "f4"

    def test_to_arrays(self):
        x, y = (
            Dataset.from_arrays(np.arange(4.0), [1, 2, 3, 4]).map(lambda x, y: (x, y)).to_arrays()
        )
        assert x.tolist() == [0, 1, 2, 3]
        assert y.tolist() == [1, 2, 3, 4]
        with pytest.raises(DataError, match="empty"):
            numbers(0).to_arrays()
        with pytest.raises(DataError, match="does not end"):
            numbers(1).repeat().to_arrays()


class TestMap:
    @pytest.mark.parametrize("workers", [0, 1, 3])
    def test_keeps_the_order(self, workers, no_thread_left):
        assert listed(numbers(50).map(lambda x: x * 2, workers)) == list(range(0, 100, 2))

    def test_tuples_are_given_as_arguments(self):
        data = Dataset.from_arrays([1.0, 2.0], [3, 4]).map(lambda x, y: {"sum": x + y})
        assert [item["sum"] for item in data] == [4, 6]

    @pytest.mark.parametrize("workers", [0, 2])
    def test_an_error_names_the_element(self, workers, no_thread_left):
        def fail(x):
            if x == 7:
                raise KeyError("seven")
            return x

        with pytest.raises(KeyError) as caught:
            list(numbers(100).map(fail, workers))
        assert caught.value.__notes__ == ["in map() of element 7"]

    def test_leaving_early_ends_the_threads(self, no_thread_left):
        for x in numbers(10**6).map(lambda x: x, workers=2):
            if x == 3:
                break

    def test_works_in_several_threads(self):
        barrier = threading.Barrier(2, timeout=30)
        list(numbers(2).map(lambda x: barrier.wait() * 0 + x, workers=2))


class TestBatch:
    @BOTH
    def test_sizes(self, make):
        assert listed(make(5).batch(2)) == [[0, 1], [2, 3], [4]]
        assert listed(make(5).batch(2, drop_last=True)) == [[0, 1], [2, 3]]

    def test_lengths(self):
        assert len(arrays(5).batch(2)) == 3
        assert len(arrays(5).batch(2, drop_last=True)) == 2
        assert arrays(5).repeat().batch(2).cardinality() == INFINITE

    def test_ragged_names_the_element(self):
        data = Dataset.from_generator(lambda: ((np.zeros(3 + (i == 5)), i) for i in range(8)))
        with pytest.raises(
            DataError, match=r"element 5\[0\] is an array of shape \(4,\)"
        ) as caught:
            list(data.batch(4))
        assert caught.value.element == 5

    @pytest.mark.parametrize(
        ("second", "message"),
        [
            ((1, 2, 3), "a tuple of 3"),
            ({"a": 1}, "a dict of a"),
            (1, "an array of shape"),
            ((np.zeros(2), 1), r"element 1\[0\]"),
            ((None, 1), r"element 1\[0\] is NoneType; expected an array"),
            (([[1], [1, 2]], 1), "is list"),
        ],
    )
    def test_structures_that_differ(self, second, message):
        with pytest.raises(DataError, match=message):
            list(Dataset.from_generator([(0, 0), second]).batch(2))

    def test_text_is_batched(self):
        assert listed(Dataset.from_generator(["a", "bcd"]).batch(2)) == [["a", "bcd"]]

    def test_unbatch_needs_rows(self):
        with pytest.raises(DataError, match="has no rows"):
            list(numbers(2).unbatch())

    @given(st.integers(0, 30), st.integers(1, 10), st.booleans())
    def test_unbatch_undoes_batch(self, n, size, drop):
        data = numbers(n).map(lambda i: (np.full((2, 3), i), {"n": i}))
        batches = data.batch(size, drop)
        back = [int(y["n"]) for _, y in batches.unbatch()]
        assert back == list(range(n - n % size if drop else n))
        assert len(list(batches)) == (n // size if drop else -(-n // size))


class TestShuffle:
    @given(st.integers(0, 40), st.integers(1, 50), st.integers(0, 2**32))
    def test_is_a_permutation(self, n, buffer, seed):
        data = numbers(n).shuffle(buffer, seed)
        assert sorted(listed(data)) == list(range(n))

    @BOTH
    def test_a_new_order_each_epoch_that_the_seed_decides(self, make):
        data, twin = make(50).shuffle(20, seed=5), make(50).shuffle(20, seed=5)
        epochs = [listed(data) for _ in range(3)]
        assert epochs == [listed(twin) for _ in range(3)]
        assert epochs[0] != epochs[1] != epochs[2]
        assert listed(make(50).shuffle(20, seed=6)) != epochs[0]

    @BOTH
    def test_set_epoch_resumes(self, make):
        data = make(50).shuffle(20, seed=5).batch(7).prefetch(2)
        epochs = [listed(data) for _ in range(3)]
        resumed = make(50).shuffle(20, seed=5).batch(7).prefetch(2)
        resumed.set_epoch(2)
        assert listed(resumed) == epochs[2]

    @BOTH
    def test_without_a_seed_each_dataset_has_its_own(self, make):
        assert listed(make(100).shuffle(50)) != listed(make(100).shuffle(50))

    def test_the_buffer_bounds_how_far_ahead_an_element_comes(self):
        order = listed(numbers(1000).shuffle(10, seed=0))
        assert all(value - place < 10 for place, value in enumerate(order))

    def test_arrays_are_shuffled_whole(self):
        order = listed(arrays(1000).shuffle(1, seed=0))
        assert order[:5] != [0, 1, 2, 3, 4]

    def test_pairs_stay_pairs(self):
        data = Dataset.from_arrays(np.arange(9), np.arange(9) * 2).shuffle(seed=0).batch(4)
        for x, y in data:
            assert (y == 2 * x).all()

    def test_bad_arguments(self):
        with pytest.raises(ValueError, match="buffer"):
            numbers(1).shuffle(0)
        with pytest.raises(ValueError, match="seed"):
            arrays(1).shuffle(seed=-1)


class TestPrefetch:
    @given(st.integers(0, 20), st.integers(1, 5))
    def test_same_elements(self, n, size):
        assert listed(numbers(n).prefetch(size)) == list(range(n))

    def test_leaving_early_closes_the_generator_and_the_thread(self, no_thread_left):
        closed = threading.Event()

        def endless():
            try:
                i = 0
                while True:
                    yield i
                    i += 1
            finally:
                closed.set()

        for x in Dataset.from_generator(endless).prefetch(3):
            if x == 5:
                break
        assert closed.wait(10)

    def test_makes_no_more_than_it_may(self):
        made = []
        more = threading.Event()

        def counted():
            for i in range(100):
                made.append(i)
                if len(made) == 4:
                    more.set()
                yield i

        items = iter(Dataset.from_generator(counted).prefetch(2))
        next(items)
        # One was taken, two wait, and one is in the thread's hand.
        assert more.wait(10)
        assert len(made) == 4
        items.close()

    def test_an_error_comes_where_the_element_would(self, no_thread_left):
        def fails():
            yield 1
            yield 2
            raise OSError("gone")

        items = iter(Dataset.from_generator(fails).prefetch(5))
        assert [int(next(items)), int(next(items))] == [1, 2]
        with pytest.raises(OSError, match="gone"):
            next(items)

    def test_nothing_starts_before_the_pass(self, no_thread_left):
        iter(numbers(3).prefetch(1))


class TestOthers:
    @BOTH
    def test_take_skip(self, make):
        assert listed(make(5).take(2)) == [0, 1]
        assert listed(make(5).skip(3)) == [3, 4]
        assert listed(make(5).take(9)) == [0, 1, 2, 3, 4]
        assert listed(make(5).skip(9)) == []
        assert len(arrays(5).map(lambda x: x).take(2)) == 2
        assert len(arrays(5).map(lambda x: x).skip(2)) == 3
        for operation in ("take", "skip"):
            with pytest.raises(ValueError, match=operation):
                getattr(make(2), operation)(-1)

    def test_take_asks_for_no_more(self):
        def two():
            yield 0
            yield 1
            raise AssertionError("asked for a third")

        assert listed(Dataset.from_generator(two).take(2)) == [0, 1]

    def test_repeat(self):
        assert listed(numbers(2).repeat(3)) == [0, 1] * 3
        assert listed(numbers(2).repeat().take(5)) == [0, 1, 0, 1, 0]
        assert len(arrays(2).repeat(3)) == 6
        assert list(numbers(0).repeat()) == []
        orders = listed(arrays(30).shuffle(seed=0).repeat(2))
        assert orders[:30] != orders[30:]

    def test_repeated_epochs_are_all_different(self):
        data = arrays(30).shuffle(seed=0).repeat(2)
        first, second = listed(data), listed(data)
        assert len({tuple(part) for p in (first, second) for part in (p[:30], p[30:])}) == 4

    def test_zip_concatenate_enumerate(self):
        a, b = numbers(3), arrays(2)
        assert [(int(x), int(y)) for x, y in Dataset.zip(a, b)] == [(0, 0), (1, 1)]
        assert a.zip(b).cardinality() == UNKNOWN
        assert len(b.zip(b.repeat())) == 2
        assert listed(Dataset.concatenate(a, b)) == [0, 1, 2, 0, 1]
        assert len(b.concatenate(b)) == 4
        assert [(int(i), int(x)) for i, x in a.enumerate(5)] == [(5, 0), (6, 1), (7, 2)]

    def test_joined_arrays_are_batched_over_the_seam(self):
        assert listed(arrays(3).concatenate(arrays(3)).batch(2)) == [[0, 1], [2, 0], [1, 2]]

    def test_filter(self):
        data = Dataset.from_arrays(np.arange(6), np.arange(6) % 2).filter(lambda x, y: y == 1)
        assert [int(x) for x, _ in data] == [1, 3, 5]

    def test_check_finite_names_the_place(self):
        x = np.zeros((4, 2, 2), np.float32)
        assert len(list(Dataset.from_arrays(x, [0] * 4).check_finite())) == 4
        x[2, 1, 0] = np.inf
        with pytest.raises(NonFinite, match=r"element 2\[0\].*first at \(1, 0\)") as caught:
            list(Dataset.from_arrays(x, [0] * 4).check_finite())
        assert caught.value.element == 2
        with pytest.raises(NonFinite, match="scalar"):
            list(Dataset.from_arrays([float("nan")]).check_finite())

    def test_all_at_once(self, no_thread_left):
        data = numbers(100).map(lambda i: (i, i % 3), workers=2).filter(lambda x, y: y != 1)
        data = data.shuffle(16, seed=0).batch(8).prefetch(2)
        got = np.concatenate([x for x, _ in data])
        assert sorted(got.tolist()) == [i for i in range(100) if i % 3 != 1]


class TestAsync:
    async def test_same_elements(self, no_thread_left):
        assert [int(x) async for x in numbers(5)] == [0, 1, 2, 3, 4]

    async def test_one_thread_does_it_all_and_the_loop_is_free(self):
        threads = set()
        free = threading.Event()

        def slow():
            for i in range(3):
                threads.add(threading.get_ident())
                assert free.wait(30)
                yield i

        asyncio.get_running_loop().call_soon(free.set)
        async for _ in Dataset.from_generator(slow):
            pass
        assert len(threads) == 1
        assert threading.get_ident() not in threads

    async def test_errors_arrive(self):
        with pytest.raises(ZeroDivisionError):
            async for _ in numbers(2).map(lambda x: 1 // 0):
                pass

    async def test_cancelling_closes_the_pass(self, until):
        closed = threading.Event()
        waits, release = threading.Event(), threading.Event()

        def stuck():
            try:
                yield 0
                waits.set()
                release.wait(30)
                yield 1
            finally:
                closed.set()

        async def read():
            async for _ in Dataset.from_generator(stuck):
                pass

        task = asyncio.create_task(read())
        await until(waits.is_set)
        task.cancel()
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        await until(closed.is_set)
