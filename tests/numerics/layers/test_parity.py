"""Every layer against Keras 3: outputs, gradients, state, weights, and what is saved of it.

For each public layer at least five configurations are drawn, with a fixed seed, from a space that
stands in ``spaces/``. A space is a dict: ``shapes`` (each a tuple of shapes, one an input),
``arguments`` and ``call`` (for each argument the values to choose from; a function of the shapes
makes arrays), and where needed ``make`` (``fn(kit, **arguments)``), ``theirs``
(``fn(keras, **arguments)``, where Keras has no such layer), ``hub`` (True: the layer is
KerasHub's), ``valid`` (``fn(arguments[, shapes, call])``), ``listed`` (inputs in a list),
``integers`` (inputs are integers below it), ``penalty`` (what it adds to the loss counts),
``order`` (our weights, by their numbers in Keras) and ``draws``.

Layers of texts and of pictures have tests of their own beside this one.
"""

import importlib.util
import inspect
import json
import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

from edgeml import layers, ops  # noqa: E402
from edgeml.graph import Graph, gradients, to_onnx  # noqa: E402
from edgeml.graph._execute import open_session  # noqa: E402
from edgeml.graph._tree import leaves, map_leaves  # noqa: E402

HERE = Path(__file__).parent
TOLERANCE = 1e-5  # of an array's largest value


