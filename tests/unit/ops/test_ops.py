"""Every function of edgeml.ops against NumPy: values, dtypes, shapes, nothing at all, bad input.

A case is (name, ours, theirs, *inputs): functions of arrays, None for the function of that name.
"""

import functools
import math
from pathlib import Path

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.errors import GraphError, InputError, ShapeError

ROOT = Path(__file__).resolve().parents[3]
rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (2, 3, 4)).astype(np.float32)
P = np.abs(X) + np.float32(0.1)
ROW = rng.uniform(0.5, 1.5, 4).astype(np.float32)
COLUMN = ROW[:3, None]
NONE = np.zeros((0, 3), np.float32)
UNIT = (X / 2.1).astype(np.float32)
ODD = np.float32([0, -0.0, np.inf, -np.inf, np.nan, 1e-30, -1.5, 2.5])
INTS = rng.integers(-9, 9, (3, 4))
DIVISORS = np.array([2, -3, 4, 5])
BOOLS = X > 0
TINY = np.float32([1e-8, -1e-6, 1e-3, -0.5, 0.7, 30])


def elementwise(name, theirs=None, *domains, **kwargs):
    """Return cases of one argument: numbers, none of them, and what is not finite."""
    theirs = theirs or getattr(np, name)
    ours = functools.partial(getattr(ops, name), **kwargs)
    return [(name, ours, theirs, x) for x in (*(domains or (X, ODD)), np.float32(0.5), NONE)]


def binary(name, *pairs):
    return [(name, None, getattr(np, name), *pair) for pair in pairs]


def over(name, theirs=None, x=X, **kwargs):
    """Return cases of a reduction: all, one axis, several, kept, none."""
    theirs = theirs or getattr(np, name)
    ours = functools.partial(getattr(ops, name), **kwargs)
    cases = [
        (name, functools.partial(ours, axis=axis, keepdims=keep),
         functools.partial(theirs, axis=axis, keepdims=keep), x)
        for axis, keep in ((None, False), (1, False), (-1, True), ((0, 2), False), (None, True))
    ]  # fmt: skip
    return [*cases, (name, functools.partial(ours, axis=1), functools.partial(theirs, axis=1),
                     x[:0])]  # fmt: skip


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.logaddexp(x, 0)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(x))


def shifted(x, axis=-1):
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def gelu(x):
    return x * (1 + np.vectorize(math.erf, otypes=[float])(x * math.sqrt(0.5))) / 2


def gelu_tanh(x):
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def logsumexp(x, axis=None, keepdims=False):
    return np.log(np.sum(np.exp(x), axis, keepdims=keepdims))


def norm(x, axis=None, keepdims=False, kind=2):
    if kind == 1:
        return np.abs(x).sum(axis, keepdims=keepdims)
    if kind == 2:
        return np.sqrt(np.sum(x * x, axis, keepdims=keepdims))
    return (np.max if kind > 0 else np.min)(np.abs(x), axis, keepdims=keepdims)


def backwards(x):
    return x[..., ::-1].cumsum(-1)[..., ::-1]


def scattered(x):
    made = x.copy()
    np.add.at(made, np.array([1, 0, 1]), np.ones((3, *x.shape[1:]), x.dtype))
    return made


def at(name, ours, theirs, *inputs):
    return (name, ours, theirs, *(inputs or (X,)))


