"""Odd but valid models through every pass: what comes back is valid and the same, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeml.errors import EdgeMLError, ModelFormatError
from edgeml.quantize import _search as search_module
from edgeml.quantize import (
    adaround,
    correct_bias,
    equalize,
    optimize,
    prune_channels,
    quantize_int8,
    quantize_weights,
    set_metadata,
    simplify,
    train_quantized,
)
from edgeml.quantize._candidates import half_storage
from edgeml.quantize._prepare import raise_opset
from edgeml.quantize._search import Search
from edgeml.quantize._session import open_model

MODELS: dict[str, Callable[[], Any]] = {}
HEAD = '<ir_version: 9, opset_import: ["": 17, "ai.onnx.ml": 3]> net '


def corpus(make):
    MODELS[make.__name__] = make
    return make


def parsed(text, head=HEAD, **shapes):
    """Return a model with random weights of these shapes, or the arrays that are given."""
    rng = np.random.default_rng(0)
    model = onnx.parser.parse_model(head + text)
    for name, shape in shapes.items():
        value = shape
        if isinstance(shape, tuple):
            value = rng.standard_normal(shape) / np.sqrt(max(shape[0], 1))
            value = value.astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return model


@corpus
def branches():
    """Products before and in the branches, which read what an activation makes."""
    return parsed("""(float[n,64] x, bool c) => (float[n,8] y) {
        a = MatMul (x, w)  h = Relu (a)
        g = If (c) <
            then_branch = one () => (float[n,64] t) { s = MatMul (h, v)  t = Relu (s) },
            else_branch = two () => (float[n,64] t) { s = MatMul (h, w)  t = Identity (s) } >
        y = MatMul (g, u) }""", w=(64, 64), v=(64, 64), u=(64, 8))  # fmt: skip


@corpus
def loop():
    return parsed("""(float[n,48] x, int64 count) => (float[n,48] y, float[k,n,48] all) {
        keep = Constant <value = bool {1}> ()  z = MatMul (x, w)
        y, all = Loop (count, keep, z) <
            body = step (int64 i, bool on, float[n,48] h)
                => (bool on_out, float[n,48] h_out, float[n,48] seen) {
                on_out = Identity (on)  p = MatMul (h, w)
                h_out = Tanh (p)  seen = Identity (h_out) } > }""", w=(48, 48))  # fmt: skip


@corpus
def scan_of_an_old_opset():
    """It cannot be raised, as Scan had a batch axis."""
    return parsed("""(float[n,64] x, float[b,t,4] s) => (float[n,64] y, float[b,t,4] all) {
        y = MatMul (x, w)
        all = Scan <num_scan_inputs = 1, body = step (float[4] xi) => (float[4] o) {
            o = Relu (xi) }> ("", s) }""",
        '<ir_version: 4, opset_import: ["": 8]> net ', w=(64, 64))  # fmt: skip


@corpus
def functions():
    model = parsed("""(float[n,32] x) => (float[n,16] y) {
        h = own.Layer (x, w)  y = own.Layer (h, v) }
        <opset_import: ["": 18], domain: "own"> Layer (a, b) => (c) {
            d = MatMul (a, b)  c = Relu (d) }""",
        '<ir_version: 9, opset_import: ["": 18, "own": 1]> net ',
        w=(32, 64), v=(64, 16))  # fmt: skip
    model.doc_string, model.producer_name, model.model_version = "made by hand", "me", 7
    return set_metadata(model, {"labels": ["ü", "<b>"]})


@corpus
def several_outputs():
    """One of them before an activation."""
    return parsed("""(float[n,32] x) => (float[n,64] a, float[n,64] h, float[n,8] y, float[n,8] z) {
        a = MatMul (x, w)  h = Relu (a)  y = MatMul (h, v)  z = Softmax (y) }""",
        w=(32, 64), v=(64, 8))  # fmt: skip


@corpus
def outputs_that_are_not_made():
    """An input, a weight, a constant that nothing else reads."""
    return parsed("""(float[n,32] x)
        => (float[n,32] x, float[n,64] y, float[32,64] w, float[3,64] k) {
        y = MatMul (x, w)  k = Relu (v) }""", w=(32, 64), v=(3, 64))  # fmt: skip


@corpus
def nothing_at_all():
    return parsed("(float[n,32] x) => (float[n,32] x) { }")


@corpus
def no_inputs():
    return parsed("() => (float[32,64] y) { y = Relu (w) }", w=(32, 64))


def listed(model):
    """List weights among the inputs."""
    for tensor in model.graph.initializer:
        kind = helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        model.graph.input.append(kind)
    return model


@corpus
def weights_that_are_inputs():
    """As files had to be once."""
    head = '<ir_version: 3, opset_import: ["": 9]> net '
    return listed(parsed("""(float[n,3,8,8] x) => (float[n,10] y) {
        c = Conv <pads = [1,1,1,1]> (x, w, b)  d = BatchNormalization (c, g, b, b, g)
        r = Relu (d)  f = Flatten (r)  y = Gemm (f, v, o) }""",
        head, w=(16, 3, 3, 3), b=(16,), g=np.ones(16, np.float32), v=(1024, 10),
        o=(10,)))  # fmt: skip


@corpus
def weights_with_a_default():
    return listed(parsed("(float[n,32] x) => (float[n,64] y) { y = MatMul (x, w) }", w=(32, 64)))


@corpus
def taken_names():
    """Names that passes would like to give."""
    return parsed("""(float[n,32] x) => (float[n,8] y, float z) {
        x_quantized = MatMul (x, w)  x_dequantized = Relu (x_quantized)
        w_quantized = MatMul (x_dequantized, v)  w_scale = Relu (w_quantized)
        y = Gemm (w_scale, u, w_zero_point)
        w_dequantized = Add (w_int8, w_float16)  z = ReduceSum <keepdims = 0> (w_dequantized) }""",
        w=(32, 64), v=(64, 64), u=(64, 8), w_zero_point=(8,), w_int8=(64, 64),
        w_float16=(64, 64))  # fmt: skip


def renamed(model, names):
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for info in (*model.graph.initializer, *model.graph.input, *model.graph.output):
        info.name = names.get(info.name, info.name)
    return model


@corpus
def taken_names_with_slashes():
    names = ("dequantized", "int8", "float16")
    return renamed(taken_names(), {f"w_{name}": f"w/{name}" for name in names})


@corpus
def odd_names():
    model = parsed("""(float[n,3,8,8] x) => (float[n,10] y) {
        c = Conv <pads = [1,1,1,1]> (x, w, b)  r = Relu (c)
        d = Conv <pads = [1,1,1,1], group = 16> (r, dw)  s = Add (d, r)
        p = GlobalAveragePool (s)  f = Flatten (p)  y = Gemm (f, v, o) }""",
        w=(16, 3, 3, 3), b=(16,), dw=(16, 1, 3, 3), v=(16, 10), o=(10,))  # fmt: skip
    for node, name in zip(model.graph.node, ("<b>", "a b", "", "", "n/0", "", ""), strict=True):
        node.name = name
    names = ('in/ü "<script>alert(1)</script>', "out;|'&amp;", "w\n1", "../../b")
    return renamed(model, dict(zip(("x", "y", "w", "b"), names, strict=True)))


@corpus
def strings_and_sequences():
    model = parsed("""(string[n] words, float[n,32] x) => (string[n] again, float[n,64] y) {
        again = Identity (words)  y = MatMul (x, w)  s = SequenceConstruct (x, y) }""",
        w=(32, 64))  # fmt: skip
    model.graph.output.append(helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None))
    return model


@corpus
def nothing_along_an_axis():
    return parsed("""(float[n,32] x) => (float[n,0] z, float[n,32] u, float[n,8] y) {
        z = MatMul (x, none)  u = Concat <axis = 1> (x, z)  y = MatMul (x, w) }""",
        none=np.zeros((32, 0), np.float32), w=(32, 8))  # fmt: skip


@corpus
def shared_weights():
    return parsed("""(float[n,64] x) => (float[n,64] y) {
        a = MatMul (x, w)  b = Relu (a)  c = Gemm <transB = 1> (b, w, o)
        d = Relu (c)  e = Gemm (d, w, o)  y = Add (e, o) }""", w=(64, 64), o=(64,))  # fmt: skip


@corpus
def factors_and_computed_weights():
    return parsed("""(float[n,32] x, float[32,64] k) => (float[n,8] y) {
        t = Mul (k, w)  a = MatMul (x, t)  b = Gemm <alpha = 0.5, beta = 2.0> (a, v, o)
        c = Transpose (u)  y = MatMul (b, c) }""",
        w=(32, 64), v=(64, 16), o=(16,), u=(8, 16))  # fmt: skip


@corpus
def zeros():
    """What comes of zeros goes through a large factor."""
    return parsed("(float[n,32] x) => (float[n,64] y) { a = MatMul (x, w)  y = Mul (a, k) }",
                  w=np.zeros((32, 64), np.float32), k=np.full(64, 1e20, np.float32))  # fmt: skip


SHAPES = {"n": 4, "b": 1, "t": 3}
KINDS = {TensorProto.INT64: np.array(2), TensorProto.BOOL: np.array(True),
         TensorProto.STRING: np.array(["a", "b", "ü", ""], object)}  # fmt: skip


def feeds_of(model, count=10):
    rng = np.random.default_rng(1)
    weights = {tensor.name for tensor in model.graph.initializer}
    feeds = []
    for _ in range(count):
        feeds.append({})
        for info in (i for i in model.graph.input if i.name not in weights):
            kind = info.type.tensor_type
            shape = [SHAPES.get(d.dim_param, d.dim_value) for d in kind.shape.dim]
            value = KINDS.get(kind.elem_type)
            feeds[-1][info.name] = (
                rng.random(shape, np.float32) - 0.3 if value is None else value
            )  # fmt: skip
    return feeds


def check(made, model, feeds, tolerance):
    """Check that a model is valid, and what it says and takes and gives is what it was."""
    onnx.checker.check_model(made, full_check=True)
    for field in ("doc_string", "producer_name", "model_version", "domain"):
        assert getattr(made, field) == getattr(model, field)
    kept = {entry.key: entry.value for entry in made.metadata_props}
    assert {entry.key: entry.value for entry in model.metadata_props}.items() <= kept.items()
    sessions = [open_model(m, threads=1) for m in (model, made)]
    for ends in ("get_inputs", "get_outputs"):
        names = [[(end.name, end.type) for end in getattr(s, ends)()] for s in sessions]
        assert names[0] == names[1]
    for feed in feeds[:2]:
        wanted, found = ([np.asarray(v) for value in s.run(None, feed)
                          for v in (value if isinstance(value, list) else [value])]
                         for s in sessions)  # fmt: skip
        for a, b in zip(wanted, found, strict=True):
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            if a.dtype.kind == "f":
                gap = np.linalg.norm(a.astype(float) - b)
                assert gap <= tolerance * np.linalg.norm(a.astype(float)) + 1e-9
            else:
                assert np.array_equal(a, b)


def int8(model, feeds):
    return quantize_int8(model, feeds[:4])


PASSES = {
    "simplify": (lambda m, _: simplify(m), 1e-4),
    "opset": (lambda m, _: raise_opset(m), 1e-4),
    "half": (lambda m, _: half_storage(m), 2e-2),
    "weights 8": (lambda m, _: quantize_weights(m), 0.05),
    "weights 4": (lambda m, _: quantize_weights(m, bits=4), 0.5),
    "equalize": (lambda m, _: equalize(m), 1e-3),
    "prune": (lambda m, _: prune_channels(m, 0.5).model, np.inf),
    "int8": (int8, 0.2),
}
LEARNED = {
    "bias": lambda m, feeds: correct_bias(m, int8(m, feeds), feeds[:2]),
    "adaround": lambda m, feeds: adaround(m, int8(m, feeds), feeds, steps=2),
    "train": lambda m, feeds: train_quantized(
        int8(m, feeds), feeds[:1], teacher=m, epochs=1, temperature=None
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_what_passes_return_is_valid_and_the_same(name):
    model = MODELS[name]()
    onnx.checker.check_model(model, full_check=True)
    before, feeds = model.SerializeToString(), feeds_of(model)
    for what, (run, tolerance) in PASSES.items():
        try:
            made = run(model, feeds)
        except EdgeMLError:
            assert what not in ("simplify", "half")  # these take whatever is valid
            continue
        if made is not None:
            check(made, model, feeds, tolerance)
    assert model.SerializeToString() == before


@pytest.mark.parametrize("name", ["odd_names", "several_outputs"])
@pytest.mark.parametrize("what", LEARNED)
def test_what_is_learned_is_valid_and_near(name, what):
    """Layers are found by their nodes' names, which need not be in the file."""
    model = MODELS[name]()
    feeds = feeds_of(model)
    check(LEARNED[what](model, feeds), model, feeds, 0.2)


