"""Functions that run as a graph: arguments, signatures, results, bad input."""

import threading

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.errors import GraphError, InputError, ShapeError
from edgeml.graph import Function, Graph, emit, gradients, to_onnx
from edgeml.graph._execute import open_session

X = np.arange(6, dtype=np.float32).reshape(2, 3)


def traced(fn):
    """Return a function, and a list of the shapes it was traced for."""
    shapes = []

    @edgeml.function
    def counted(x, *more):
        shapes.append(x.shape)
        return fn(x, *more)

    return counted, shapes


def test_traced_once_for_each_signature():
    run, shapes = traced(lambda x: x * 2.0)
    for x in (X, X + 1, X[:1], X):
        np.testing.assert_array_equal(run(x), 2 * x)
    assert shapes == [(2, 3), (1, 3)]


def test_values_of_integers_and_names_are_part_of_the_signature():
    run, shapes = traced(lambda x, n, act: getattr(ops, act)(x) * n)
    np.testing.assert_array_equal(run(X, 2, "negative"), -2 * X)
    np.testing.assert_array_equal(run(X, 3, "negative"), -3 * X)
    np.testing.assert_array_equal(run(X, 3, "square"), 3 * X * X)
    assert len(shapes) == 3


def test_python_floats_are_arguments():
    run, shapes = traced(lambda x, a: x * a)
    np.testing.assert_array_equal(run(X, 2.0), 2 * X)
    np.testing.assert_array_equal(run(X, 2.5), 2.5 * X)
    assert len(shapes) == 1


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(np.float64(2), "float32"), (2.0, "float32"), (np.float16(2), "float16"),
     (np.int32(2), "int32"), (np.array([True]), "bool"), (np.uint8(2), "uint8")],
)  # fmt: skip
def test_dtypes(value, dtype):
    found = edgeml.function(lambda x: emit("Identity", x))(value)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, value)


def test_structures():
    run = edgeml.function(lambda p, k: {"sum": p["a"] + p["b"][0], "rest": (p["b"][1], None, k)})
    found = run({"a": X, "b": [X, X * 2]}, 3)
    np.testing.assert_array_equal(found["sum"], 2 * X)
    np.testing.assert_array_equal(found["rest"][0], 2 * X)
    assert found["rest"][1] is None
    assert found["rest"][2] == 3


def test_keyword_arguments_and_functions_as_arguments():
    run = edgeml.function(lambda x, scale=1.0, act=None: act(x) * scale)
    np.testing.assert_array_equal(run(X, act=ops.negative), -X)
    np.testing.assert_array_equal(run(X, act=ops.square, scale=2.0), 2 * X * X)


def test_results_are_the_callers():
    run = edgeml.function(lambda x: (x, x, x + 0.0))
    given = X.copy()
    made = run(given)
    made[0][:] = 7
    np.testing.assert_array_equal(given, X)
    np.testing.assert_array_equal(run(given)[0], X)


def test_functions_within_functions():
    inner = edgeml.function(lambda x: x + 1.0)
    outer = edgeml.function(lambda x: inner(x) * inner(2.0 * x))
    np.testing.assert_array_equal(outer(X), (X + 1) * (2 * X + 1))


def test_decorated_with_arguments():
    @edgeml.function(threads=1, seed=3)
    def run(x):
        """Double."""
        return x * 2.0

    assert (run.__name__, run.__doc__) == ("run", "Double.")
    np.testing.assert_array_equal(run(X), 2 * X)


def test_nothing_goes_in():
    assert edgeml.function(lambda: ops.add(np.ones(2), 1.0))().tolist() == [2, 2]


def test_python_unpacks_tensors():
    run = edgeml.function(lambda x: [row * len(x) for row in x])
    np.testing.assert_array_equal(run(X), 2 * X)


def test_operators_of_python():
    def all_of(x, y):
        return (x + y, x - y, x * y, x / y, x @ y, x**2.0, -x, abs(-x), x < y, x <= y, x > y,
                x >= y, 1.0 + x, 1.0 - x, 2.0 * x, 1.0 / y, 2.0**x, x[0])  # fmt: skip

    y = np.eye(3, dtype=np.float32) + 1
    x = np.arange(9, dtype=np.float32).reshape(3, 3)
    for found, expected in zip(edgeml.function(all_of)(x, y), all_of(x, y), strict=True):
        assert found.dtype == expected.dtype
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_threads_share_a_function():
    run, shapes = traced(lambda x: ops.sum(x * x, axis=1))
    found = {}

    def work(i):
        found[i] = [run(np.full((n, 2), i, np.float32)).sum() for n in (1, 2, 3)]

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == {i: [2 * i * i * n for n in (1, 2, 3)] for i in range(4)}
    assert len(shapes) == 3


def test_one_graph_for_all_batch_sizes():
    """A dimension with a name stays open, through NumPy's broadcasting and to the file."""
    graph = Graph()
    x = graph.input("x", "float32", ("batch", 3))
    with graph:
        normal = (x - ops.mean(x, 1, keepdims=True)) * np.float32([1, 2, 3])
        y = ops.concatenate([normal, ops.zeros_like(x)], axis=1)
        graph.outputs = {"y": ops.reshape(y, (-1, 2, 3))}
    assert y.shape == ("batch", 6)
    session = open_session(to_onnx(graph))
    for batch in (1, 5, 0):
        given = np.ones((batch, 3), np.float32) * [1, 2, 6]
        (found,) = session.run(None, {"x": given.astype(np.float32)})
        expected = (given - 3) * [1, 2, 3]
        np.testing.assert_array_equal(found[:, 0], expected)
        np.testing.assert_array_equal(found[:, 1], np.zeros((batch, 3)))


def test_a_gradient_needs_numbers_for_dimensions():
    graph = Graph()
    x = graph.input("x", "float32", ("batch", 3))
    with pytest.raises(ShapeError, match=r"'batch'.*fixed shape"):
        gradients([ops.sum(x * x, axis=1)], [x])


def test_trace_runs_nothing():
    graph = Function(lambda x: ops.exp(x)).trace(X)
    assert [node.op for node in graph.nodes] == ["Exp"]
    assert graph.inputs[0].shape == (2, 3)


def leak():
    kept = []
    edgeml.function(lambda x: kept.append(x) or x * 1.0)(X)
    return edgeml.function(lambda x: x + kept[0])(X)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: edgeml.function(lambda x: x)(np.array([1j])), InputError, "complex128"),
        (lambda: edgeml.function(lambda x: x)(np.array(["NaT"], "M8[s]")), InputError, "datetime"),
        (lambda: edgeml.function(lambda x, y: x)(X, {1}), InputError, "is a set"),
        (lambda: edgeml.function(lambda x: None)(X), GraphError, "returned nothing"),
        (lambda: edgeml.function(lambda x: emit("Nope", x))(X), ShapeError, r"Nope.*opset 18"),
        (leak, GraphError, "another trace.*argument"),
    ],
)
def test_bad_input_is_told(call, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        call()


def test_after_a_mistake_it_goes_on():
    run, shapes = traced(lambda x: ops.reshape(x, (2, 3)) * 1.0)
    with pytest.raises(ShapeError):
        run(X[:1])
    np.testing.assert_array_equal(run(X.ravel()), X)
    assert len(shapes) == 2