CASES = [
    *binary("add", (X, X), (X, ROW), (COLUMN, ROW), (NONE, NONE), (NONE, ROW[:3]), (INTS, INTS)),
    *binary("subtract", (X, ROW), (COLUMN, ROW), (NONE, NONE), (INTS, INTS)),
    *binary("multiply", (X, ROW), (COLUMN, ROW), (NONE, NONE), (INTS, INTS)),
    *binary("divide", (X, ROW), (COLUMN, P), (NONE, NONE), (ODD, ODD)),
    *binary("power", (P, ROW), (P, X), (NONE, NONE)),
    *binary("mod", (X, ROW), (X, -ROW), (INTS, DIVISORS), (NONE, NONE)),
    *binary("maximum", (X, ROW), (ODD, ODD[::-1].copy()), (INTS, INTS.T.reshape(3, 4))),
    *binary("minimum", (X, ROW), (ODD, ODD[::-1].copy()), (INTS, INTS.T.reshape(3, 4))),
    *(case for name in ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
      for case in binary(name, (np.round(X), np.round(ROW)), (INTS, INTS[0]), (ODD, ODD),
                         (NONE, NONE))),
    *binary("logical_and", (BOOLS, BOOLS[0])), *binary("logical_or", (BOOLS, BOOLS[:, :1])),
    *elementwise("logical_not", None, BOOLS)[:1],
    *(case for name in ("negative", "absolute", "exp", "sin", "cos", "tan", "sinh", "cosh", "tanh",
                        "arctan", "arcsinh", "square", "sign", "floor", "ceil", "isnan", "isinf",
                        "isfinite", "expm1")
      for case in elementwise(name, None, X, ODD if name not in ("sin", "cos", "tan") else P)),
    *elementwise("negative", None, INTS), *elementwise("absolute", None, INTS),
    *elementwise("expm1", None, TINY), *elementwise("log1p", None, TINY, P, ODD[:3]),
    *elementwise("round", None, X, np.float32([0.5, 1.5, 2.5, -0.5])),
    *(case for name in ("log", "sqrt") for case in elementwise(name, None, P, ODD[:3])),
    *(case for name in ("arcsin", "arccos", "arctanh") for case in elementwise(name, None, UNIT)),
    *elementwise("arccosh", None, P + 1)[:1],
    *elementwise("reciprocal", None, P, ODD[:4]),
    *elementwise("rsqrt", lambda x: 1 / np.sqrt(x), P),
    *elementwise("erf", np.vectorize(math.erf, otypes=[np.float32]), X, ODD[:4]),
    *elementwise("relu", lambda x: np.maximum(x, 0), X, INTS.astype(np.int32)),
    *elementwise("relu6", lambda x: np.clip(x, 0, 6), X * 5),
    *elementwise("leaky_relu", lambda x: np.where(x > 0, x, np.float32(0.2) * x), X),
    *elementwise("elu", lambda x: elu(x, 1.5), X, alpha=1.5),
    *elementwise("celu", lambda x: np.maximum(x, 0) + np.minimum(0, 2 * np.expm1(x / 2)), X,
                 alpha=2.0),
    *elementwise("selu", lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772), X),
    *elementwise("sigmoid", sigmoid, X), *elementwise("softplus", softplus, X, X * 90),
    *elementwise("hard_sigmoid", lambda x: np.clip(x + 3, 0, 6) / 6, X * 3),
    *elementwise("softsign", lambda x: x / (1 + np.abs(x)), X),
    *elementwise("silu", lambda x: x * sigmoid(x), X),
    *elementwise("mish", lambda x: x * np.tanh(softplus(x)), X),
    *elementwise("gelu", gelu_tanh, X), *elementwise("gelu", gelu, X, approximate=False),
    at("softmax", ops.softmax, lambda x: np.exp(shifted(x))),
    at("softmax", lambda x: ops.softmax(x, 1), lambda x: np.exp(shifted(x, 1))),
    at("softmax", ops.softmax, lambda x: x, NONE),
    at("log_softmax", lambda x: ops.log_softmax(x, 0), lambda x: shifted(x, 0)),
    at("clip", lambda x: ops.clip(x, -1, 0.5), lambda x: np.clip(x, -1, np.float32(0.5))),
    at("clip", lambda x: ops.clip(x, high=3), lambda x: np.minimum(x, 3), INTS),
    at("clip", ops.clip, lambda x: x),
    at("where", lambda c, x: ops.where(c, x, 0), lambda c, x: np.where(c, x, np.float32(0)), BOOLS,
       X),
    at("where", lambda c: ops.where(c, 1.5, 2), lambda c: np.where(c, 1.5, 2), BOOLS),
    at("where", ops.where, np.where, BOOLS[:, :1], ROW, X),
    at("cast", lambda x: ops.cast(x, np.int32), lambda x: x.astype(np.int32)),
    at("cast", lambda x: ops.cast(x, np.bool_), lambda x: x.astype(bool)),
    at("cast", lambda x: ops.cast(x, "float32"), lambda x: x.astype(np.float32), INTS),
    *((("matmul", None, np.matmul, x, y)) for x, y in [
        (X, X.transpose(0, 2, 1)), (X, ROW), (ROW, ROW), (ROW, X.transpose(0, 2, 1)),
        (X, X[0].T), (NONE, X[0])]),
    at("einsum", lambda x, y: ops.einsum("bij,j->bi", x, y), lambda x, y: x @ y, X, ROW),
    at("einsum", lambda x: ops.einsum("bij->jb", x), lambda x: x.sum(1).T),
    *over("sum"), *over("sum", x=INTS[None]), *over("mean"), *over("prod"), *over("var"),
    *over("std"), *over("logsumexp", logsumexp), *over("norm", norm),
    *over("max")[:-1], *over("min")[:-1], *over("max", x=INTS[None])[:-1],
    *over("all", x=BOOLS), *over("any", x=BOOLS),
    at("sum", lambda x: ops.sum(x, axis=()), lambda x: x),
    *(at(name, functools.partial(getattr(ops, name), axis=a), functools.partial(fn, axis=a), x)
      for name, fn in (("argmax", np.argmax), ("argmin", np.argmin)) for a in (0, -1)
      for x in (X, np.round(X), INTS)),
    at("cumsum", ops.cumsum, lambda x: x.cumsum(-1)),
    at("cumsum", lambda x: ops.cumsum(x, 0, exclusive=True), lambda x: x.cumsum(0) - x),
    at("cumsum", lambda x: ops.cumsum(x, reverse=True), backwards),
    at("cumsum", ops.cumsum, lambda x: x.cumsum(-1), INTS),
    at("top_k", lambda x: ops.top_k(x, 2), lambda x: (-np.sort(-x)[..., :2],
                                                      np.argsort(-x)[..., :2])),
    at("top_k", lambda x: ops.top_k(x, 1, axis=0), lambda x: (
        x.max(0, keepdims=True), x.argmax(0)[None])),
    at("reshape", lambda x: ops.reshape(x, (4, -1)), lambda x: x.reshape(4, -1)),
    at("reshape", lambda x: ops.reshape(x, (0, 5)), lambda x: x.reshape(0, 5), NONE),
    at("transpose", ops.transpose, np.transpose),
    at("transpose", lambda x: ops.transpose(x, (0, -1, 1)), lambda x: x.transpose(0, 2, 1)),
    at("swapaxes", lambda x: ops.swapaxes(x, -1, 0), lambda x: x.swapaxes(-1, 0)),
    at("moveaxis", lambda x: ops.moveaxis(x, 0, -1), lambda x: np.moveaxis(x, 0, -1)),
    at("concatenate", lambda x, y: ops.concatenate([x, y], 1),
       lambda x, y: np.concatenate([x, y], 1), X, X[:, :0]),
    at("stack", lambda x, y: ops.stack([x, y], -1), lambda x, y: np.stack([x, y], -1), X, X),
    at("split", lambda x: ops.split(x, 2, -1), lambda x: np.split(x, 2, -1)),
    at("split", lambda x: ops.split(x, [1, 1], 1), lambda x: np.split(x, [1, 1], 1)),
    at("split", lambda x: ops.split(x, 1), lambda x: [x]),
    at("unstack", lambda x: ops.unstack(x, 1), lambda x: list(x.swapaxes(0, 1))),
    at("squeeze", ops.squeeze, np.squeeze, X[:1, :, :1]),
    at("squeeze", lambda x: ops.squeeze(x, -1), lambda x: np.squeeze(x, -1), X[:1, :, :1]),
    at("expand_dims", lambda x: ops.expand_dims(x, (0, -1)), lambda x: x[None, ..., None]),
    at("broadcast_to", lambda x: ops.broadcast_to(x, (2, 3, 4)),
       lambda x: np.broadcast_to(x, (2, 3, 4)), COLUMN),
    at("tile", lambda x: ops.tile(x, (2, 1, 3)), lambda x: np.tile(x, (2, 1, 3))),
    at("repeat", lambda x: ops.repeat(x, 3, -2), lambda x: x.repeat(3, -2)),
    *(at("pad", functools.partial(ops.pad, widths=[(0, 0), (1, 2), (2, 0)], mode=mode),
         functools.partial(np.pad, pad_width=[(0, 0), (1, 2), (2, 0)], mode=mode))
      for mode in ("constant", "reflect", "edge")),
    at("pad", lambda x: ops.pad(x, [(1, 0)], value=7.0),
       lambda x: np.pad(x, (1, 0), constant_values=7), ROW),
    at("flip", lambda x: ops.flip(x, (0, -1)), lambda x: np.flip(x, (0, -1))),
    at("slice_", lambda x: ops.slice_(x, [1, -1], [3, -9], [1, 2], [1, -2]),
       lambda x: x[:, 1:3, ::-2]),
    at("take", lambda x: ops.take(x, np.array([[2, 0], [-1, 1]]), 1),
       lambda x: x.take([[2, 0], [-1, 1]], 1)),
    at("take_along_axis", lambda x, i: ops.take_along_axis(x, i, 1),
       lambda x, i: np.take_along_axis(x, i, 1), X, INTS[None, :2].repeat(2, 0) % 3),
    at("scatter_nd", lambda x: ops.scatter_nd(x, np.array([[1], [0], [1]]),
                                              np.ones((3, 3, 4), np.float32), "add"), scattered),
    at("one_hot", lambda i: ops.one_hot(i, 5), lambda i: np.eye(5, dtype=np.float32)[i],
       INTS % 5),
    at("one_hot", lambda i: ops.one_hot(i, 5, np.int64), lambda i: np.eye(5, dtype=np.int64)[i],
       (INTS % 5).astype(np.int32)),
    *(case for kind in (1, 2, np.inf) for case in over("norm", functools.partial(
        norm, kind=kind), ord=kind) if case[-1].size),
    at("norm", lambda x: ops.norm(x, -np.inf, 1), lambda x: np.abs(x).min(1)),
    *binary("floor_divide", (X, ROW), (INTS, DIVISORS), (INTS, -DIVISORS), (NONE, NONE)),
    at("divide_no_nan", None, lambda x, y: np.where(y == 0, 0, x / y).astype(np.float32), X,
       np.round(X)),
    at("squared_difference", None, lambda x, y: (x - y) ** 2, X, ROW),
    *binary("arctan2", (X, ROW), (X, -ROW), (COLUMN, -ROW), (NONE, NONE), (
        np.float32([0, 0, 0, 1, -1, 1e-30, -1e30]), np.float32([0, 1, -1, 0, 0, 1e30, 1e-30]))),
    *binary("logical_xor", (BOOLS, ~BOOLS), (BOOLS, BOOLS[:1])),
    *elementwise("log_sigmoid", lambda x: -softplus(-x), X),
    *elementwise("hard_silu", lambda x: x * np.clip(x / 6 + 0.5, 0, 1), X * 3),
    *elementwise("hard_tanh", lambda x: np.clip(x, -1, 1)),
    *elementwise("hard_shrink", lambda x: np.where(np.abs(x) > 0.5, x, 0), X),
    *elementwise("soft_shrink", lambda x: np.sign(x) * np.maximum(np.abs(x) - 0.3, 0), X,
                 threshold=0.3),
    *elementwise("tanh_shrink", lambda x: x - np.tanh(x), X),
    *elementwise("squareplus", lambda x: (x + np.sqrt(x * x + 4)) / 2, X),
    at("threshold", lambda x: ops.threshold(x, 0.5, -3.0), lambda x: np.where(x > 0.5, x, -3)),
    *(at("glu", lambda x, n=n: ops.glu(x, n), lambda x, n=n: np.multiply(
        *(f(p) for f, p in zip((np.asarray, sigmoid), np.split(x, 2, n), strict=True))))
      for n in (-1, 0)),
    at("prelu", None, lambda x, a: np.where(x < 0, x * a, x), X, ROW),
    *(at("dot", None, np.dot, *pair) for pair in (
        (X[0, 0], ROW), (X[0], ROW), (X[0], X[0].T.copy()), (X, ROW), (X, X[0].T.copy()),
        (X[0], np.swapaxes(X, 1, 2).copy()), (ROW, np.swapaxes(X, 1, 2).copy()),
        (X, np.float32(2)), (np.float32(2), X))),
    at("outer", None, np.outer, ROW, X[0]),
    *(at("det", None, np.linalg.det, x) for x in (X[:, :3, :3].copy(), X[0, :2, :2].copy())),
    at("diag", None, np.diag, ROW), at("diag", None, np.diag, X[0]),
    at("diag", None, np.diag, INTS), at("diag", None, np.diag, np.arange(3)),
    at("diagonal", None, lambda x: np.diagonal(x, axis1=-2, axis2=-1)),
    at("diagonal", None, lambda x: np.diagonal(x, axis1=-2, axis2=-1), X.transpose(0, 2, 1).copy()),
    at("trace", None, lambda x: np.trace(x, axis1=-2, axis2=-1)),
    *(at("band_part", lambda x, n=n, m=m: ops.band_part(x, n, m),
         lambda x, n=n, m=m: np.triu(np.tril(x, m if m >= 0 else 9), -n if n >= 0 else -9))
      for n, m in ((0, 0), (1, 0), (0, 2), (-1, 1), (1, -1), (-1, -1))),
    *(at("cumprod", lambda x, n=n: ops.cumprod(x, n), lambda x, n=n: np.cumprod(x, n))
      for n in (0, 1, -1)),
    at("cumprod", lambda x: ops.cumprod(x, 0), lambda x: np.cumprod(x, 0), INTS),
    *(at("count_nonzero", lambda x, n=n: ops.count_nonzero(x, n),
         lambda x, n=n: np.asarray(np.count_nonzero(x, n), np.int64), x)
      for x in (np.round(X), INTS, BOOLS) for n in (None, 0, (0, 1))),
    *(at("moments", lambda x, k=k: ops.moments(x, (0, 1), k), lambda x, k=k: (
        x.mean((0, 1), keepdims=k), x.var((0, 1), keepdims=k))) for k in (False, True)),
    at("moving_average", None, lambda a, x: 0.9 * a + 0.1 * x, ROW, X),
    *(at("ones_like", ops.ones_like, np.ones_like, x) for x in (X, ODD, INTS, BOOLS, NONE)),
    *(at("full_like", lambda x: ops.full_like(x, 3), lambda x: np.full_like(x, 3), x)
      for x in (X, INTS, NONE)),
    *(at("roll", lambda x, n=n, a=a: ops.roll(x, n, a), lambda x, n=n, a=a: np.roll(x, n, a))
      for n in (0, 1, -1, 3, 7) for a in (None, 0, -1)),
    at("gather_nd", None, lambda x, i: x[i[:, 0], i[:, 1]], X, np.array([[0, 1], [1, 2]])),
    at("gather_nd", lambda x, i: ops.gather_nd(x, i, 1),
       lambda x, i: np.stack([x[0, i[0, 0]], x[1, i[1, 0]]]), X, np.array([[1], [2]])),
    *(at("sort", lambda x, n=n: ops.sort(x, n), lambda x, n=n: np.sort(x, n), x)
      for x in (X, np.round(X)) for n in (0, 1, -1)),
    *(at("argsort", lambda x, n=n: ops.argsort(x, n),
         lambda x, n=n: np.argsort(x, n, kind="stable"), x)
      for x in (X, np.round(X), INTS) for n in (0, 1, -1) if n < x.ndim),
    *(at("searchsorted", lambda a, v, s=side: ops.searchsorted(a, v, s),
         lambda a, v, s=side: np.searchsorted(a, v, s), np.float32([-1, 0, 0, 1]), np.round(X))
      for side in ("left", "right")),
    at("bincount", lambda x: ops.bincount(x, 12), lambda x: np.bincount(x[x >= 0], minlength=12),
       INTS.ravel()),
    at("bincount", lambda x, w: ops.bincount(x, 3, w),
       lambda x, w: np.bincount(x, w, 4)[:3].astype(np.float32), np.array([0, 2, 2, 3]), ROW),
    at("tril", lambda x: ops.tril(x, 1), lambda x: np.tril(x, 1)),
    at("triu", lambda x: ops.triu(x, -1), lambda x: np.triu(x, -1)),
    at("shape", ops.shape, lambda x: np.array(x.shape)),
    *(at("zeros_like", ops.zeros_like, np.zeros_like, x) for x in (X, ODD, INTS, BOOLS, NONE)),
    *(at("getitem", lambda x, i=i: x[i], lambda x, i=i: x[i]) for i in (
        0, -1, slice(1, None), slice(None, None, -1), (slice(None), 1), (..., 2), (None, 0),
        (slice(None), slice(2, 0, -1), None), (..., slice(1, 3), slice(-3, -1)),
        np.array([1, 0, 1]), (slice(None), np.array([2, 0])), (0, slice(0, 0)))),
    at("getitem", lambda x, i: x[i], lambda x, i: x[i], X, np.array([1, 0])),
    at("stop_gradient", ops.stop_gradient, lambda x: x),
    at("quantize", lambda x: ops.quantize(x, 0.1, 3),
       lambda x: np.clip(np.round(x / np.float32(0.1)) + 3, -128, 127).astype(np.int8)),
    at("dequantize", lambda x: ops.dequantize(x, 0.5, 3),
       lambda x: ((x - 3) * 0.5).astype(np.float32), INTS.astype(np.int8)),
    at("fake_quant", lambda x, s: ops.fake_quant(x, s, axis=2),
       lambda x, s: np.clip(np.round(x / s), -128, 127) * s, X, ROW),
]  # fmt: skip

