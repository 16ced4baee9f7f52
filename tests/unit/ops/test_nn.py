"""Convolutions, pools, resizing and normalization against PyTorch."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.errors import ShapeError

torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
F = torch.nn.functional
rng = np.random.default_rng(0)


def n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


X, W, B = n(2, 4, 9, 8), n(6, 4, 3, 3), n(6)

CASES = {
    "conv": (lambda x, w, b: ops.conv(x, w, b), lambda x, w, b: F.conv2d(x, w, b), X, W, B),
    "conv same": (
        lambda x, w: ops.conv(x, w, padding="same", dilations=(2, 1)),
        lambda x, w: F.conv2d(x, w, padding="same", dilation=(2, 1)), X, W),
    "conv strides": (
        lambda x, w, b: ops.conv(x, w, b, strides=2, padding=(1, 0), groups=2),
        lambda x, w, b: F.conv2d(x, w, b, 2, (1, 0), groups=2), X, n(6, 2, 3, 3), B),
    "conv same strides": (
        lambda x, w: ops.conv(x, w, padding="same", strides=2),
        lambda x, w: F.conv2d(F.pad(x, (0, 1, 1, 1)), w, stride=2), X, W),
    "conv pads": (
        lambda x, w: ops.conv(x, w, padding=(0, 1, 2, 1)),
        lambda x, w: F.conv2d(F.pad(x, (1, 1, 0, 2)), w), X, W),
    "conv1d": (
        lambda x, w: ops.conv(x, w, padding="same"),
        lambda x, w: F.conv1d(x, w, padding=1), n(2, 3, 9), n(4, 3, 3)),
    "conv3d": (lambda x, w: ops.conv(x, w), F.conv3d, n(1, 2, 4, 5, 6), n(3, 2, 2, 3, 2)),
    "transpose": (
        lambda x, w, b: ops.conv_transpose(x, w, b, strides=2, padding=1, output_padding=1),
        lambda x, w, b: F.conv_transpose2d(x, w, b, 2, 1, 1), X, n(4, 6, 3, 3), B),
    "transpose same": (
        lambda x, w: ops.conv_transpose(x, w, strides=2, padding="same"),
        lambda x, w: F.conv_transpose2d(x, w, stride=2)[:, :, :-1, :-1], X, n(4, 6, 3, 3)),
    "transpose gaps": (
        lambda x, w: ops.conv_transpose(x, w, strides=3, padding="same"),
        lambda x, w: F.conv_transpose2d(x, w, stride=3, output_padding=1), X, n(4, 6, 2, 2)),
    "max": (lambda x: ops.max_pool(x, 2), lambda x: F.max_pool2d(x, 2), X),
    "max overlapping": (
        lambda x: ops.max_pool(x, 3, 2, padding=1, ceil_mode=True),
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True), X),
    "average": (lambda x: ops.average_pool(x, (3, 2)), lambda x: F.avg_pool2d(x, (3, 2)), X),
    "average pad": (
        lambda x: ops.average_pool(x, 3, 1, padding=1, count_include_pad=True),
        lambda x: F.avg_pool2d(x, 3, 1, 1), X),
    "average same": (
        lambda x: ops.average_pool(x, 3, 1, padding="same"),
        lambda x: F.avg_pool2d(x, 3, 1, 1, count_include_pad=False), X),
    "global average": (ops.global_average_pool, lambda x: x.mean((2, 3)), X),
    "global max": (
        lambda x: ops.global_max_pool(x, keepdims=True), lambda x: F.adaptive_max_pool2d(x, 1), X),
    "linear": (
        lambda x: ops.resize(x, (12, 5)),
        lambda x: F.interpolate(x, (12, 5), mode="bilinear"), X),
    "nearest": (
        lambda x: ops.resize(x, (18, 11), mode="nearest", coordinates="asymmetric",
                             nearest="floor"),
        lambda x: F.interpolate(x, (18, 11)), X),
    "batch": (
        lambda x, m, v, s, b: ops.batch_norm(x, s, b, m, v, epsilon=1e-4),
        lambda x, m, v, s, b: F.batch_norm(x, m, v, s, b, eps=1e-4),
        X, n(4), np.abs(n(4)), n(4), n(4)),
    "layer": (
        lambda x, s, b: ops.layer_norm(x, s, b),
        lambda x, s, b: F.layer_norm(x, (8,), s, b, 1e-3), X, n(8), n(8)),
    "instance": (
        lambda x, s, b: ops.instance_norm(x, s, b),
        lambda x, s, b: F.instance_norm(x, weight=s, bias=b, eps=1e-3), X, n(4), n(4)),
    "group": (
        lambda x, s, b: ops.group_norm(x, s, b, 2),
        lambda x, s, b: F.group_norm(x, 2, s, b, 1e-3), X, n(4), n(4)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_as_pytorch(case):
    ours, theirs, *inputs = case
    expected = theirs(*map(torch.tensor, inputs)).numpy()
    np.testing.assert_allclose(edgeml.function(ours)(*inputs), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: ops.conv(X, W, padding="full"), "padding must be"),
        (lambda: ops.conv(X, W, strides=(1, 2, 3)), "each of 2 axes"),
        (lambda: ops.conv(X, n(6, 3, 3, 3)), "for 3 channels"),
        (lambda: ops.conv_transpose(X, n(3, 3, 3, 3)), "for 3 channels"),
        (lambda: ops.max_pool(X, (2, 2, 2)), "each of 2 axes"),
        (lambda: ops.group_norm(X, n(4), n(4), 3), "into 3 groups"),
        (lambda: ops.resize(X, (3,)), "each of 2 axes"),
    ],
)
def test_misfits_are_told(call, says):
    with pytest.raises(ShapeError, match=says):
        edgeml.function(lambda _: call())(X)
