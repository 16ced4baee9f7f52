"""Bias correction: outputs keep their means."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from edgeml.errors import InputError, ModelFormatError
from edgeml.quantize import quantize_int8
from edgeml.quantize._bias import correct_bias

RNG = np.random.default_rng(5)
BATCHES = [{"x": RNG.random((8, 3, 8, 8), np.float32)} for _ in range(4)]
ALL = np.concatenate([batch["x"] for batch in BATCHES])


def small(net, *, bias=True):
    n = net(3, 8, 8)
    a = n.add("Relu", n.conv("x", 8, 3))
    b = n.add("GlobalAveragePool", n.add("Relu", n.conv(a, 8, 8)))
    model = n.model(n.gemm(n.add("Flatten", b), 5, 8))
    if not bias:
        for node in model.graph.node:
            if node.op_type == "Conv":
                del node.input[2]
    return model


def shifted(model, amount=0.6):
    """Move all weights of a quantized model up, as an unlucky rounding would."""
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.int8 and values.ndim > 1:
            moved = np.clip(values.astype(int) + RNG.binomial(6, amount, values.shape), -127, 127)
            tensor.CopyFrom(numpy_helper.from_array(moved.astype(np.int8), tensor.name))
    return model


@pytest.mark.parametrize("bias", [True, False])
def test_means_come_back(net, run, bias):
    model = small(net, bias=bias)
    quantized = shifted(quantize_int8(model, BATCHES))
    wanted = run(model, ALL).mean(0)
    before = np.abs(run(quantized, ALL).mean(0) - wanted).max()
    found = correct_bias(model, quantized, BATCHES)
    after = np.abs(run(found, ALL).mean(0) - wanted).max()
    assert before > 0.1
    assert after < 0.1 * before


def test_biases_stay_in_32_bits_and_nothing_else_changes(net, arrays):
    model = small(net)
    quantized = shifted(quantize_int8(model, BATCHES))
    before = quantized.SerializeToString()
    found = correct_bias(model, quantized, BATCHES)
    assert quantized.SerializeToString() == before
    assert [node.op_type for node in found.graph.node] == [
        node.op_type for node in quantized.graph.node
    ]
    old, new = arrays(quantized), arrays(found)
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert changed
    assert all(old[name].dtype == new[name].dtype == np.int32 for name in changed)


def test_a_missing_bias_is_fused_all_the_same(net):
    from edgeml.quantize._session import what_runs

    model = small(net, bias=False)
    found = correct_bias(model, quantize_int8(model, BATCHES), BATCHES)
    convs = [node for node in what_runs(found).graph.node if "Conv" in node.op_type]
    assert [node.op_type for node in convs] == ["QLinearConv"] * 2


def test_float_biases(net, run):
    model = small(net)
    quantized = shifted(quantize_int8(model, BATCHES))
    stored = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    for node in list(quantized.graph.node):  # as a tool that leaves biases in float writes them
        if node.op_type == "DequantizeLinear" and "_b_" in node.input[0]:
            values = stored[node.input[0]] * stored[node.input[1]]
            tensor = numpy_helper.from_array(values.astype(np.float32), node.output[0])
            quantized.graph.initializer.append(tensor)
            quantized.graph.node.remove(node)
    wanted = run(model, ALL).mean(0)
    before = np.abs(run(quantized, ALL).mean(0) - wanted).max()
    found = correct_bias(model, quantized, BATCHES)
    assert np.abs(run(found, ALL).mean(0) - wanted).max() < 0.1 * before


def test_refused(net):
    model = small(net)
    quantized = quantize_int8(model, BATCHES)
    with pytest.raises(InputError, match="gives them once"):
        correct_bias(model, quantized, iter(BATCHES))
    with pytest.raises(InputError, match="no batches"):
        correct_bias(model, quantized, [])
    with pytest.raises(InputError, match="expected \\['x'\\]"):
        correct_bias(model, quantized, [{"y": ALL}])
    with pytest.raises(InputError, match="batch 1: 'x' holds NaN"):
        correct_bias(model, quantized, [BATCHES[0], {"x": ALL * np.nan}])
    with pytest.raises(ModelFormatError, match="found none"):
        correct_bias(model, model, BATCHES)
    other = net(3, 8, 8)
    with pytest.raises(ModelFormatError, match="not in the float model"):
        correct_bias(other.model(other.add("Relu", "x")), quantized, BATCHES)