# Where functions are tested that need more than a line.
ELSEWHERE = {
    "tests/unit/graph/test_grad.py": ["custom_gradient", "stop_gradient"],
    "tests/unit/ops/test_image.py": [
        "affine_transform", "crop_and_resize", "depth_to_space", "grid_sample",
        "local_response_norm", "non_max_suppression", "rgb_to_grayscale", "rotate",
        "space_to_depth",
    ],
    "tests/unit/ops/test_learned_quant.py": ["learned_quant"],
    "tests/unit/ops/test_segment.py": ["in_top_k", "segment_max", "segment_sum"],
    "tests/unit/ops/test_spectral.py": ["fft", "ifft", "irfft", "rfft"],
    "tests/unit/ops/test_nn.py": [
        "average_pool", "batch_norm", "conv", "conv_transpose", "global_average_pool",
        "global_max_pool", "group_norm", "instance_norm", "layer_norm", "max_pool", "resize",
    ],
    "tests/unit/ops/test_random.py": [
        "dropout", "random_bernoulli", "random_bits", "random_categorical", "random_normal",
        "random_uniform", "threefry2x32",
    ],
    "tests/numerics/test_recurrent.py": ["gru", "lstm", "simple_rnn"],
    "tests/numerics/test_signal.py": [
        "frame", "log_mel", "mel_filterbank", "mfcc", "spectrogram", "stft",
    ],
}  # fmt: skip


