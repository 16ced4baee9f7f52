"""Recurrent operators: functions, layouts, and what has no gradient."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.errors import NoGradient
from edgeml.graph import Graph, emit, emit_many, gradients, to_onnx
from edgeml.graph._execute import open_session
from edgeml.testing import check_gradient

rng = np.random.default_rng(0)


def _n(*shape):
    return (rng.standard_normal(shape) * 0.5).astype(np.float32)


X = _n(6, 3, 2)


@pytest.mark.parametrize(("fn", "gates"), [(ops.lstm, 4), (ops.gru, 3), (ops.simple_rnn, 1)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_functions(fn, gates, direction):
    d = 1 + (direction == "bidirectional")
    w, r, b = _n(d, gates * 4, 2), _n(d, gates * 4, 4), _n(d, gates * 8)
    h = _n(d, 3, 4)

    def sequence(x, w, r, b, h):
        return fn(x, w, r, b, initial_h=h, lengths=np.array([6, 4, 1]), direction=direction)

    found = edgeml.function(sequence)(X, w, r, b, h)
    assert found[0].shape == (6, d, 3, 4)
    assert found[1].shape == (d, 3, 4)
    check_gradient(sequence, X, w, r, b, h)


def test_reset_before_the_product():
    w, r, b = _n(1, 12, 2), _n(1, 12, 4), _n(1, 24)
    kinds = [edgeml.function(lambda x, after=after: ops.gru(x, w, r, b, reset_after=after)[0])(X)
             for after in (True, False)]  # fmt: skip
    assert not np.allclose(*kinds)


@pytest.mark.parametrize(("op", "gates"), [("LSTM", 4), ("GRU", 3), ("RNN", 1)])
def test_batch_first_has_the_same_gradient(op, gates):
    """The runtime has no kernel for it, so only the training graph can run."""
    w, r, b = _n(2, gates * 4, 2), _n(2, gates * 4, 4), _n(2, gates * 8)
    states = [_n(2, 3, 4)] * (2 if op == "LSTM" else 1)
    count = len(states) + 1
    attrs = {"hidden_size": 4, "direction": "bidirectional"}

    def run(layout):
        graph = Graph()
        with graph:
            x = graph.input("x", np.float32, (3, 6, 2) if layout else (6, 3, 2))
            start = [s.transpose(1, 0, 2) if layout else s for s in states]
            made = emit_many(count, op, x, w, r, b, None, *start, layout=layout, **attrs)
            y, *last = made
            if layout:
                y = emit("Transpose", y, perm=[1, 2, 0, 3])
                last = [emit("Transpose", s, perm=[1, 0, 2]) for s in last]
            loss = emit("ReduceSum", y * _weights(y), keepdims=0)
            for s in last:
                loss = loss + emit("ReduceSum", s * _weights(s), keepdims=0)
            (g,) = gradients([loss], [x])
        graph.outputs = {"g": g}
        feed = X.transpose(1, 0, 2) if layout else X
        (found,) = open_session(to_onnx(graph)).run(None, {"x": np.ascontiguousarray(feed)})
        return found.transpose(1, 0, 2) if layout else found

    np.testing.assert_allclose(run(1), run(0), rtol=1e-5, atol=1e-6)


def _weights(x):
    return np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.static_shape)


@pytest.mark.parametrize(("attrs", "peepholes", "message"), [
    ({"clip": 3.0}, False, "clip"), ({"input_forget": 1}, False, "input_forget"),
    ({}, True, "peepholes"),
    ({"activations": ["Sigmoid", "Tanh", "Cubic"]}, False, "'cubic' has no gradient"),
])  # fmt: skip
def test_what_has_no_gradient_is_named(attrs, peepholes, message):
    w, r, p = _n(1, 16, 2), _n(1, 16, 4), _n(1, 12) if peepholes else None

    def loss(x):
        y = emit("LSTM", x, w, r, None, None, None, None, p, hidden_size=4, **attrs)
        return ops.sum(y)

    with pytest.raises(NoGradient, match=message):
        edgeml.grad(loss)(X)


def test_fake_quantization_learns_its_scale():
    """The gradient of a scale is the rounding error inside the range, the limit outside."""
    x = np.array([0.26, -0.13, 100.0, -100.0], np.float32)
    scale = np.float32(0.1)
    g = edgeml.grad(lambda s: ops.sum(ops.fake_quant(x, s)))(scale)
    expected = (3 - 2.6) + (-1 + 1.3) + 127 - 128
    np.testing.assert_allclose(g, expected, rtol=1e-4)
    through = edgeml.grad(lambda x: ops.sum(ops.fake_quant(x, 0.1)))(x)
    assert through.tolist() == [1, 1, 0, 0]


def test_quantized_per_channel():
    x, scale, zero = _n(3, 4), np.array([0.1, 0.2, 0.3], np.float32), np.array([1, 2, 3], np.uint8)
    q = edgeml.function(lambda x: ops.quantize(x, scale, zero, axis=0, dtype=np.uint8))(x)
    back = edgeml.function(lambda q: ops.dequantize(q, scale, zero, axis=0))(q)
    assert q.dtype == np.uint8
    np.testing.assert_allclose(back, (q.astype(np.float32) - zero[:, None]) * scale[:, None])
