"""Files: read, written, raised, and read again; the shipped models among them."""

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import parser, version_converter

import edgeml
from edgeml.errors import MissingExtra, ModelFormatError, ModelNotFound, ShapeError
from edgeml.graph import Graph, _infer, from_onnx, gradients, to_onnx
from edgeml.graph._execute import open_session

MODELS = sorted((Path(edgeml.__file__).parent / "models").glob("*.onnx"))
OPSETS = [17, 18, 19, 20, 21, 22, 23, 24, 25, 26]


def model(nodes, inputs="float[N,3] x", outputs="float[N,3] y", opset=18, more=""):
    return parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : {opset}]> main ({inputs}) => ({outputs}) '
        f"{{ {nodes} }} {more}"
    )


def run(proto, **feeds):
    return open_session(proto).run(None, feeds)


def feeds_for(session):
    """Return inputs: noise, of the length that the voice detector takes where any is taken."""
    rng = np.random.default_rng(0)
    feeds = {}
    for given in session.get_inputs():
        shape = [d if isinstance(d, int) else 1 for d in given.shape]
        if given.type == "tensor(int64)":
            feeds[given.name] = np.array(16000, np.int64)
        elif given.type == "tensor(uint8)":
            feeds[given.name] = rng.integers(0, 256, shape, np.uint8)
        else:
            shape = [1, 512] if len(shape) == 2 and shape[1] == 1 else shape
            feeds[given.name] = rng.uniform(-1, 1, shape).astype(np.float32)
    return feeds


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_shipped_models_come_back(path):
    given = open_session(onnx.load(path))
    feeds = feeds_for(given)
    expected = given.run(None, feeds)
    written = to_onnx(from_onnx(path))
    onnx.checker.check_model(written, full_check=True)
    again = to_onnx(from_onnx(written))
    for made in (written, again):
        session = open_session(made)
        assert [x.name for x in session.get_inputs()] == [x.name for x in given.get_inputs()]
        assert [x.name for x in session.get_outputs()] == [x.name for x in given.get_outputs()]
        for received, value in zip(session.run(None, feeds), expected, strict=True):
            np.testing.assert_array_equal(received, value)
    kept = {p.key: p.value for p in onnx.load(path).metadata_props}
    assert {p.key: p.value for p in written.metadata_props} == kept


@pytest.mark.parametrize("opset", OPSETS)
def test_a_shipped_model_in_every_opset(opset):
    path = next(path for path in MODELS if "silero" in path.name)
    proto = version_converter.convert_version(onnx.load(path), opset)
    feeds = feeds_for(open_session(proto))
    graph = from_onnx(proto)
    assert graph.opset == max(opset, Graph.OPSET)
    for received, value in zip(run(to_onnx(graph), **feeds), run(proto, **feeds), strict=True):
        np.testing.assert_array_equal(received, value)


@pytest.mark.parametrize("opset", [11, 13, 17])
def test_old_opsets_are_raised(opset):
    """The axes of a reduction were an attribute, and are an input since."""
    nodes = "s = ReduceMax <axes = [1], keepdims = 1> (x) e = Shape (x) y = Expand (s, e)"
    x = np.float32([[1, 5, 2], [0, -1, -3]])
    graph = from_onnx(model(nodes, opset=opset))
    assert graph.opset == Graph.OPSET
    np.testing.assert_array_equal(run(to_onnx(graph), x=x)[0], x.max(1, keepdims=True) + 0 * x)


def test_names_shapes_and_weights_are_kept():
    proto = model("a = MatMul (x, w) y = Add (a, b)", outputs="float[N,2] y")
    values = {"w": np.ones((3, 2), np.float32), "b": np.zeros(2, np.float32)}
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(v, k) for k, v in values.items())
    entry = proto.metadata_props.add()
    entry.key, entry.value = "author", "us"
    graph = from_onnx(proto)
    assert graph.outputs["y"].shape == ("N", 2)
    written = to_onnx(graph)
    assert {t.name for t in written.graph.initializer} == {"w", "b"}
    assert [node.output[0] for node in written.graph.node] == ["a", "y"]
    assert [(p.key, p.value) for p in written.metadata_props] == [("author", "us")]
    assert written.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_dimensions_can_be_given():
    proto = model("s = Shape (x) y = Expand (x, s)")
    for graph in (from_onnx(proto, dims={"N": 4}), from_onnx(proto, {"x": (4, 3)})):
        assert graph.outputs["y"].shape == (4, 3)
        assert len(graph.nodes) == 1  # the shape is folded
    assert from_onnx(proto).inputs[0].shape == ("N", 3)
    with pytest.raises(ShapeError):
        from_onnx(model("y = MatMul (x, x)", "float[N,M] x", "float[N,M] y"), {"x": (4, 3)})


def test_local_functions_are_inlined():
    more = '<domain: "own", opset_import: ["" : 18]> twice (a) => (b) { b = Add (a, a) }'
    proto = model("y = own.twice (x)", more=more)
    proto.opset_import.append(onnx.helper.make_opsetid("own", 1))
    graph = from_onnx(proto)
    assert [node.op for node in graph.nodes] == ["Add"]
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(run(to_onnx(graph), x=x)[0], 2 * x)


