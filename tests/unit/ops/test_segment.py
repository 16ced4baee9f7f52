"""Sums by segment, and the gradients of what counts, sorts and runs."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.testing import check_gradient

rng = np.random.default_rng(0)
X = rng.standard_normal((6, 3)).astype(np.float32)
IDS = np.array([2, 0, 2, 4, 0, 2])


@pytest.mark.parametrize("x", [X, X[:, 0], X[:, None], (X * 9).astype(np.int64)])
def test_segments(x):
    total, best = np.zeros((5, *x.shape[1:]), x.dtype), np.full((5, *x.shape[1:]), -np.inf)
    np.add.at(total, IDS, x)
    np.maximum.at(best, IDS, x)
    received = edgeml.function(lambda x, i: ops.segment_sum(x, i, 5))(x, IDS)
    np.testing.assert_allclose(received, total, rtol=1e-6)
    received = edgeml.function(lambda x, i: ops.segment_max(x, i, 5))(x, IDS.astype(np.int32))
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(np.int64).min
    expected = np.where(np.isinf(best), low, best) if low == -np.inf else received
    np.testing.assert_array_equal(received, expected)
    np.testing.assert_array_equal(received[[0, 2, 4]], best[[0, 2, 4]])
    assert (received[[1, 3]] == low).all()


def test_in_top_k():
    scores = np.float32([[0.1, 0.9, 0.5], [0.5, 0.5, 0.1], [np.nan, 0.2, 0.1], [np.inf, 1, 0]])
    for k, expected in ((1, [0, 1, 0, 0]), (2, [1, 1, 0, 0]), (3, [1, 1, 0, 0])):
        found = edgeml.function(lambda t, p, k=k: ops.in_top_k(t, p, k))([2, 1, 0, 0], scores)
        np.testing.assert_array_equal(found, np.array(expected, bool))


FAR = np.float32([[1.5, -2.0, 0.75, 2.5], [-0.9, 1.1, -1.7, 0.3]])
OTHER = np.float32([[0.5, 1.0, -0.7, 1.5], [-1.9, 2.1, 1.7, -0.4]])


@pytest.mark.parametrize("fn", [
    ops.log_sigmoid, ops.hard_silu, ops.hard_tanh, ops.hard_shrink,
    ops.soft_shrink, ops.tanh_shrink, ops.squareplus, ops.glu, ops.cumprod, ops.sort, ops.trace,
    lambda x: ops.threshold(x, 0.5, -3.0), lambda x: ops.diag(x[0]), ops.diagonal,
    lambda x: ops.band_part(x, 0, 1), lambda x: ops.roll(x, 3), lambda x: ops.moments(x, 1),
    lambda x: ops.norm(x, 1, 1), lambda x: ops.norm(x, np.inf, 1),
    lambda x: ops.bincount(np.array([1, 0, 1, 3]), 3, x[0]),
    lambda x: ops.segment_sum(x, np.array([1, 1]), 3),
    lambda x: ops.segment_max(x, np.array([1, 0]), 2),
    lambda x: ops.gather_nd(x, np.array([[0, 1], [1, 2], [0, 1]])),
])  # fmt: skip
def test_gradients_of_one(fn):
    check_gradient(fn, FAR, eps=3e-3)


@pytest.mark.parametrize("fn", [
    ops.arctan2, ops.divide_no_nan, ops.squared_difference, ops.outer, ops.prelu,
    lambda x, y: ops.dot(x, ops.transpose(y)), ops.moving_average,
])  # fmt: skip
def test_gradients_of_two(fn):
    check_gradient(fn, FAR, OTHER, eps=3e-3)


def test_gradients_where_there_is_nothing_to_divide_by():
    slopes = edgeml.grad(lambda x, y: ops.sum(ops.divide_no_nan(x, y)), (0, 1))
    for g in slopes(np.float32([1, 2]), np.float32([0, 0])):
        np.testing.assert_array_equal(g, 0)
    zeros = np.float32([[2, 0, 3], [0, 4, 0]])
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    x = torch.tensor(zeros, requires_grad=True)
    x.cumprod(-1).sum().backward()
    received = edgeml.grad(lambda x: ops.sum(ops.cumprod(x)))(zeros)
    np.testing.assert_allclose(received, x.grad.numpy())
