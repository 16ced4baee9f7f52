"""Training of quantized models: it recovers, and what comes out is what was trained."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import edgeml
from edgeml.callbacks import Callback
from edgeml.errors import ConfigError, DataError, ModelFormatError
from edgeml.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from edgeml.optimizers import Adam
from edgeml.quantize import quantize_int8, simplify
from edgeml.quantize._blocks import find_blocks
from edgeml.quantize._calibrate import calibrate
from edgeml.quantize._index import Index
from edgeml.quantize._masters import with_masters
from edgeml.quantize._plan import make_plan, ranges_by, tensors_of
from edgeml.quantize._qat import train_quantized
from edgeml.quantize._qdq import write
from edgeml.quantize._session import what_runs
from edgeml.quantize._targets import target_of

RNG = np.random.default_rng(0)
Y = RNG.integers(0, 4, 1200)
X = RNG.standard_normal((1200, 8, 8, 1)).astype(np.float32)
for _i, _y in enumerate(Y):  # where the bright patch is
    X[_i, 4 * (_y // 2) : 4 * (_y // 2) + 4, 4 * (_y % 2) : 4 * (_y % 2) + 4] += 0.8


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "m.onnx"
    edgeml.layers.set_random_seed(0)
    net = edgeml.Sequential([
        Input((8, 8, 1), name="x"), Conv2D(8, 3, activation="relu"), MaxPooling2D(),
        Conv2D(8, 3, activation="relu"), Flatten(), Dense(4),
    ])  # fmt: skip
    loss = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(Adam(0.01), loss)
    net.fit(X[:800], Y[:800], epochs=5, verbose=0)
    net.save(path)
    return simplify(path)


def coarse(model, top):
    """Quantize with weights of 2 * top + 1 steps."""
    quantized = quantize_int8(model, [{"x": X[:100]}])
    stored = {t.name: t for t in quantized.graph.initializer}
    for node in quantized.graph.node:
        name = node.input[0]
        if node.op_type != "DequantizeLinear" or name not in stored:
            continue
        values = numpy_helper.to_array(stored[name])
        scale = numpy_helper.to_array(stored[node.input[1]])
        factor = np.float32(127 / top)
        if values.dtype == np.int32:  # in the units of the products
            new = np.rint(values / factor).astype(np.int32)
        else:
            new = np.rint(values / factor).astype(np.int8)
        stored[name].CopyFrom(numpy_helper.from_array(new, name))
        wide = numpy_helper.from_array((scale * factor).astype(np.float32), node.input[1])
        stored[node.input[1]].CopyFrom(wide)
    return quantized


def in_our_form(model, **options):
    """Quantize as `optimize` does."""
    target = target_of("x86-vnni")
    index = Index(model)
    blocks = find_blocks(index, target.kernels)
    batches = [{"x": X[:100]}]
    ranges = ranges_by("minmax", calibrate(model, batches, tensors_of(index, blocks)))
    return write(model, make_plan(index, blocks, ranges, target, **options))


def accuracy(run, model):
    return (run(model, X[800:]).argmax(1) == Y[800:]).mean()


def weights(arrays, model):
    return {k: v for k, v in arrays(model).items() if v.dtype == np.int8 and v.ndim > 1}


@pytest.fixture(scope="module")
def poor(model):
    return coarse(model, 1)


def test_labels_bring_accuracy_back(model, poor, run):
    found = train_quantized(poor, (X[:800], Y[:800]), epochs=12, optimizer=Adam(5e-3))
    dense, before = accuracy(run, model), accuracy(run, poor)
    assert before < dense - 0.05
    assert accuracy(run, found) >= dense - 0.2 * (dense - before)


def test_a_teacher_does_without_labels(model, poor, run):
    found = train_quantized(poor, X[:800], teacher=model, epochs=12, optimizer=Adam(5e-3))
    dense, before = accuracy(run, model), accuracy(run, poor)
    assert accuracy(run, found) >= dense - 0.2 * (dense - before)


def test_grid_and_graph_are_the_given_ones(poor, arrays):
    found = train_quantized(poor, (X[:800], Y[:800]), epochs=2, optimizer=Adam(1e-2))
    assert [n.op_type for n in found.graph.node] == [n.op_type for n in poor.graph.node]
    old, new = arrays(poor), arrays(found)
    assert {k: (v.dtype, v.shape) for k, v in old.items()} == {
        k: (v.dtype, v.shape) for k, v in new.items()
    }
    learned = weights(arrays, found)
    assert all(np.abs(values).max() <= 1 for values in learned.values())
    assert any(not np.array_equal(values, old[name]) for name, values in learned.items())


def test_scales_learn_or_stay(model, arrays):
    quantized = quantize_int8(model, [{"x": X[:100]}])
    old = arrays(quantized)
    bias_scales = {
        n.input[1]
        for n in quantized.graph.node
        if n.op_type == "DequantizeLinear" and old.get(n.input[0], X).dtype == np.int32
    }
    names = [k for k in old if k.endswith("_scale") and k not in bias_scales]
    fixed = arrays(train_quantized(quantized, (X[:800], Y[:800]), epochs=1, scales="fixed"))
    assert all(np.array_equal(old[name], fixed[name]) for name in names)
    learned = arrays(train_quantized(quantized, (X[:800], Y[:800]), epochs=1))
    changed = [name for name in names if not np.array_equal(old[name], learned[name])]
    inputs = {n.input[1] for n in quantized.graph.node if n.input[0] == "v0"}
    assert inputs
    assert not inputs & set(changed)  # the input's grid, behind a Transpose
    assert len(changed) >= 5
    assert all((learned[name] > 0).all() for name in names)


def test_what_only_moves_values_keeps_one_scale(model, arrays):
    quantized = quantize_int8(model, [{"x": X[:100]}])
    found = train_quantized(quantized, (X[:800], Y[:800]), epochs=1, optimizer=Adam(1e-2))
    values = arrays(found)
    made = {n.output[0]: n for n in found.graph.node}
    pool = next(n for n in found.graph.node if n.op_type == "MaxPool")
    after = next(n for n in found.graph.node if pool.output[0] in n.input)
    assert after.op_type == "QuantizeLinear"
    np.testing.assert_array_equal(
        values[made[pool.input[0]].input[1]], values[after.input[1]]
    )  # fmt: skip


@pytest.mark.parametrize("scales", ["fixed", "learned"])
def test_what_comes_out_is_what_was_trained(model, run, scales):
    from edgeml.quantize import _qat

    kept = []

    def exported(trainer):
        kept.append(trainer)
        return _qat_exported(trainer)

    _qat_exported = _qat.exported
    _qat.exported = exported
    try:
        quantized = quantize_int8(model, [{"x": X[:100]}])
        data = (X[:800], Y[:800])
        found = train_quantized(quantized, data, epochs=2, scales=scales, optimizer=Adam(1e-3))
    finally:
        _qat.exported = _qat_exported
    seen = kept[0].predict(X[800:])
    quantum = max(numpy_helper.to_array(t).max() for t in found.graph.initializer
                  if t.name.endswith("_scale") and not t.dims)  # fmt: skip
    off = np.abs(run(found, X[800:], fused=False) - seen)
    assert off.max() <= 1.01 * quantum
    assert (off < 1e-6).mean() > 0.99


def test_no_epochs_change_nothing(model, run):
    quantized = quantize_int8(model, [{"x": X[:100]}])
    found = train_quantized(quantized, (X[:800], Y[:800]), epochs=0)
    np.testing.assert_array_equal(run(found, X), run(quantized, X))


def test_masters_compute_what_the_integers_do(model, poor, run):
    ours = [in_our_form(model), in_our_form(model, per_channel=False)]
    for quantized in (poor, quantize_int8(model, [{"x": X[:100]}]), *ours):
        for learned in (False, True):
            masters = with_masters(quantized, learned=learned)
            off = np.abs(run(masters.model, X, fused=False) - run(quantized, X, fused=False))
            assert (off < 1e-5).mean() > 0.99


@pytest.mark.parametrize("per_channel", [True, False])
def test_our_own_form_trains_and_still_runs_in_integers(model, run, per_channel):
    quantized = in_our_form(model, per_channel=per_channel)
    found = train_quantized(quantized, (X[:800], Y[:800]), epochs=2, optimizer=Adam(2e-3))
    assert accuracy(run, found) >= accuracy(run, quantized) - 0.01
    before, after = ([node.op_type for node in what_runs(m).graph.node]
                     for m in (quantized, found))  # fmt: skip
    assert before == after
    assert "QLinearConv" in after


def test_four_bits_stored_as_such(model, poor, run, arrays):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="int4 arrays of onnx are its")
    narrow = onnx.ModelProto()
    narrow.CopyFrom(poor)
    for tensor in narrow.graph.initializer:
        if tensor.data_type == onnx.TensorProto.INT8:
            values = numpy_helper.to_array(tensor).astype(ml_dtypes.int4)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for entry in narrow.opset_import:
        entry.version = max(entry.version, 21)
    narrow.ir_version = 10
    found = train_quantized(narrow, X[:800], teacher=model, epochs=6, optimizer=Adam(5e-3))
    assert onnx.TensorProto.INT4 in {t.data_type for t in found.graph.initializer}
    assert accuracy(run, found) > accuracy(run, narrow) + 0.05


def test_the_same_seed_gives_the_same(poor):
    data = (X[:200], Y[:200])
    first, second = (train_quantized(poor, data, epochs=1, seed=3) for _ in range(2))
    assert first.SerializeToString() == second.SerializeToString()


def test_batches_with_labels(poor):
    batches = [(X[i : i + 50], Y[i : i + 50]) for i in range(0, 200, 50)]
    found = train_quantized(poor, batches, epochs=2)
    assert found.SerializeToString() != poor.SerializeToString()


def test_an_interrupt_keeps_what_was_learned(poor):
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise KeyboardInterrupt

    data = (X[:200], Y[:200])
    found = train_quantized(poor, data, epochs=50, callbacks=[Stop()])
    once = train_quantized(poor, data, epochs=1)
    assert found.SerializeToString() == once.SerializeToString()


def test_refused(model, poor):
    with pytest.raises(ModelFormatError, match="quantize it first"):
        train_quantized(model, (X, Y))
    with pytest.raises(ConfigError, match="'learned' or 'fixed'"):
        train_quantized(poor, (X, Y), scales="free")
    with pytest.raises(DataError, match="targets"):
        train_quantized(poor, X)
    with pytest.raises(DataError, match="out of range"):
        train_quantized(poor, (X, Y + 7))
    with pytest.raises(edgeml.errors.NonFinite):
        train_quantized(poor, (X * np.nan, Y))
