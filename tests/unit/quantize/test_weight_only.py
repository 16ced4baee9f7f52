"""Weights of matrices in 8 and 4 bits, against what the runtime makes of them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.errors import OptimizeError
from edgeml.quantize import quantize_weights
from edgeml.quantize._session import open_model, what_runs


def relative(model, small, x):
    run = [open_model(m).run(None, {"x": x})[0] for m in (model, small)]
    return float(np.abs(run[1] - run[0]).mean() / np.abs(run[0]).mean())


@pytest.mark.parametrize(("bits", "size", "error"), [(8, 0.32, 0.02), (4, 0.25, 0.2)])
def test_smaller_and_near(net, bits, size, error):
    made = net(96)
    model = made.model(made.gemm(made.add("Relu", made.gemm("x", 256, 96)), 64, 256))
    small = quantize_weights(model, bits=bits)
    onnx.checker.check_model(small, full_check=True)
    assert small.ByteSize() < size * model.ByteSize()
    x = np.random.default_rng(0).standard_normal((5, 96)).astype(np.float32)
    assert 0 < relative(model, small, x) < error


def test_the_runtime_makes_one_operator_of_it(net):
    made = net(64)
    model = made.model(made.add("MatMul", "x", made.constant("w", made.weights(64, 64))))
    ops = [node.op_type for node in what_runs(quantize_weights(model)).graph.node]
    assert ops == ["MatMulNBits"]


@given(
    rows=st.integers(20, 90), columns=st.integers(20, 90), turned=st.booleans(),
    block=st.sampled_from([16, 32, 64]),
)  # fmt: skip
def test_any_size_and_side(net, rows, columns, turned, block):
    """Blocks that do not fill the last row, and weights that a Gemm turns."""
    made = net(rows)
    shape = (columns, rows) if turned else (rows, columns)
    w = made.constant("w", made.weights(*shape).astype(np.float32))
    model = made.model(made.add("Gemm", "x", w, transB=int(turned)))
    if rows * columns < 1024:
        with pytest.raises(OptimizeError, match="1024 values"):
            quantize_weights(model, block=block)
        return
    x = np.random.default_rng(0).standard_normal((3, rows)).astype(np.float32)
    assert relative(model, quantize_weights(model, block=block), x) < 0.03


def test_shared_weights_are_kept_once_and_others_stay(net):
    made = net(64)
    w = made.constant("w", made.weights(64, 64))
    twice = made.add("MatMul", made.add("MatMul", "x", w), w)
    model = made.model(made.add("Add", twice, made.add("ReduceSum", w)))
    small = quantize_weights(model)
    assert [n.op_type for n in small.graph.node].count("DequantizeLinear") == 1
    assert "w" in {t.name for t in small.graph.initializer}, "ReduceSum reads it"


def test_what_is_no_plain_product_stays(net):
    made = net(64)
    w = made.constant("w", made.weights(64, 64))
    with pytest.raises(OptimizeError, match="no MatMul or Gemm"):
        quantize_weights(made.model(made.add("Gemm", "x", w, alpha=0.5)))


@pytest.mark.parametrize("wrong", [{"bits": 3}, {"block": 48}])
def test_bad_options(net, wrong):
    made = net(64)
    with pytest.raises(OptimizeError, match="expected bits of 4 or 8 and block of 16"):
        quantize_weights(made.model(made.gemm("x", 64, 64)), **wrong)