def test_optional_inputs_and_outputs():
    """Only the last state of a recurrent network, as PyTorch exports it; also differentiated."""
    proto = model(
        "limit = Constant <value = float {0.5}> () c = Clip (x, , limit) "
        ", h = LSTM <hidden_size = 1> (c, w, r) y = ReduceSum <keepdims = 0> (h)",
        "float[2,1,3] x, float[1,4,3] w, float[1,4,1] r", "float y",
    )  # fmt: skip
    rng = np.random.default_rng(0)
    feeds = {name: rng.uniform(-1, 1, shape).astype(np.float32)
             for name, shape in (("x", (2, 1, 3)), ("w", (1, 4, 3)), ("r", (1, 4, 1)))}  # fmt: skip
    graph = from_onnx(proto)
    (before,) = run(proto, **feeds)
    np.testing.assert_array_equal(run(to_onnx(graph), **feeds)[0], before)
    (graph.outputs["g"],) = gradients([graph.outputs["y"]], [graph.inputs[1]])
    (_, g), step = run(to_onnx(graph), **feeds), np.float32(1e-2)
    moved = feeds | {"w": feeds["w"] + step * g}
    np.testing.assert_allclose(run(proto, **moved)[0] - before, step * (g * g).sum(), rtol=0.05)


NESTED = """
    one = Constant <value = int64 {1}> ()
    s = Shape (x)
    n = Gather (s, zero)
    several = Less (one, n)
    y = If <
        then_branch = a () => (float[N,3] t) {
            m = Mul (x, x)
            big = Less (m, one_f)
            all = ReduceMin <keepdims = 0> (m)
            far = Less (all, two)
            t = If <
                then_branch = aa () => (float[N,3] tt) {
                    c = Constant <value = float {10.0}> () tt = Add (m, c) },
                else_branch = ab () => (float[N,3] te) {
                    d = Constant <value = float {20.0}> () te = Add (m, d) }
            > (far)
        },
        else_branch = b () => (float[N,3] e) { e = Neg (x) }
    > (several)
"""


def test_bodies_within_bodies_keep_their_constants():
    head = ("zero = Constant <value = int64 {0}> () one_f = Constant <value = float {1.0}> () "
            "two = Constant <value = float {2.0}> ()")  # fmt: skip
    proto = model(head + NESTED)
    written = to_onnx(from_onnx(proto))
    onnx.checker.check_model(written, full_check=True)
    for x in (np.ones((1, 3)), np.ones((2, 3)), np.full((2, 3), 4)):
        given = x.astype(np.float32)
        np.testing.assert_array_equal(run(written, x=given)[0], run(proto, x=given)[0])


def test_a_branch_that_is_always_taken_is_all_that_is_read():
    head = ("zero = Constant <value = int64 {0}> () one_f = Constant <value = float {1.0}> () "
            "two = Constant <value = float {2.0}> ()")  # fmt: skip
    assert [n.op for n in from_onnx(model(head + NESTED), dims={"N": 1}).nodes] == ["Neg"]
    ops = [n.op for n in from_onnx(model(head + NESTED), dims={"N": 2}).nodes]
    assert "If" in ops
    assert "Neg" not in ops


def test_sides_of_different_rank_have_no_shape_that_is_known():
    """As PyTorch guards a squeeze; the file's own word is taken for its outputs."""
    nodes = """
        zero = Constant <value = int64 {0}> () one = Constant <value = int64 {1}> ()
        s = Shape (x) n = Gather (s, zero) single = Equal (n, one)
        q = If <then_branch = a () => (t) { at = Constant <value = int64[1] {0}> ()
                                            t = Squeeze (x, at) },
                else_branch = b () => (e) { e = Identity (x) }> (single)
        y = Neg (q)
    """
    proto = model(nodes)
    graph = from_onnx(proto)
    made = next(node for node in graph.nodes if node.op == "If").output
    assert made.shape is None
    assert graph.outputs["y"].shape == ("N", 3)
    for x in (np.ones((1, 3), np.float32), np.ones((2, 3), np.float32)):
        np.testing.assert_array_equal(run(to_onnx(graph), x=x)[0], run(proto, x=x)[0])
    assert from_onnx(proto, dims={"N": 1}).outputs["y"].shape == (3,)


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [(None, ModelNotFound, "missing.onnx"), (b"", ModelFormatError, "not an ONNX model"),
     (b"no protobuf", ModelFormatError, "not an ONNX model")],
)  # fmt: skip
def test_bad_files_are_told(tmp_path, text, error, says):
    path = tmp_path / "missing.onnx"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(error, match=says):
        from_onnx(path)


def test_without_onnx_the_file_is_not_blamed(monkeypatch):
    _infer.onnx.cache_clear()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtra, match=r"needs onnx.*edgeml-runtime\[train\]"):
        from_onnx(MODELS[0])


def test_an_operator_that_is_not_known_is_told():
    with pytest.raises(ShapeError, match=r"ai\.onnx::Nothing in opset 18"):
        from_onnx(model("y = Nothing (x)"))