def _load(path):
    spec = importlib.util.spec_from_file_location(f"layers_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = _load(HERE / "references.py").reference
SPACES = {}
for path in sorted((HERE / "spaces").glob("*.py")):
    SPACES |= _load(path).SPACES
layers.register(SPACES["Lambda"]["make"](layers).function)


def _public():
    values = [getattr(layers, name) for name in layers.__all__]
    return sorted({
        value.__name__ for value in values
        if inspect.isclass(value) and issubclass(value, layers.Layer) and value is not layers.Layer
    })  # fmt: skip


def test_every_layer_is_here_or_has_a_test_of_its_own():
    unit = HERE.parents[1] / "unit"
    others = [
        path for kind in ("augment", "text", "preprocess", "lookup", "categor")
        for folder in (HERE, unit) for path in folder.rglob(f"test_*{kind}*.py")
    ]  # fmt: skip
    named = set(re.findall(r"\w+", " ".join(path.read_text() for path in others)))
    assert set(_public()) - set(SPACES) <= named
    assert set(SPACES) <= set(_public())


def _chosen(options, rng):
    return {key: values[rng.integers(len(values))] for key, values in options.items()}


def _draw(space, rng):
    """Return shapes, arguments and what is given to the call."""
    while True:
        shapes = space["shapes"][rng.integers(len(space["shapes"]))]
        arguments = _chosen(space["arguments"], rng)
        call = _chosen(space.get("call", {}), rng)
        valid = space.get("valid", lambda a: True)
        given = (arguments, shapes, call)[: len(inspect.signature(valid).parameters)]
        if valid(*given):
            call = {k: v(shapes) if callable(v) else v for k, v in call.items()}
            return shapes, arguments, {k: v for k, v in call.items() if v is not None}


CASES = [(name, i) for name, space in SPACES.items() for i in range(space.get("draws", 5))]


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_layer_is_keras(name, number):
    space = SPACES[name]
    rng = np.random.default_rng([zlib.crc32(name.encode()), number])
    shapes, arguments, call = _draw(space, rng)
    arrays = [
        rng.integers(0, space["integers"], shape) if "integers" in space
        else rng.standard_normal(shape).astype(np.float32) for shape in shapes
    ]  # fmt: skip
    make = space.get("make", lambda kit, **a: getattr(kit, name)(**a))
    ours = make(layers, **arguments)
    ours = layers.deserialize(_saved_and_back(layers.serialize(ours)))
    if "theirs" in space:
        theirs = space["theirs"](keras, **arguments)
    elif space.get("hub"):
        theirs = reference(keras, name)(**arguments)
    else:
        theirs = make(keras.layers, **arguments)
    _compare(ours, theirs, arrays, call, rng, space)


def _saved_and_back(config):
    again = json.loads(json.dumps(config))
    assert layers.serialize(layers.deserialize(again)) == config
    return again


def _compare(ours, theirs, arrays, call, rng, space):
    listed = space.get("listed", False)
    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    given = [tensors] if listed else tensors
    asked = map_leaves(lambda v: torch.tensor(v) if isinstance(v, np.ndarray) else v, call)
    theirs(*given, **asked)  # makes the weights
    values = [_start(w, rng) for w in theirs.weights]
    theirs.set_weights(values)
    result = leaves(theirs(*given, **asked))
    gs = [rng.standard_normal(y.shape).astype(np.float32) for y in result]
    loss = sum((y * torch.tensor(g)).sum() for y, g in zip(result, gs, strict=True))
    if space.get("penalty"):
        loss = loss + sum(theirs.losses[-1:])
    variables = [t for t in tensors if t.requires_grad]
    variables += [w.value for w in theirs.trainable_weights]
    if isinstance(loss, torch.Tensor) and loss.requires_grad:
        wanted = torch.autograd.grad(loss, variables, allow_unused=True)
    else:
        wanted = [None] * len(variables)

    order = space.get("order", range(len(values)))
    made, grads, state = _run(ours, arrays, call, [values[i] for i in order], gs, space)
    for y, expected in zip(made, result, strict=True):
        _assert_close(y, expected.detach().numpy())
    found = [np.zeros(v.shape) if g is None else g.numpy()
             for v, g in zip(variables, wanted, strict=True)]  # fmt: skip
    # A gradient that is zero but for rounding (of a bias before a normalization) has no scale.
    floor = 1e-2 * max((float(np.abs(g).max()) for g in found if g.size), default=0.0)
    for g, expected in zip(grads, found, strict=True):
        _assert_close(np.zeros(expected.shape) if g is None else g, expected, floor)
    if call.get("training"):
        after = [w.value.detach().numpy() for w in theirs.non_trainable_weights]
        for value, expected in zip(state, after, strict=True):
            _assert_close(value, expected)


def _start(weight, rng):
    value = rng.standard_normal(weight.shape).astype(np.float32) * 0.4
    return value if weight.trainable else np.abs(value) + 0.1  # a variance


def _run(ours, arrays, call, values, gs, space):
    """Return outputs, gradients (None for none) and new state, of one graph."""
    graph = Graph()
    with graph:
        xs = [graph.input(f"x{i}", a.dtype, a.shape) for i, a in enumerate(arrays)]
        inputs = [xs] if space.get("listed") else xs
        ours(*inputs, **call)  # makes the weights
        ours.set_weights(values)
    graph = Graph()
    with graph:
        xs = [graph.input(f"x{i}", a.dtype, a.shape) for i, a in enumerate(arrays)]
        inputs = [xs] if space.get("listed") else xs
        result = leaves(ours(*inputs, **call))
        loss = sum(ops.sum(y * g) for y, g in zip(result, gs, strict=True))
        if space.get("penalty"):
            loss = loss + sum(graph.losses)
        variables = [x for x in xs if x.dtype.kind == "f"]
        variables += [graph.parameter(p) for p in ours.trainable_weights]
        grads = gradients([loss], variables) if variables else []
        state = [graph.parameter(p) for p in ours.non_trainable_weights]
    new = [graph.updates.get(p, p) for p in state] if call.get("training") else []
    named = [*result, *grads, *new]
    graph.outputs = {f"y{i}": y for i, y in enumerate(named) if y is not None}
    session = open_session(to_onnx(graph), threads=1)
    made = session.run(None, {x.name: a for x, a in zip(xs, arrays, strict=True)})
    by_name = dict(zip(graph.outputs, made, strict=True))
    found = [by_name.get(f"y{i}") for i in range(len(named))]
    count = len(result)
    return found[:count], found[count : count + len(grads)], found[count + len(grads) :]


def _assert_close(received, expected, floor=0.0):
    assert received.shape == expected.shape
    if expected.size:
        scale = max(float(np.abs(expected).max()), floor, 1e-6)
        worst = float(np.abs(received - expected).max())
        assert worst <= TOLERANCE * scale, f"{worst / scale:.2g} of the largest value"
