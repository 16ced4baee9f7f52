"""Control flow in files, and what of it has no gradient."""

import numpy as np
import onnx
import pytest
from onnx import parser

from edgeml.errors import NoGradient
from edgeml.graph import from_onnx, gradients, to_onnx
from edgeml.graph._execute import open_session

X = np.array([1.0, -2.0, 3.0], np.float32)


def model(nodes, inputs="float[3] x", outputs="float y"):
    text = f"""<ir_version: 8, opset_import: ["" : 18]>
    main ({inputs}) => ({outputs}) {{ {nodes} }}"""
    return parser.parse_model(text)


def slope(proto, **feeds):
    graph = from_onnx(proto)
    (g,) = gradients([graph.outputs["y"]], [graph.inputs[0]])
    graph.outputs = {"g": g}
    written = to_onnx(graph)
    onnx.checker.check_model(written)
    taken = {x.name for x in graph.inputs}
    feeds = {"x": X, **feeds}
    return open_session(written).run(None, {k: v for k, v in feeds.items() if k in taken})[0]


SCAN = """
    start = Constant <value = float[1] {1.0}> ()
    rows = Reshape (x, shape)
    last, all = Scan <num_scan_inputs = 1, body = step (float[1] s, float[1] v)
        => (float[1] new, float[1] out) { new = Mul (s, v)  out = Identity (new) }> (start, rows)
    both = Concat <axis = 0> (last, flat)
    y = ReduceSum <keepdims = 0> (both)
"""
LOOP = """
    true = Constant <value = bool {1}> ()
    last = Loop <body = step (int64 i, bool go, float[3] s) => (bool on, float[3] new)
        { on = Identity (go)  new = Mul (s, x) }> (count, true, x)
    y = ReduceSum <keepdims = 0> (last)
"""
EARLY = LOOP.replace(
    "on = Identity (go)", "limit = Constant <value = float {2.0}> () "
    "m = ReduceMax <keepdims = 0> (s) on = Less (m, limit)",
)  # fmt: skip
NESTED = """
    true = Constant <value = bool {1}> ()
    last = Loop <body = outer (int64 i, bool go, float[3] s) => (bool on, float[3] new) {
        on = Identity (go)
        new = Loop <body = inner (int64 j, bool go2, float[3] t) => (bool on2, float[3] made)
            { on2 = Identity (go2)  made = Mul (t, s) }> (count, true, s) }> (count, true, x)
    y = ReduceSum <keepdims = 0> (last)
"""
IF = """
    same = If <then_branch = a () => (float[3] t) { t = Mul (x, x) },
               else_branch = b () => (float[3] e) { e = Neg (x) }> (flag)
    y = ReduceSum <keepdims = 0> (same)
"""


def test_a_scan_from_a_file():
    nodes = "shape = Constant <value = int64[2] {3, 1}> ()" + SCAN.replace(
        "both = Concat", "one = Constant <value = int64[1] {-1}> () flat = Reshape (all, one) "
        "both = Concat"
    )  # fmt: skip
    a, b, c = X
    expected = [1 + b + 2 * b * c, a + 2 * a * c, 2 * a * b]
    np.testing.assert_allclose(slope(model(nodes)), expected, rtol=1e-6)


def test_a_loop_from_a_file():
    nodes = "count = Constant <value = int64 {2}> ()" + LOOP
    np.testing.assert_allclose(slope(model(nodes)), 3 * X**2, rtol=1e-6)


def test_a_loop_that_ends_early():
    """The second of five steps finds 4.5, which is above 2, and is the last."""
    nodes = "count = Constant <value = int64 {5}> ()" + EARLY.replace(
        "(count, true, x)", "(count, true, half)").replace(
        "last =", "two = Constant <value = float {0.5}> () half = Mul (x, two) last =")  # fmt: skip
    np.testing.assert_allclose(slope(model(nodes)), 3 * X**2 / 2, rtol=1e-6)


def test_a_loop_in_a_loop():
    """Of two times two: x, x^3, x^9."""
    nodes = "count = Constant <value = int64 {2}> ()" + NESTED
    np.testing.assert_allclose(slope(model(nodes)), 9 * X**8, rtol=1e-5)


@pytest.mark.parametrize("flag", [True, False])
def test_a_branch_from_a_file(flag):
    fed = model(IF, "float[3] x, bool flag")
    expected = 2 * X if flag else -np.ones(3)
    np.testing.assert_allclose(slope(fed, flag=np.array(flag)), expected, rtol=1e-6)
    fixed = model(f"flag = Constant <value = bool {{{int(flag)}}}> ()" + IF)
    np.testing.assert_allclose(slope(fixed), expected, rtol=1e-6)


@pytest.mark.parametrize(("proto", "message"), [
    (model(LOOP, "float[3] x, int64 count"), "the number of its steps is not a constant"),
    (model("count = Constant <value = int64 {9999}> ()" + LOOP), "9999 steps"),
    (model("count = Constant <value = int64 {2}> ()" + EARLY.replace("new)", "new, float[3] out)")
     .replace("new = Mul", "out = Neg (s)  new = Mul").replace("last =", "last, all =")),
     "may end early, and how many values"),
    (model("count = Constant <value = int64 {300}> ()" + NESTED), "more than 65536 operators"),
    (model(IF.replace("float[3] e) { e = Neg (x) }", "float e) "
        "{ e = ReduceSum <keepdims = 0> (x) }"), "float[3] x, bool flag"), "have the shapes"),
])  # fmt: skip
def test_what_has_no_gradient_is_told(proto, message):
    with pytest.raises(NoGradient, match=message):
        slope(proto, count=np.array(2), flag=np.array(True))
