"""Cross-layer equalization: the same outputs, and ranges that are really equal."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

from edgeml.errors import ModelFormatError
from edgeml.quantize import quantize_int8
from edgeml.quantize._equalize import equalize

X = np.random.default_rng(3).standard_normal((2, 3, 8, 8)).astype(np.float32)


def uneven(n):
    """Make the channels of all weights of very different sizes."""
    for name, value in n.constants.items():
        if name.endswith("_w") and value.ndim > 1:
            gain = np.exp(n.rng.uniform(-3, 3, value.shape[0])).astype(np.float32)
            n.constants[name] = value * gain.reshape(-1, *[1] * (value.ndim - 1))
    return n


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(b).max())


def chain(net):
    n = net(3, 8, 8)
    a = n.add("Relu", n.conv("x", 8, 3))
    b = n.add("LeakyRelu", n.conv(a, 8, 8, group=8))
    c = n.add("MaxPool", n.conv(b, 6, 8, size=1), kernel_shape=[2, 2], strides=[2, 2])
    d = n.gemm(n.add("Flatten", c), 5, 96)
    return uneven(n).model(n.gemm(n.add("Relu", d), 4, 5))


def test_outputs_stay_and_ranges_become_equal(net, run, arrays):
    model = chain(net)
    found = equalize(model)
    close(run(found, X), run(model, X))
    w = arrays(found)
    first, depthwise, third = w["conv0_w"], w["conv2_w"], w["conv4_w"]
    fourth, fifth = w["gemm7_w"].reshape(6, 16, 5), w["gemm9_w"]

    def largest(values, axis):
        return np.abs(values).max(tuple(i for i in range(values.ndim) if i != axis))

    np.testing.assert_allclose(largest(first, 0), largest(depthwise, 0), rtol=1e-3)
    np.testing.assert_allclose(largest(depthwise, 0), largest(third, 1), rtol=1e-3)
    np.testing.assert_allclose(largest(third, 0), largest(fourth, 0), rtol=1e-3)
    np.testing.assert_allclose(largest(fourth, 2), largest(fifth, 0), rtol=1e-3)


def rounded(model):
    """Return a model whose weights have 127 steps to each side, one size a tensor."""
    found = onnx.ModelProto()
    found.CopyFrom(model)
    for tensor in found.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.ndim > 1:
            step = np.abs(values).max() / 127
            new = (np.rint(values / step) * step).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    return found


def test_one_scale_a_tensor_then_costs_less(net, run):
    n = net(3, 8, 8)
    model = n.conv(n.add("Relu", n.conv("x", 16, 3)), 4, 16)
    gain = np.exp(n.rng.uniform(-3, 3, 16)).astype(np.float32)  # the same function, badly scaled
    n.constants["conv0_w"] *= gain.reshape(-1, 1, 1, 1)
    n.constants["conv0_b"] *= gain
    n.constants["conv2_w"] /= gain.reshape(1, -1, 1, 1)
    model = n.model(model)
    wanted = run(model, X)
    before = np.square(run(rounded(model), X) - wanted).mean()
    after = np.square(run(rounded(equalize(model)), X) - wanted).mean()
    assert after < before / 20


@pytest.mark.parametrize(
    ("between", "why"),
    [("Clip", "does not scale"), ("Sigmoid", "does not scale"), ("twice", "several nodes")],
)
def test_what_does_not_scale_is_left_and_named(net, run, arrays, caplog, between, why):
    n = net(3, 8, 8)
    a = n.conv("x", 8, 3)
    if between == "Clip":
        n.constant("low", np.float32(0))
        n.constant("high", np.float32(6))
        b = n.add("Clip", a, "low", "high")
        model = uneven(n).model(n.conv(b, 4, 8))
    elif between == "Sigmoid":
        model = uneven(n).model(n.conv(n.add("Sigmoid", a), 4, 8))
    else:
        model = uneven(n).model(n.conv(a, 4, 8), a)
    with caplog.at_level(logging.INFO, "edgeml.quantize"):
        found = equalize(model)
    assert why in caplog.text
    assert a in caplog.text
    for name, value in arrays(model).items():
        np.testing.assert_array_equal(value, arrays(found)[name])


def test_dead_channels_and_padding(net, run):
    n = net(3, 8, 8)
    n.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    a = n.conv("x", 8, 3)
    b = n.conv(n.add("Pad", n.add("Relu", a), "pads"), 4, 8)
    n.constants["conv0_w"][2] = 0
    n.constants[f"{b}_w"][:, 5] = 0
    model = uneven(n).model(b)
    found = equalize(model)
    close(run(found, X), run(model, X))


def test_shared_weights_are_left(net, arrays):
    n = net(8, 8, 8)
    a = n.add("Relu", n.conv("x", 8, 8))
    b = n.add("Conv", a, "conv0_w", "conv0_b", pads=[1] * 4)
    model = uneven(n).model(b)
    np.testing.assert_array_equal(arrays(equalize(model))["conv0_w"], arrays(model)["conv0_w"])


@given(st.lists(st.sampled_from(["Relu", "LeakyRelu", "Tanh", "AveragePool", "Identity"]),
                min_size=1, max_size=5), st.integers(0, 50))  # fmt: skip
@settings(max_examples=15, deadline=None, derandomize=True)
def test_random_chains_compute_the_same(net, run, between, seed):
    n = net(3, 8, 8, seed=seed)
    x, read = "x", 3
    for op in between:
        x = n.conv(x, 6, read, group=1)
        read = 6
        x = n.add(op, x, **({"kernel_shape": [2, 2]} if op == "AveragePool" else {}))
    model = uneven(n).model(n.conv(x, 2, read))
    close(run(equalize(model), X), run(model, X))


def test_quantized_models_are_refused(net):
    with pytest.raises(ModelFormatError, match="quantized already"):
        equalize(quantize_int8(chain(net), [{"x": X}]))