TIGHT = ("loop", "functions", "odd_names", "strings_and_sequences")
"""Of which no form is good enough, so that every block is asked, and every form tried."""


@pytest.mark.parametrize("name", MODELS)
def test_forms_that_are_tried_are_valid_and_near(name, monkeypatch):
    tried = []
    run = Search.run
    monkeypatch.setattr(Search, "run", lambda self: tried.append(run(self)) or tried[-1])
    model = MODELS[name]()
    before, feeds = model.SerializeToString(), feeds_of(model)
    most = 0 if name in TIGHT else 99
    found = optimize(model, feeds, metric="closeness", max_drop=most, target="x86-vnni")
    assert model.SerializeToString() == before
    assert found.model.ByteSize() <= model.ByteSize()
    forms = {c.name: c.model for c in tried[0].candidates if c.drop is not None}
    for made in [found.model, *forms.values()]:
        check(made, model, feeds, 0.3)


def test_a_form_that_is_not_valid_is_given_up_and_not_the_search(monkeypatch):
    """The runtime opens it all the same."""
    write = search_module.write

    def unsorted(*arguments):
        made = write(*arguments)
        nodes = list(made.graph.node)[::-1]
        del made.graph.node[:]
        made.graph.node.extend(nodes)
        open_model(made)
        return made

    monkeypatch.setattr("edgeml.quantize._search.write", unsorted)
    model = MODELS["several_outputs"]()
    found = optimize(model, feeds_of(model), metric="closeness", max_drop=99, target="x86-vnni")
    report = found.report.to_dict()
    assert report["chosen"]["recipe"]["form"] in ("int8 weights", "int4 weights")
    assert "topologically sorted" in report["candidates"][0]["note"]


def sparse():
    model = parsed("(float[n,32] x) => (float[n,64] y) { y = MatMul (x, w) }")
    values = helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])
    places = helper.make_tensor("places", TensorProto.INT64, [2], [3, 5])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [32, 64]))
    return model


def elsewhere():
    model = parsed("(float[n,32] x) => (float[n,64] y) { y = MatMul (x, w) }", w=(32, 64))
    onnx.external_data_helper.set_external_data(model.graph.initializer[0], "/etc/hostname")
    model.graph.initializer[0].ClearField("raw_data")
    return model


def invalid():
    return parsed("(float[n,32] x) => (float[n,64] y) { y = MatMul (x, w) }")


@pytest.mark.parametrize(
    ("make", "message"),
    [(sparse, "the weights 'w' are sparse"), (elsewhere, "hostname"), (invalid, "not valid")],
)
def test_what_cannot_be_shrunk_says_why(make, message):
    model = make()
    for run in (simplify, equalize, quantize_weights):
        with pytest.raises(ModelFormatError, match=message):
            run(model)
    with pytest.raises(ModelFormatError, match=message):
        optimize(model, np.eye(10, 32, dtype=np.float32), target="x86-vnni")
