"""AdaRound: nearer outputs from the same scales, up or down and nothing else."""

from __future__ import annotations

import logging

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeml.errors import ConfigError, InputError, ModelFormatError
from edgeml.quantize import quantize_int8
from edgeml.quantize._adaround import adaround

RNG = np.random.default_rng(5)
BATCHES = [{"x": RNG.standard_normal((32, 3, 8, 8), np.float32)} for _ in range(6)]
FRESH = RNG.standard_normal((64, 3, 8, 8), np.float32)


def small(net):
    n = net(3, 8, 8)
    a = n.add("Relu", n.conv("x", 8, 3))
    b = n.add("MaxPool", n.add("Relu", n.conv(a, 12, 8)), kernel_shape=[4, 4], strides=[4, 4])
    return n.model(n.gemm(n.add("Flatten", b), 5, 48))


def in_bits(model, quantized, bits, kind=np.int8):
    """Store a quantized model's weights in fewer bits, rounded to nearest."""
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    found = onnx.ModelProto()
    found.CopyFrom(quantized)
    stored = {t.name: t for t in found.graph.initializer}
    top = 2 ** (bits - 1) - 1
    for node in found.graph.node:
        name = node.input[0].removesuffix("_quantized")
        if node.op_type != "DequantizeLinear" or weights.get(name, np.zeros(1)).ndim < 2:
            continue
        values = weights[name]
        axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
        others = tuple(i for i in range(values.ndim) if i != axis)
        scale = (np.abs(values).max(others) / top).astype(np.float32)
        steps = values / scale.reshape([-1 if i == axis else 1 for i in range(values.ndim)])
        for own, new in ((0, np.rint(steps).astype(kind)), (1, scale),
                         (2, np.zeros(scale.shape, kind))):  # fmt: skip
            stored[node.input[own]].CopyFrom(numpy_helper.from_array(new, node.input[own]))
    for node in found.graph.node:  # biases are in the units of the products
        if node.op_type in ("Conv", "Gemm"):
            made = {n.output[0]: n for n in found.graph.node}
            x, w, b = (made[name] for name in node.input)
            one, two, old = (
                numpy_helper.to_array(stored[n.input[1]]).astype(np.float64) for n in (x, w, b)
            )
            ints = numpy_helper.to_array(stored[b.input[0]])
            new = np.rint(ints * old / (one * two)).astype(np.int32)
            stored[b.input[0]].CopyFrom(numpy_helper.from_array(new, b.input[0]))
            scale = (one * two).astype(np.float32)
            stored[b.input[1]].CopyFrom(numpy_helper.from_array(scale, b.input[1]))
    return found


@pytest.fixture(scope="module")
def models(net):
    model = small(net)
    return model, in_bits(model, quantize_int8(model, BATCHES), 4)


@pytest.fixture(scope="module")
def learned(models):
    return adaround(*models, BATCHES, steps=300)


def test_outputs_get_nearer(models, learned, run):
    model, nearest = models
    wanted = run(model, FRESH)
    before = np.square(run(nearest, FRESH) - wanted).mean()
    after = np.square(run(learned, FRESH) - wanted).mean()
    assert after < 0.5 * before


def test_weights_go_up_or_down_and_scales_stay(models, learned, arrays):
    model, nearest = models
    old, new, real = arrays(nearest), arrays(learned), arrays(model)
    changed = [name for name in old if not np.array_equal(old[name], new[name])]
    assert changed
    for name in changed:
        original = name.removesuffix("_quantized")
        scale = old[f"{original}_scale"]
        axis = 1 if original.startswith("gemm") else 0
        ndim = new[name].ndim
        steps = real[original] / scale.reshape([-1 if i == axis else 1 for i in range(ndim)])
        assert (np.abs(new[name] - steps) <= 1 + 1e-4).all()
        assert np.abs(new[name]).max() <= 7
        assert new[name].dtype == np.int8


def test_four_bits_stored_as_such(net, run):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="int4 arrays of onnx are its")
    model = small(net)
    quantized = in_bits(model, quantize_int8(model, BATCHES), 4, ml_dtypes.int4)
    for entry in quantized.opset_import:
        entry.version = max(entry.version, 21)
    quantized.ir_version = 10
    found = adaround(model, quantized, BATCHES, steps=100)
    kinds = {t.data_type for t in found.graph.initializer}
    assert onnx.TensorProto.INT4 in kinds
    wanted = run(model, FRESH)
    before = np.square(run(quantized, FRESH) - wanted).mean()
    assert np.square(run(found, FRESH) - wanted).mean() < before


def test_the_same_seed_gives_the_same(models):
    first, second = (adaround(*models, BATCHES, steps=20) for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_a_layer_that_gets_no_better_keeps_its_rounding(net, arrays, caplog):
    n = net(8)
    model = n.model(n.gemm("x", 4, 8))
    grid = np.round(n.constants["gemm0_w"] * 64)
    n.constants["gemm0_w"] = (grid * 127 / np.abs(grid).max(0) / 64).astype(np.float32)
    n.constants["gemm0_w"] = np.sign(n.constants["gemm0_w"]).astype(np.float32)  # exact in int8
    model = n.model("gemm0")
    batches = [{"x": RNG.random((40, 8), np.float32)}]
    quantized = quantize_int8(model, batches)
    with caplog.at_level(logging.INFO, "edgeml.quantize"):
        found = adaround(model, quantized, batches, steps=20)
    assert "gemm0 left" in caplog.text
    assert found.SerializeToString() == quantized.SerializeToString()


def test_little_memory_means_fewer_examples(models, run):
    model, nearest = models
    each = (3 + 8) * 64 * 4
    found = adaround(model, nearest, BATCHES, steps=20, memory=40 * each)
    assert found.SerializeToString() != nearest.SerializeToString()
    with pytest.raises(InputError, match="at least 10 examples"):
        adaround(model, nearest, BATCHES, steps=20, memory=5 * each)


def test_an_interrupt_keeps_what_is_done(models, arrays):
    def progress(done, total, name):
        if done == 1:
            raise KeyboardInterrupt

    found = adaround(*models, BATCHES, steps=50, progress=progress)
    old, new = arrays(models[1]), arrays(found)
    changed = [name for name in old if not np.array_equal(old[name], new[name])]
    assert changed == ["conv0_w_quantized"]


def test_progress(models):
    seen = []
    adaround(*models, BATCHES, steps=1, progress=lambda *now: seen.append(now[:2]))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_refused(models):
    model, quantized = models
    with pytest.raises(ConfigError, match="steps"):
        adaround(model, quantized, BATCHES, steps=0)
    with pytest.raises(InputError, match="no batches"):
        adaround(model, quantized, [])
    with pytest.raises(InputError, match="gives them once"):
        adaround(model, quantized, iter(BATCHES))
    with pytest.raises(InputError, match="NaN"):
        adaround(model, quantized, [{"x": FRESH * np.nan}])
    with pytest.raises(ModelFormatError, match="found none"):
        adaround(model, model, BATCHES)
