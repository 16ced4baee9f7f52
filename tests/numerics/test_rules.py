"""Every gradient rule against finite differences, and against PyTorch's autograd.

A case is a dict: ``op``; ``inputs`` (arrays, None for one that is left out); and where needed
``attrs``, ``domain``, ``outputs`` (how many to take), ``opset``, ``kink`` (True: no finite
differences, the point is a kink or a tie), ``eps``, ``wrt`` (inputs to differentiate; default all
floats), ``emit`` (``fn(*inputs)`` that emits it, where a body is needed), ``then``
(``fn(*outputs)`` that makes floats of them), ``torch`` (name of a torch function, or
``fn(torch, *inputs)`` returning the same outputs).
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from edgeml import ops
from edgeml.graph import Graph, emit_many, gradients, supported_ops, to_onnx
from edgeml.graph._execute import open_session
from edgeml.testing import check_gradient


def _load(path):
    spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CASES


CASES = [
    case for path in sorted((Path(__file__).parent / "cases").glob("*.py")) for case in _load(path)
]


def _id(case):
    shapes = "-".join("x".join(map(str, np.shape(a))) or "0d" for a in case["inputs"])
    attrs = "-".join(f"{k}{v}" for k, v in case.get("attrs", {}).items() if np.size(v) < 9)
    return f"{case['op']}-{shapes}-{attrs}".replace(" ", "")


def _wrt(case):
    floats = [
        i for i, a in enumerate(case["inputs"])
        if isinstance(a, np.ndarray) and a.dtype.kind == "f"
    ]  # fmt: skip
    return case.get("wrt", floats)


def _run(case, inputs):
    """Emit the case's operator; its inputs that are not floats are constants."""
    if "emit" in case:
        return case["emit"](*inputs)
    outputs = case.get("outputs", 1)
    made = emit_many(
        outputs, case["op"], *inputs, domain=case.get("domain", ""), **case.get("attrs", {})
    )
    made = case["then"](*made) if "then" in case else made
    return tuple(y for y in made if y.dtype.kind == "f")


@pytest.mark.parametrize("case", [c for c in CASES if not c.get("kink")], ids=_id)
def test_gradient_matches_finite_differences(case):
    wrt = _wrt(case)

    def fn(*given):
        inputs = list(case["inputs"])
        for i, tensor in zip(wrt, given, strict=True):
            inputs[i] = tensor
        return _run(case, inputs)

    arrays = [case["inputs"][i] for i in wrt]
    check_gradient(fn, *arrays, eps=case.get("eps", 1e-2), opset=case.get("opset", Graph.OPSET))


@pytest.mark.parametrize("case", [c for c in CASES if "torch" in c], ids=_id)
def test_gradient_matches_pytorch(case):
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    wrt = _wrt(case)
    graph = Graph(case.get("opset", Graph.OPSET))
    inputs = list(case["inputs"])
    with graph:
        for i in wrt:
            inputs[i] = graph.input(f"x{i}", inputs[i].dtype, inputs[i].shape)
        outputs = _run(case, inputs)
    rng = np.random.default_rng(1)
    seeds = [rng.standard_normal(y.static_shape).astype(y.dtype) for y in outputs]
    with graph:
        found = gradients(outputs, [inputs[i] for i in wrt], [graph.constant(s) for s in seeds])
    graph.outputs = {f"y{i}": y for i, y in enumerate(outputs)}
    graph.outputs |= {f"g{i}": g for i, g in enumerate(found) if g is not None}
    session = open_session(to_onnx(graph))
    ours = dict(
        zip(
            graph.outputs, session.run(None, {f"x{i}": case["inputs"][i] for i in wrt}), strict=True
        )
    )
    theirs, grads = _with_torch(torch, case, wrt, seeds)
    for i, y in enumerate(theirs):
        np.testing.assert_allclose(ours[f"y{i}"], y, rtol=1e-4, atol=1e-5)
    for i, g in enumerate(grads):
        received = ours.get(f"g{i}", np.zeros_like(g))
        scale = max(1.0, float(np.abs(g).max(initial=0.0)))
        np.testing.assert_allclose(received, g, rtol=1e-4, atol=1e-5 * scale)


def _with_torch(torch, case, wrt, seeds):
    given = [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in case["inputs"]]
    for i in wrt:
        given[i].requires_grad_(True)
    fn = case["torch"]
    made = getattr(torch, fn)(*given) if isinstance(fn, str) else fn(torch, *given)
    outputs = made if isinstance(made, tuple) else (made,)
    leaves = [given[i] for i in wrt]
    grads = torch.autograd.grad(
        outputs, leaves, [torch.tensor(s) for s in seeds], allow_unused=True
    )
    found = [
        np.zeros(leaf.shape, np.float32) if g is None else g.detach().numpy()
        for g, leaf in zip(grads, leaves, strict=True)
    ]
    return [y.detach().numpy() for y in outputs], found


def _weights(shape):
    return np.random.default_rng(3).uniform(0.5, 1.5, shape).astype(np.float32)


def _smooth():
    """Return the first case of each operator that has second derivatives and anything to vary."""
    found = {}
    for case in CASES:
        if not case.get("kink") and all(np.size(a) for a in case["inputs"]):
            found.setdefault(case["op"], case)
    return found.values()


@pytest.mark.parametrize("case", _smooth(), ids=lambda case: case["op"])
def test_second_derivative_matches_finite_differences(case):
    wrt = _wrt(case)

    def slopes(*given):
        inputs = list(case["inputs"])
        for i, tensor in zip(wrt, given, strict=True):
            inputs[i] = tensor
        outputs = _run(case, inputs)
        found = gradients([ops.sum(y * y * _weights(y.static_shape)) for y in outputs], list(given))
        return tuple(g for g in found if g is not None)

    arrays = [case["inputs"][i] for i in wrt]
    opset = case.get("opset", Graph.OPSET)
    check_gradient(slopes, *arrays, eps=case.get("eps", 1e-2), rtol=3e-2, atol=2e-2, opset=opset)


def test_every_rule_has_a_case():
    tested = {case["op"] for case in CASES}
    # Other domains have the rules of examples, when those ran in this process.
    known = {op for op, how in supported_ops().items()
             if how in ("rule", "lowered") and "::" not in op}  # fmt: skip
    assert known - tested == set()
