"""Where QuantizeLinear and DequantizeLinear go, and which kernels the runtime makes of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from edgeml.errors import OptimizeError
from edgeml.quantize._blocks import FOLLOWING, PASSING, WEIGHTED, find_blocks
from edgeml.quantize._index import Index
from edgeml.quantize._session import open_model, what_runs
from edgeml.quantize._targets import TARGETS, target_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 8, 8, 8)).astype(np.float32)
FLAT = RNG.standard_normal((16, 8)).astype(np.float32)
HERE = target_of("this")
KERNELS = WEIGHTED | FOLLOWING | PASSING


def error(ours, theirs):
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def kernels(model):
    return Counter(node.op_type for node in what_runs(model).graph.node)


def needs(*operators):
    missing = set(operators) - HERE.kernels
    return pytest.mark.skipif(bool(missing), reason=f"no 8-bit kernels here: {sorted(missing)}")


def silu(made, x):
    return made.add("Mul", x, made.add("Sigmoid", x))


def clipped(made, x):
    made.constant("low", np.float32(0))
    made.constant("high", np.float32(6))
    return made.add("Clip", made.conv(x, 8, 8), "low", "high")


def halves(made, x):
    first, second = made.add("Split", x, outputs=2, axis=1, num_outputs=2)
    return made.add("Concat", second, first, axis=1)


def reshaped(made, x):
    made.constant("wide", np.array([0, 8, 4, 16]))
    made.constant("square", np.array([0, 8, 8, 8]))
    return made.add("Reshape", made.add("Reshape", x, "wide"), "square")


UNARY = {
    "conv": lambda made, x: made.conv(x, 8, 8),
    "depthwise": lambda made, x: made.conv(x, 8, 8, group=8),
    "relu": lambda made, x: made.add("Relu", made.conv(x, 8, 8)),
    "clip": clipped,
    "sigmoid": lambda made, x: made.add("Sigmoid", x),
    "silu": silu,
    "hard_swish": lambda made, x: made.add("HardSwish", x),
    "max_pool": lambda made, x: made.add("MaxPool", x, kernel_shape=[3, 3], pads=[1] * 4),
    "pool": lambda made, x: made.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4),
    "split": halves,
    "reshape": reshaped,
}
BINARY = {
    "add": lambda made, a, b: made.add("Add", a, b),
    "add_relu": lambda made, a, b: made.add("Relu", made.add("Add", a, b)),
    "mul": lambda made, a, b: made.add("Mul", a, b),
    "concat": lambda made, a, b: made.conv(made.add("Concat", a, b, axis=1), 8, 16, 1),
}
STEPS = st.lists(
    st.tuples(st.sampled_from([*UNARY, *BINARY]), st.integers(0, 9), st.integers(0, 9)),
    min_size=1, max_size=7,
)  # fmt: skip


def random_model(made, steps):
    """A graph of the steps; each reads what a number picks of what is there."""
    there = [made.conv("x", 8, 8)]
    for what, first, second in steps:
        a, b = there[first % len(there)], there[second % len(there)]
        there.append(UNARY[what](made, a) if what in UNARY else BINARY[what](made, a, b))
    read = {name for node in made.nodes for name in node.input}
    pooled = made.add("Flatten", made.add("GlobalAveragePool", there[-1]))
    ends = [name for name in there[:-1] if name not in read]
    return made.model(made.gemm(pooled, 5, 8), *ends), len(ends) + 1


@needs(*(KERNELS - {"SpaceToDepth", "DepthToSpace"}))
@settings(max_examples=40)
@given(steps=STEPS)
def test_random_graphs_run_in_8_bits(net, quantize, steps):
    model, outputs = random_model(net(8, 8, 8), steps)
    quantized, _ = quantize(model, X)
    onnx.checker.check_model(quantized)
    ours, theirs = (open_model(m).run(None, {"x": X}) for m in (quantized, model))
    for our, their in zip(ours, theirs, strict=True):
        assert error(our, their) < 0.1
    found = kernels(quantized)
    floating = sum(what == "hard_swish" for what, _, _ in steps)
    assert found["QuantizeLinear"] <= 1 + 2 * floating
    # Each float reader gets one of its own from the runtime.
    assert found["DequantizeLinear"] <= outputs + 4 * floating
    assert not {"Conv", "FusedConv", "Gemm", "FusedGemm"} & set(found)
    if not floating:
        assert not {"Add", "Mul", "Sigmoid", "Concat", "AveragePool"} & set(found)


@needs("Conv", "Mul", "Sigmoid")
def test_silu_is_three_kernels(net, quantize):
    made = net(8, 8, 8)
    model = made.model(made.conv(silu(made, made.conv("x", 8, 8)), 8, 8))
    found = kernels(quantize(model, X)[0])
    assert (found["QLinearConv"], found["QLinearMul"], found["QLinearSigmoid"]) == (2, 1, 1)
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (1, 1)


@needs("Conv", "Add")
def test_hard_swish_stays_float_and_its_neighbours_do_not(net, quantize):
    made = net(8, 8, 8)
    hidden = made.add("HardSwish", made.conv("x", 8, 8))
    model = made.model(made.add("Add", made.conv(hidden, 8, 8), made.conv(hidden, 8, 8)))
    quantized, plan = quantize(model, X)
    assert all(block.op != "HardSwish" for block in plan.blocks)
    found = kernels(quantized)
    assert (found["QLinearConv"], found["QLinearAdd"]) == (3, 1)
    assert (found["QuantizeLinear"], found["DequantizeLinear"]) == (2, 2)


def test_all_readers_see_what_the_next_kernel_sees(net, quantize):
    """Float readers, graph outputs and bodies of If get the rounded values."""
    made = net(8, 8, 8)
    first = made.add("Relu", made.conv("x", 8, 8))
    body = [
        helper.make_graph([helper.make_node("Neg", [first], [f"{side}_out"])], side, [],
                          [helper.make_tensor_value_info(f"{side}_out", TensorProto.FLOAT, None)])
        for side in ("then", "else")
    ]  # fmt: skip
    flag = made.constant("flag", np.array(True))
    inner = made.add("If", flag, then_branch=body[0], else_branch=body[1])
    plain = made.add("Neg", first)
    model = made.model(made.conv(first, 4, 8), first, inner, plain)
    quantized, plan = quantize(model, X)
    names = [output.name for output in quantized.graph.output]
    _, seen, within, outside = open_model(quantized).run(names, {"x": X})
    np.testing.assert_array_equal(seen, -within)
    np.testing.assert_array_equal(seen, -outside)
    params = plan.activations[first]
    np.testing.assert_array_equal(params.dequantize(params.quantize(seen)), seen)
    assert len(np.unique(seen)) <= 256


def test_floating_blocks_stay_as_they_were(net, quantize, run):
    made = net(8, 8, 8)
    first, second = made.conv("x", 8, 8), made.conv("x", 8, 8)
    model = made.model(made.conv(made.add("Add", first, second), 4, 8))
    quantized, plan = quantize(model, X, floating=[first, second])
    assert [block.op for block in plan.blocks] == ["Conv"]
    names = {name for node in quantized.graph.node for name in node.input}
    assert {f"{first}_w", f"{second}_w"} <= names
    everything, _ = quantize(model, X, floating=[block.name for block in plan.blocks])
    nothing, none = quantize(model, X, floating=[n.name for n in model.graph.node])
    assert not none.blocks
    np.testing.assert_array_equal(run(nothing, X), run(model, X))
    assert error(run(quantized, X), run(model, X)) < error(run(everything, X), run(model, X)) + 0.02


@pytest.mark.parametrize(
    ("operator", "shape", "attributes", "axis"),
    [
        ("Gemm", (8, 6), {}, 1),
        ("Gemm", (6, 8), {"transB": 1}, 0),
        ("MatMul", (8, 6), {}, 1),
    ],
)
def test_channels_of_matrices_have_scales_of_their_own(net, quantize, run, operator, shape,
                                                       attributes, axis):  # fmt: skip
    made = net(8)
    sizes = 10.0 ** np.arange(-3, 3)
    weights = made.weights(*shape) * (sizes if axis else sizes[:, None])
    made.constant("w", weights.astype(np.float32))
    inputs = ["x", "w"]
    if operator == "Gemm":
        inputs.append(made.constant("b", (sizes * np.arange(6)).astype(np.float32)))
    model = made.model(made.add(operator, *inputs, **attributes))
    quantized, plan = quantize(model, FLAT)
    assert plan.weights["w"].scale.shape == (6,)
    assert plan.weights["w"].axis == axis
    ours, theirs = open_model(what_runs(quantized)).run(None, {"x": FLAT})[0], run(model, FLAT)
    scale = plan.activations[model.graph.output[0].name].scale
    assert (abs(ours - theirs) < 0.02 * abs(theirs).max(0) + scale).all()
    if operator == "Gemm":
        assert kernels(quantized)["QGemm"] == 1


@pytest.mark.parametrize(
    "build",
    [
        lambda made: made.add("MatMul", "x", made.constant("w", made.weights(8))),
        lambda made: made.add("Gemm", "x", made.constant("w", made.weights(8, 4)), alpha=2.0),
        lambda made: made.add("Gemm", "x", made.constant("w", made.weights(8, 4)),
                              made.constant("b", made.weights(1, 4))),
        lambda made: made.add("Gemm", made.constant("a", made.weights(3, 8)),
                              made.constant("w", made.weights(8, 4))),
        lambda made: made.add("MatMul", made.constant("w", made.weights(3, 16)), "x"),
    ],
    ids=["vector", "alpha", "matrix bias", "constant input", "weights first"],
)  # fmt: skip
def test_what_has_no_kernel_stays_float(net, quantize, run, build):
    made = net(8)
    model = made.model(build(made))
    quantized, plan = quantize(model, FLAT)
    assert not plan.blocks
    np.testing.assert_array_equal(run(quantized, FLAT), run(model, FLAT))


def test_batched_and_dynamic_matrices(net, quantize, run):
    made = net(4, 8)
    other = made.add("MatMul", "x", made.constant("w", made.weights(1, 8, 8)))
    turned = made.add("Transpose", other, perm=[0, 2, 1])
    model = made.model(made.add("MatMul", other, turned))
    x = RNG.standard_normal((3, 4, 8)).astype(np.float32)
    quantized, plan = quantize(model, x)
    assert [block.op for block in plan.blocks] == ["MatMul", "Transpose", "MatMul"]
    assert error(run(quantized, x), run(model, x)) < 0.03


def test_shared_weights_and_biases(net, quantize, run):
    made = net(8)
    made.constant("w", made.weights(8, 8))
    made.constant("b", made.weights(8))
    hidden = made.add("Gemm", "x", "w", "b")
    model = made.model(made.add("Gemm", made.add("Gemm", hidden, "w", "b"), "w", "b"))
    quantized, plan = quantize(model, FLAT)
    assert plan.weights["w"].scale.shape == (8,)
    integers = [t for t in quantized.graph.initializer if t.name.startswith("w_quantized")]
    assert len(integers) == 1
    assert error(run(quantized, FLAT), run(model, FLAT)) < 0.03


def test_weights_read_along_two_axes_have_one_scale(net, quantize, run):
    made = net(8)
    made.constant("w", made.weights(8, 8))
    hidden = made.add("Gemm", "x", "w")
    model = made.model(made.add("Gemm", hidden, "w", transB=1))
    quantized, plan = quantize(model, FLAT)
    assert plan.weights["w"].scale.shape == ()
    assert error(run(quantized, FLAT), run(model, FLAT)) < 0.05


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_large_bias_widens_its_scale(net, quantize, run, per_channel):
    made = net(8)
    weights = made.weights(8, 4)
    weights[:, 2] *= 1e-9
    made.constant("w", weights)
    made.constant("b", np.array([0, 1, 100, -100], np.float32))
    model = made.model(made.add("Gemm", "x", "w", "b"))
    quantized, _ = quantize(model, FLAT, per_channel=per_channel)
    stored = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    assert abs(stored["gemm0/b_quantized"]).max() <= 2**30 + 1
    assert error(run(quantized, FLAT), run(model, FLAT)) < 0.02


def test_seven_bits_leave_one_free(net, quantize, run):
    made = net(8, 8, 8)
    model = made.model(made.conv("x", 8, 8))
    quantized, _ = quantize(model, X, "x86-avx2")
    stored = {t.name: numpy_helper.to_array(t) for t in quantized.graph.initializer}
    weights = stored["conv0_w_quantized"].astype(int)
    assert abs(weights).max() == 63
    assert 2 * 255 * abs(weights).max() <= 32767  # a pair of products never overflows
    assert error(run(quantized, X), run(model, X)) < 0.03


def test_symmetric_int8_has_no_zero_points(net, quantize, run):
    made = net(8, 8, 8)
    hidden = made.add("Relu", made.conv("x", 8, 8))
    model = made.model(made.add("Add", made.conv(hidden, 8, 8), hidden))
    quantized, plan = quantize(model, X, "jetson-tensorrt")
    for params in (*plan.activations.values(), *plan.weights.values()):
        assert params.zero_point.dtype == np.int8
        assert not params.zero_point.any()
    assert error(run(quantized, X), run(model, X)) < 0.03


def test_moved_values_keep_their_scale(net, quantize):
    made = net(8, 8, 8)
    pooled = made.add("MaxPool", made.conv("x", 8, 8), kernel_shape=[2, 2], strides=[2, 2])
    model = made.model(made.conv(pooled, 8, 8))
    plan = quantize(model, X)[1]
    assert plan.activations[pooled] is plan.activations["conv0"]


def test_names_that_are_taken(net, quantize, run):
    """Files have tensors called a, a_scale and a_quantized."""
    made = net(8)
    for name in ("gemm0_w", "gemm0_w_scale"):
        made.constant(name, made.weights(8, 8))
    made.nodes.append(helper.make_node("Gemm", ["x", "gemm0_w"], ["a"], "a"))
    made.nodes.append(helper.make_node("Gemm", ["a", "gemm0_w_scale"], ["a_quantized"], "second"))
    made.nodes.append(helper.make_node("Gemm", ["a_quantized", "gemm0_w"], ["a_raw"], "third"))
    model = made.model("a_raw", "a")
    quantized, plan = quantize(model, FLAT)
    assert len(plan.blocks) == 3
    onnx.checker.check_model(quantized)
    assert error(run(quantized, FLAT), run(model, FLAT)) < 0.05


def test_followers_are_quantized_behind_a_quantized_neighbour_only(net):
    made = net(8, 8, 8)
    alone = made.add("Sigmoid", made.add("Add", "x", "x"))
    model = made.model(made.conv(alone, 8, 8))
    from edgeml.quantize._blocks import connected

    blocks = find_blocks(Index(model), KERNELS)
    assert [b.op for b in blocks] == ["Add", "Sigmoid", "Conv"]
    assert [b.op for b in connected(blocks, ())] == ["Conv"]


def test_other_domains_and_kernels_are_left_alone(net):
    made = net(8, 8, 8)
    made.conv("x", 8, 8)
    model = made.model("conv0")
    assert len(find_blocks(Index(model), KERNELS)) == 1
    assert not find_blocks(Index(model), KERNELS - {"Conv"})
    model.graph.node[0].domain = "ai.example"
    assert not find_blocks(Index(model), KERNELS)


def test_unknown_targets_show_the_nearest():
    with pytest.raises(OptimizeError, match="nearest: raspberry-pi-5") as caught:
        target_of("raspbery-pi5")
    assert all(name in str(caught.value) for name in TARGETS)
    assert target_of("qnn").static


def test_this_machine_is_probed():
    assert HERE.here
    assert HERE.kernels >= {"Conv", "Gemm", "MatMul", "MaxPool"}
    assert all(not target.here for target in TARGETS.values())
