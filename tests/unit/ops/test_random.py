"""Random numbers: known answers, statistics, and that they can be had again."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.errors import GraphError
from edgeml.graph import Function

ONES = 0xFFFFFFFF

# Random123's known-answer vectors of threefry2x32: rounds, counter, key, result.
KNOWN = [
    (13, (0, 0), (0, 0), (0x9D1C5EC6, 0x8BD50731)),
    (13, (ONES, ONES), (ONES, ONES), (0xFD36D048, 0x2D17272C)),
    (13, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
    (20, (0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    (20, (ONES, ONES), (ONES, ONES), (0x1CB996FC, 0xBB002BE7)),
    (20, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize(("rounds", "counter", "key", "expected"), KNOWN)
def test_known_answers(rounds, counter, key, expected):
    run = edgeml.function(lambda a, b, low, high: ops.threefry2x32((a, b), low, high, rounds))
    words = [np.array([word], np.uint32) for word in (*key, *counter)]
    assert tuple(int(x[0]) for x in run(*words)) == expected


def test_each_place_has_its_own_counter():
    run = edgeml.function(lambda a, b, low, high: ops.threefry2x32((a, b), low, high))
    low, high = np.arange(1000, dtype=np.uint32), np.full(1000, 7, np.uint32)
    key = np.array([1], np.uint32), np.array([2], np.uint32)
    together = run(*key, low, high)
    alone = run(*key, low[500:501], high[500:501])
    assert [x[500] for x in together] == [x[0] for x in alone]
    assert len({*together[0].tolist()}) == 1000


def draw(fn, seed=0):
    return Function(lambda x: fn() + 0.0 * x, seed=seed)


def test_seeds_and_calls():
    """Equal seeds draw equal numbers, one call after the other; others draw others."""
    first, again, other = (draw(lambda: ops.random_uniform((50,)), seed) for seed in (3, 3, 4))
    a, b = first(0.0), first(0.0)
    np.testing.assert_array_equal(again(0.0), a)
    np.testing.assert_array_equal(again(0.0), b)
    assert not np.isin(b, a).any()
    assert not np.isin(other(0.0), a).any()


def test_draws_of_one_call_differ():
    run = edgeml.function(lambda x: (ops.random_bits((64,)), ops.random_bits((64,)), x))
    a, b, _ = run(0.0)
    assert a.dtype == np.uint32
    assert not np.isin(a, b).any()


@pytest.mark.parametrize("shape", [(60,), (12, 5), (3, 4, 5)])
def test_equal_keys_give_equal_numbers_in_other_programs(shape):
    plain = Function(lambda x: (ops.random_bits((60,)), x), seed=9)
    other = Function(lambda x: (ops.random_bits(shape), ops.sum(x * 2.0)), seed=9)
    np.testing.assert_array_equal(other(np.ones(3))[0].ravel(), plain(0.0)[0])


def test_every_size_has_numbers_of_its_own_that_can_be_had_again():
    """A traced function is traced anew for another batch, and counts its calls on."""
    run = edgeml.function(seed=5)(lambda x: ops.random_uniform(x.static_shape) + 0.0 * x)
    again = edgeml.function(seed=5)(lambda x: ops.random_uniform(x.static_shape) + 0.0 * x)
    for batch in (1, 4, 32, 4, 7):
        x = np.zeros((batch, 3), np.float32)
        np.testing.assert_array_equal(run(x), again(x))


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 3, 5), (0, 4)])
def test_shapes(shape):
    run = edgeml.function(lambda x: (ops.random_uniform(shape), ops.random_normal(shape),
                                     ops.random_bernoulli(shape, 0.5), x))  # fmt: skip
    made = run(0.0)[:3]
    assert [x.shape for x in made] == [shape] * 3
    assert [x.dtype.name for x in made] == ["float32", "float32", "bool"]


def test_uniform():
    x = draw(lambda: ops.random_uniform((100_000,), -2.0, 3.0))(0.0)
    assert x.min() >= -2.0
    assert x.max() < 3.0
    counts, _ = np.histogram(x, 50, (-2, 3))
    chi = ((counts - 2000.0) ** 2 / 2000.0).sum()
    assert 20 < chi < 90  # 49 degrees of freedom
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.015


def test_normal():
    x = draw(lambda: ops.random_normal((100_000,), 1.0, 2.0))(0.0)
    z = (x - 1.0) / 2.0
    moments = [np.mean(z**k) for k in (1, 2, 3, 4)]
    np.testing.assert_allclose(moments, [0, 1, 0, 3], atol=0.1)
    assert np.isfinite(x).all()
    assert 3.5 < np.abs(z).max() < 6.5


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_bernoulli(p):
    hits = edgeml.function(lambda x: (ops.random_bernoulli((40_000,), p), x))(0.0)[0]
    assert abs(hits.mean() - p) <= 4 * np.sqrt(p * (1 - p) / 40_000) + 1e-9


def test_dropout():
    x = np.ones((200, 100), np.float32)
    y = edgeml.function(lambda x: ops.dropout(x, 0.25))(x)
    assert {*np.unique(y).tolist()} == {0.0, np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    kept, slope = edgeml.value_and_grad(lambda x: _pair(x), has_aux=True)(x)
    np.testing.assert_array_equal(slope, kept[1])


def _pair(x):
    y = ops.dropout(x, 0.25)
    return ops.sum(y), y


def test_gradients_go_through_what_is_made_of_drawn_numbers():
    def fn(mean, scale):
        z = ops.random_normal((20,))
        return ops.sum(mean + scale * z), z

    (_, z), (by_mean, by_scale) = edgeml.value_and_grad(fn, (0, 1), has_aux=True)(
        np.float32(0.5), np.float32(2.0)
    )
    assert by_mean == 20
    np.testing.assert_allclose(by_scale, z.sum(), rtol=1e-5)


def test_drawn_outside():
    with pytest.raises(GraphError, match=r"edgeml\.function"):
        ops.random_uniform((3,))


def test_classes_are_drawn_with_their_probabilities():
    p = np.float32([[0.1, 0.6, 0.3], [0.5, 0.0, 0.5]])
    with np.errstate(divide="ignore"):
        logits = np.log(p)
    draw = edgeml.function(lambda x: ops.random_categorical(x, 4000))
    found = np.asarray(draw(logits))
    assert found.shape == (2, 4000)
    shares = np.stack([np.bincount(row, minlength=3) / 4000 for row in found])
    np.testing.assert_allclose(shares, p, atol=0.03)
    assert shares[1, 1] == 0