def _label(case):
    shapes = "-".join(f"{x.dtype}{'x'.join(map(str, x.shape))}" for x in case[3:])
    return f"{case[0]}-{shapes}"


@pytest.mark.parametrize("case", CASES, ids=_label)
def test_as_numpy(case):
    name, ours, theirs, *inputs = case
    received = edgeml.function(ours or getattr(ops, name))(*inputs)
    with np.errstate(all="ignore"):
        expected = theirs(*inputs)
    several = isinstance(expected, (list, tuple))
    if several:
        assert len(received) == len(expected)
    pairs = zip(received, expected, strict=True) if several else [(received, expected)]
    for found, want in pairs:
        found, want = np.asarray(found), np.asarray(want)
        dtype = np.dtype(np.float32) if want.dtype == np.float64 else want.dtype
        assert (found.shape, found.dtype) == (want.shape, dtype)
        np.testing.assert_allclose(found, want, rtol=1e-5, atol=1e-6 if abs_matters(want) else 0)


def abs_matters(want):
    """Cancellation near 0 counts in absolute terms, unless all is small."""
    finite = np.abs(want[np.isfinite(want)]) if want.dtype.kind == "f" else np.zeros(0)
    return want.dtype.kind == "f" and finite.max(initial=0.0) > 0.1


