"""Weights rounded for the least error of a layer's output."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.quantize._index import Index
from edgeml.quantize._qdq import Plan, write
from edgeml.quantize._rounding import round_weights
from edgeml.quantize._truth import saturation

RNG = np.random.default_rng(0)
MIX = RNG.standard_normal((8, 8)) @ np.diag(np.geomspace(1, 30, 8))


def pictures(count=16):
    """Channels and neighbours that vary together, as those of real nets do."""
    noise = RNG.standard_normal((count, 8, 9, 9)).cumsum(2).cumsum(3)
    return np.einsum("oc,bchw->bohw", MIX, noise).astype(np.float32)


LAYERS = {
    "conv": ({"pads": [1] * 4, "strides": [2, 2]}, (6, 8, 3, 3)),
    "pointwise": ({}, (6, 8, 1, 1)),
    "dilated": ({"dilations": [2, 2], "pads": [0, 1, 2, 0]}, (6, 8, 3, 2)),
    "depthwise": ({"group": 8, "pads": [1] * 4}, (8, 1, 3, 3)),
}


@pytest.fixture(params=[*LAYERS, "Gemm", "Gemm transB", "MatMul"])
def layer(request, net):
    if request.param in LAYERS:
        attributes, shape = LAYERS[request.param]
        made, x = net(8, 9, 9), pictures()
        made.constant("w", made.weights(*shape))
        return made.model(made.add("Conv", "x", "w", **attributes)), x
    made = net(8)
    turned = request.param.endswith("transB")
    made.constant("w", made.weights(6, 8) if turned else made.weights(8, 6))
    attributes = {"transB": 1} if turned else {}
    x = (RNG.standard_normal((64, 8)) @ MIX.T).astype(np.float32)
    return made.model(made.add(request.param.split()[0], "x", "w", **attributes)), x


def with_weights_only(model, plan, rounded):
    """A model whose weights alone are rounded."""
    (block,) = plan.blocks
    return write(model, Plan([block], {}, plan.weights), rounded)


@pytest.mark.parametrize("target", ["x86-vnni", "x86-avx2"])
def test_outputs_err_less_than_with_the_nearest(layer, quantize, run, target):
    model, x = layer
    plan = quantize(model, x, target)[1]
    found = round_weights(model, plan, [{"x": x[i : i + 4]} for i in range(0, len(x), 4)])
    params = plan.weights["w"]
    nearest = params.quantize(Index(model).constant("w"))
    assert found["w"].dtype == np.int8
    assert found["w"].shape == nearest.shape
    assert np.abs(found["w"].astype(int)).max() <= (63 if target == "x86-avx2" else 127)
    assert np.abs(found["w"].astype(int) - nearest).max() >= 1
    right = run(model, x)
    errors = [
        np.square(run(with_weights_only(model, plan, {"w": integers}), x) - right).sum()
        for integers in (found["w"], nearest)
    ]
    assert errors[0] < 0.9 * errors[1]


def test_seven_bits_never_saturate(net, quantize):
    made = net(8, 9, 9)
    made.constant("w", made.weights(6, 8, 3, 3))
    model, x = made.model(made.add("Conv", "x", "w")), pictures()
    plan = quantize(model, x, "x86-avx2")[1]
    rounded = round_weights(model, plan, [{"x": x}])
    assert saturation(Index(model), plan, write(model, plan, rounded)) == []


def test_what_is_no_product_with_weights_is_left(net, quantize):
    made = net(4, 8)
    stack = made.add("MatMul", "x", made.constant("w", made.weights(1, 8, 8)))
    turned = made.add("Transpose", stack, perm=[0, 2, 1])
    model = made.model(made.add("MatMul", stack, turned))
    x = RNG.standard_normal((3, 4, 8)).astype(np.float32)
    assert round_weights(model, quantize(model, x)[1], [{"x": x}]) == {}


def test_grouped_convolutions_are_left(net, quantize):
    made = net(8, 9, 9)
    model = made.model(made.conv("x", 8, 8, group=2))
    x = pictures()
    assert round_weights(model, quantize(model, x)[1], [{"x": x}]) == {}


def test_inputs_without_any_variation(net, quantize, run):
    made = net(8)
    model = made.model(made.gemm("x", 4, 8))
    x = np.zeros((16, 8), np.float32)
    plan = quantize(model, x)[1]
    found = round_weights(model, plan, [{"x": x}])
    params, weights = plan.weights["gemm0_w"], Index(model).constant("gemm0_w")
    np.testing.assert_array_equal(found["gemm0_w"], params.quantize(weights))
