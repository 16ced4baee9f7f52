"""Gradients against onnx-ad's, an independent implementation: operators, and a shipped model."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.graph import Graph, emit_many, from_onnx, gradients, to_onnx
from edgeml.graph._execute import open_session

onnx_ad = pytest.importorskip("onnx_ad", reason="the oracles are not installed: make oracles")


def _load(path):
    spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


CASES = {}
for path in sorted((Path(__file__).parent / "cases").glob("*.py")):
    for case in _load(path):
        if not case.get("kink") and all(np.size(a) for a in case["inputs"]):
            CASES.setdefault(case["op"], []).append(case)

MOST = 12  # cases of one operator
# What onnx-ad 0.3 refuses in all our cases.
REFUSED = {"ConvTranspose", "MaxRoiPool"}


def _differs(case):
    """Return whether onnx-ad 0.3 is known to be wrong: finite differences and PyTorch are ours."""
    op, attrs = case["op"], case.get("attrs", {})
    pads = attrs.get("pads", [])
    return (
        op == "Det"  # a zero
        or (
            op in ("AveragePool", "Conv", "LpPool")
            and pads[: len(pads) // 2] != pads[len(pads) // 2 :]
        )
        or (op == "Conv" and len({*attrs.get("strides", [1])}) > 1)
        or (op in ("CumProd", "ReduceProd") and any(np.any(a == 0) for a in case["inputs"]))
        or (op == "Pad" and np.min(case["inputs"][1]) < 0)  # its graph does not load
        or "extrapolation_value" in attrs
    )


def _wrt(case):
    floats = [i for i, a in enumerate(case["inputs"])
              if isinstance(a, np.ndarray) and a.dtype.kind == "f"]  # fmt: skip
    # onnx-ad takes the statistics of a normalization for constants.
    return case.get("wrt", floats)[: 3 if case["op"] == "BatchNormalization" else None]


def _loss(case, inputs):
    if "emit" in case:
        made = case["emit"](*inputs)
    else:
        made = emit_many(case.get("outputs", 1), case["op"], *inputs,
                         domain=case.get("domain", ""), **case.get("attrs", {}))  # fmt: skip
        made = case["then"](*made) if "then" in case else made
    rng, total = np.random.default_rng(1), 0.0
    for y in made if isinstance(made, tuple) else (made,):
        if y.dtype.kind == "f":
            total = total + ops.sum(y * rng.standard_normal(y.static_shape).astype(np.float32))
    return total


def _graph(case):
    graph, inputs = Graph(case.get("opset", Graph.OPSET)), list(case["inputs"])
    with graph:
        for i in _wrt(case):
            inputs[i] = graph.input(f"x{i}", np.float32, inputs[i].shape)
        graph.outputs = {"loss": _loss(case, inputs)}
    return graph


def _theirs(model, feeds, wrt):
    """Return onnx-ad's gradient of the one output of a model, None where it refuses."""
    try:
        adjoint = onnx_ad.reverse(model, layout="onnx", inputs=wrt)
    except onnx_ad.UnsupportedOperator:
        return None
    names = [f"adj_{name}" for name in wrt]
    found = open_session(adjoint).run(names, feeds | {"adj_loss": np.ones(1, np.float32)})
    return [g[..., 0] for g in found]


def _ours(graph, feeds, wrt):
    inputs = {x.name: x for x in graph.inputs}
    found = gradients([graph.outputs["loss"]], [inputs[name] for name in wrt])
    graph.outputs = {f"g{i}": g for i, g in enumerate(found) if g is not None}
    model = to_onnx(graph)
    taken = {x.name for x in model.graph.input}
    made = open_session(model).run(None, {k: v for k, v in feeds.items() if k in taken})
    by_name = dict(zip(graph.outputs, made, strict=True))
    return [by_name.get(f"g{i}", np.zeros_like(feeds[name])) for i, name in enumerate(wrt)]


@pytest.mark.parametrize("op", CASES)
def test_operators(op):
    compared = 0
    chosen = [case for case in CASES[op] if not _differs(case)]
    for case in chosen[:: max(1, len(chosen) // MOST)]:
        graph = _graph(case)
        feeds = {f"x{i}": case["inputs"][i] for i in _wrt(case)}
        theirs = _theirs(to_onnx(graph), feeds, list(feeds))
        if theirs is None:
            continue
        compared += 1
        for received, expected in zip(_ours(graph, feeds, list(feeds)), theirs, strict=True):
            scale = max(1.0, float(np.abs(expected).max(initial=0)))
            np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-4 * scale)
    assert compared or op in REFUSED or not chosen


def test_a_shipped_model():
    """The voice detector, by its state: a recurrent network and a convolution."""
    path = Path(edgeml.__file__).parent / "models" / "silero_vad.onnx"
    graph = from_onnx(path, {"input": (2, 512), "state": (2, 2, 128)})
    rng = np.random.default_rng(0)
    graph.inputs = [x for x in graph.inputs if x.dtype.kind == "f"]  # without the sample rate
    feeds = {x.name: rng.uniform(-1, 1, x.static_shape).astype(np.float32) for x in graph.inputs}
    with graph:
        graph.outputs = {"loss": ops.sum(graph.outputs["output"] ** 2)}
    (expected,) = _theirs(to_onnx(graph), feeds, ["state"])
    (received,) = _ours(graph, feeds, ["state"])
    scale = float(np.abs(expected).max())
    assert scale > 0
    np.testing.assert_allclose(received, expected, rtol=1e-3, atol=1e-4 * scale)