@pytest.mark.parametrize("fn", [np.log1p, np.expm1])
def test_last_digits_near_zero(fn):
    x = np.float32([1e-30, 1e-8, -3e-7, 1e-5, -1e-3])
    received = edgeml.function(getattr(ops, fn.__name__))(x)
    np.testing.assert_allclose(received, fn(x.astype(np.float64)), rtol=1e-6)
    slopes = edgeml.grad(lambda x: ops.sum(getattr(ops, fn.__name__)(x)))(x)
    np.testing.assert_allclose(slopes, 1, atol=1.1e-3)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda x: ops.add(x, np.ones(5, np.float32)), ShapeError, r"Add.*\[2, 3, 4\].*\[5\]"),
        (lambda x: ops.add(x, INTS), ShapeError, "Add.*float32.*int64"),
        (lambda x: ops.matmul(x, x), ShapeError, "MatMul"),
        (lambda x: ops.concatenate([x, x[0]]), ShapeError, "Concat"),
        (lambda x: ops.reshape(x, (5, 5)), ShapeError, "Reshape"),
        (lambda x: ops.split(x, 3, -1), ShapeError, "size 4, not a multiple of 3"),
        (lambda x: ops.squeeze(x, 1), ShapeError, "Squeeze"),
        (lambda x: ops.softmax(ops.cast(x, np.int64)), ShapeError, "Softmax.*int64"),
        (lambda x: ops.softmax(x, 3), ShapeError, "Softmax"),
        (lambda x: ops.sum(x, axis=5), ShapeError, "ReduceSum"),
        (lambda x: ops.logical_and(x, x), ShapeError, "And.*float32"),
        (lambda x: ops.einsum("ij,jk->ik", x, x), ShapeError, "Einsum"),
        (lambda x: ops.dot(x, x), ShapeError, r"dot.*more than two axes.*ops\.einsum"),
        (lambda x: ops.diag(x), ShapeError, r"diag.*ops\.diagonal"),
        (lambda x: ops.glu(x, 1), ShapeError, "size 3, not a multiple of 2"),
        (lambda x: ops.norm(x, 3), InputError, "no norm 3.*minus infinity"),
        (lambda x: ops.fft((x, x[0])), ShapeError, "fft: the real part"),
        (
            lambda x: ops.crop_and_resize(x[None], x[0, :, :3], np.zeros(3, int), (2, 2)),
            ShapeError,
            "boxes are .n, 4.",
        ),
        (lambda x: x[2], ShapeError, "index 2 is out of range for axis 0"),
        (lambda x: x[0, 0, 0, 0], ShapeError, "too many indices"),
        (lambda x: x[np.array([0]), np.array([0])], TypeError, "one array of indices"),
        (lambda x: ops.cast(x, np.int64) + 0.5, InputError, "0.5 is no int64.*ops.cast"),
        (lambda x: ops.cast(x, np.int64) * float("nan"), InputError, "nan is no int64"),
        (lambda x: x if x > 0 else -x, TypeError, r"no truth value.*ops\.where"),
        (lambda x: np.exp(x), TypeError, r"ufunc|edgeml\.ops"),
        (lambda x: np.asarray(x), TypeError, r"no numbers yet.*edgeml\.ops"),
    ],
)
def test_bad_input_is_told(call, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        edgeml.function(call)(X)


def test_an_index_that_is_not_there_is_told_when_it_runs():
    with pytest.raises(InputError, match="idx=7"):
        edgeml.function(ops.take)(X, np.array([7]))


def test_nothing_is_traced():
    with pytest.raises(GraphError, match=r"edgeml\.function"):
        ops.add(1.0, 2.0)


def test_every_function_has_a_case():
    tested = {case[0] for case in CASES}
    for path, names in ELSEWHERE.items():
        text = (ROOT / path).read_text()
        assert [name for name in names if f"ops.{name}" not in text] == [], path
        tested.update(names)
    assert set(ops.__all__) - tested == set()
