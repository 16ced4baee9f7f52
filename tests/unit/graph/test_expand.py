"""Operators newer than the runtime: their gradients, run by ONNX's reference implementation."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from edgeml.errors import NoGradient
from edgeml.graph import Graph, emit, emit_many, gradients, to_onnx
from edgeml.ops import sum as total

rng = np.random.default_rng(0)


def n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


CASES = {
    "SwiGLU": (28, lambda a, b: emit("SwiGLU", a, b, alpha=1.5), n(2, 4), n(2, 4)),
    "CausalConvWithState": (
        27, lambda x, w, b: emit_many(2, "CausalConvWithState", x, w, b, activation="silu")[0],
        n(2, 3, 5), n(3, 1, 4), n(3)),
    "LinearAttention": (
        27, lambda q, k, v: emit_many(2, "LinearAttention", q, k, v, q_num_heads=2,
                                      kv_num_heads=2, update_rule="linear")[0],
        n(1, 3, 4), n(1, 3, 4), n(1, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("op", CASES)
def test_gradient_matches_finite_differences(op):
    opset, fn, *inputs = CASES[op]
    if opset > onnx.defs.onnx_opset_version():
        pytest.skip(f"this onnx has no opset {opset}")
    graph = Graph(opset)
    with graph:
        tensors = [graph.input(f"x{i}", x.dtype, x.shape) for i, x in enumerate(inputs)]
        y = fn(*tensors)
        weights = rng.standard_normal(y.static_shape).astype(np.float32)
        loss = total(y * weights)
        found = gradients([loss], tensors)
    graph.outputs = {"loss": loss, **{f"g{i}": g for i, g in enumerate(found)}}
    model = to_onnx(graph)
    onnx.checker.check_model(model, full_check=True)
    run = ReferenceEvaluator(model)
    _, *received = run.run(None, {f"x{i}": x for i, x in enumerate(inputs)})
    for i, g in enumerate(received):
        step = rng.standard_normal(inputs[i].shape).astype(np.float32)

        def value(by, i=i, step=step):
            moved = {f"x{j}": x + (by * step if j == i else 0) for j, x in enumerate(inputs)}
            return float(run.run(["loss"], {k: v.astype(np.float32) for k, v in moved.items()})[0])

        expected = (value(1e-2) - value(-1e-2)) / 2e-2
        np.testing.assert_allclose(np.sum(g * step), expected, rtol=2e-2, atol=2e-3)


def test_what_has_neither_rule_nor_definition_is_told():
    graph = Graph(22)
    x = graph.input("x", np.float32, (1, 1, 4, 4))
    y = emit("Compress", x, graph.input("c", np.bool_, (16,)))
    with pytest.raises(NoGradient, match=r"ai\.onnx::Compress.*opset 22.*stop_gradient") as caught:
        gradients([y], [x])
    assert caught.value.op == "ai.onnx::Compress"
