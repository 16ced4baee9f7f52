"""Gradients of functions: which arguments, structures, orders, boundaries, bad input."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.errors import InputError, NoGradient, ShapeError
from edgeml.graph import _rules, as_tensor, emit, lowering, rule, supported_ops
from edgeml.testing import check_gradient

X = np.float32([0.5, -1.0, 2.0])
Y = np.float32([1.0, 3.0, -2.0])


def cube(x):
    return ops.sum(x**3)


def test_value_and_gradient():
    value, g = edgeml.value_and_grad(cube)(X)
    np.testing.assert_allclose(value, (X**3).sum())
    np.testing.assert_allclose(g, 3 * X**2)
    assert (g.dtype, g.shape) == (np.float32, (3,))


@pytest.mark.parametrize(
    ("argnums", "expected"),
    [(0, Y * Y), (1, 2 * X * Y), (-1, 2 * X * Y), ((0, 1), (Y * Y, 2 * X * Y)),
     ([1], (2 * X * Y,)), ((1, 0), (2 * X * Y, Y * Y))],
)  # fmt: skip
def test_argnums(argnums, expected):
    found = edgeml.grad(lambda a, b: ops.sum(a * b * b), argnums)(X, Y)
    assert isinstance(found, tuple) == isinstance(expected, tuple)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_structures():
    """The gradient has the structure of the argument, None included."""

    def loss(p, x):
        first, (second,) = p["layers"]
        return ops.sum(first * x) + ops.sum(second * x * x) + p["bias"]

    params = {"layers": (X, [Y]), "bias": 2.0, "none": None}
    g = edgeml.grad(loss)(params, X)
    assert sorted(g) == ["bias", "layers", "none"]
    assert g["none"] is None
    assert isinstance(g["layers"], tuple)
    assert isinstance(g["layers"][1], list)
    np.testing.assert_allclose(g["layers"][0], X)
    np.testing.assert_allclose(g["layers"][1][0], X * X)
    assert g["bias"] == 1.0


def test_keyword_arguments_are_not_differentiated():
    g = edgeml.grad(lambda a, *, b, power: ops.sum(a * b) ** power)(X, b=Y, power=2)
    np.testing.assert_allclose(g, 2 * (X @ Y) * Y, rtol=1e-6)


def test_more_than_the_scalar():
    def fn(a):
        return ops.sum(a * a), {"double": a * 2.0, "n": 3}

    (value, aux), g = edgeml.value_and_grad(fn, has_aux=True)(X)
    assert value == (X * X).sum()
    np.testing.assert_array_equal(aux["double"], 2 * X)
    assert aux["n"] == 3
    only, again = edgeml.grad(fn, has_aux=True)(X)
    np.testing.assert_array_equal(only, g)
    np.testing.assert_array_equal(again["double"], 2 * X)


def test_with_respect_to_inputs():
    """A saliency map: the weights are closed over, the picture is differentiated."""
    w = np.arange(12, dtype=np.float32).reshape(4, 3)
    g = edgeml.grad(lambda x: ops.max(ops.matmul(x, w)))(np.ones((1, 4), np.float32))
    np.testing.assert_array_equal(g, w[:, 2:].T)


def test_what_nothing_depends_on_is_zero():
    a, b = edgeml.grad(lambda a, b: ops.sum(a), (0, 1))(X, Y)
    np.testing.assert_array_equal(a, np.ones(3))
    np.testing.assert_array_equal(b, np.zeros(3))
    np.testing.assert_array_equal(edgeml.grad(lambda a: 3.0)(X), np.zeros(3))
    np.testing.assert_array_equal(edgeml.grad(lambda a: a)(1.0), 1)
    assert edgeml.grad(lambda a: ops.sum(a * a))(np.zeros((0, 3))).shape == (0, 3)


def test_arguments_that_are_used_twice_and_broadcast():
    def fn(a, b):
        return ops.sum(a * a * b + a * ops.exp(b) - ops.mean(a) * b)

    check_gradient(fn, np.ones((2, 1, 3)) * X, np.float32(0.3))
    check_gradient(fn, np.float32(0.7), np.ones((4, 3)) * Y)


def test_higher_orders():
    fn = edgeml.grad(edgeml.grad(edgeml.grad(lambda x: ops.exp(2.0 * x))))
    np.testing.assert_allclose(fn(0.5), 8 * np.e, rtol=1e-5)


def test_hessian_times_vector():
    product = edgeml.grad(lambda x, v: ops.sum(edgeml.grad(cube)(x) * v))
    np.testing.assert_allclose(product(X, Y), 6 * X * Y, rtol=1e-6)


def test_gradient_penalty():
    """A gradient within a loss, of a network, as finite differences have it."""
    x = np.float32([[0.3, -0.7]])

    def loss(w, v):
        score = edgeml.grad(lambda x: ops.sum(ops.matmul(ops.tanh(ops.matmul(x, w)), v)))
        return (ops.norm(score(as_tensor(x))) - 1.0) ** 2

    check_gradient(loss, np.float32([[1.0, 0.2, -0.5], [0.4, -0.3, 0.8]]), np.ones((3, 1)))


def test_against_pytorch():
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s).astype(np.float32) for s in ((5, 4), (4, 3), 3))

    def ours(w, b):
        return ops.mean(ops.logsumexp(ops.softplus(ops.matmul(x, w) + b), axis=1) ** 2)

    tw, tb = torch.tensor(w, requires_grad=True), torch.tensor(b, requires_grad=True)
    inner = torch.nn.functional.softplus(torch.tensor(x) @ tw + tb)
    (inner.logsumexp(1) ** 2).mean().backward()
    gw, gb = edgeml.grad(ours, (0, 1))(w, b)
    np.testing.assert_allclose(gw, tw.grad.numpy(), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gb, tb.grad.numpy(), rtol=1e-5, atol=1e-7)


def test_stop_gradient():
    g = edgeml.grad(lambda x: ops.sum(x * ops.stop_gradient(x * x)))(X)
    np.testing.assert_allclose(g, X * X)


@ops.custom_gradient
def straight(x):
    return ops.round(x), lambda g: g


@ops.custom_gradient
def product(x, y):
    return (x * y, x + y), lambda gp, gs: (gp * y * 10.0, None)


def test_custom_gradient():
    np.testing.assert_array_equal(edgeml.grad(lambda x: ops.sum(straight(x) * Y))(X), Y)
    gx, gy = edgeml.grad(lambda x, y: ops.sum(product(x, y)[0]), (0, 1))(X, Y)
    np.testing.assert_array_equal(gx, 10 * Y)
    np.testing.assert_array_equal(gy, np.zeros(3))


def test_second_derivative_goes_through_the_custom_one():
    @ops.custom_gradient
    def square(x):
        return x * x, lambda g: g * x * 2.0

    second = edgeml.grad(lambda x: ops.sum(edgeml.grad(lambda x: ops.sum(square(x) * x))(x)))
    np.testing.assert_allclose(second(X), 6 * X, rtol=1e-6)


def test_branches_and_loops_of_python_are_traced():
    def fn(x, steps, doubled):
        for _ in range(steps):
            x = x * x
        return ops.sum(x * 2.0 if doubled else x)

    g = edgeml.grad(fn)
    np.testing.assert_allclose(g(X, 2, True), 8 * X**3, rtol=1e-6)
    np.testing.assert_allclose(g(X, 1, False), 2 * X, rtol=1e-6)


@pytest.fixture
def own_rules(monkeypatch):
    """Forget the rules that a test adds."""
    supported_ops()  # loads ours
    for table in ("_rules", "_lowerings"):
        monkeypatch.setattr(_rules, table, dict(getattr(_rules, table)))


def test_a_rule_and_a_lowering_of_ones_own(own_rules):
    """Operators that the runtime does not have are never run: the lowering replaces them."""
    types = [(np.float32, (3,))]

    @rule("Triple", domain="test.grad")
    def triple(node, g):
        return (g * 3.0,)

    @lowering("Triple", domain="test.grad")
    def as_product(node):
        return [node.x * 3.0]

    g = edgeml.grad(lambda x: ops.sum(emit("Triple", x, domain="test.grad", types=types) ** 2))
    np.testing.assert_allclose(g(X), 18 * X, rtol=1e-6)


def chosen(x):
    """An operator that has no gradient."""
    return emit("Compress", x, np.arange(16) % 4 == 0, types=[(x.dtype, (4,))])


def test_an_operator_without_a_gradient_is_told_before_anything_runs():
    image = np.ones((1, 1, 4, 4), np.float32)
    with pytest.raises(NoGradient, match=r"(?s)Compress.*trainable='head'.*stop_gradient.*rule"):
        edgeml.grad(lambda x: ops.sum(chosen(x)))(image)
    before = edgeml.grad(lambda w, x: ops.sum(chosen(x) * w))(2.0, image)
    assert before == 4
    stopped = edgeml.grad(lambda x: ops.sum(chosen(ops.stop_gradient(x))) + ops.sum(x))(image)
    np.testing.assert_array_equal(stopped, image)


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: edgeml.grad(lambda x: x * x)(X), ShapeError, r"scalar.*ops\.mean"),
        (lambda: edgeml.grad(ops.sum)(np.array([1, 2])), InputError, "int64.*argnums"),
        (lambda: edgeml.grad(lambda x: x)(3), InputError, "is int"),
        (lambda: edgeml.grad(ops.sum)("x"), InputError, "is str"),
        (lambda: edgeml.grad(ops.sum)({"a": X, "b": True}), InputError, "is bool"),
        (lambda: edgeml.grad(ops.sum, 1)(X), InputError, "given 1 arguments"),
        (lambda: edgeml.grad(ops.sum, has_aux=True)(X), InputError, "has_aux.*tuple"),
    ],
)
def test_bad_input_is_told(call, error, says):
    with pytest.raises(error, match=f"(?s){says}"):
        call()


@pytest.mark.parametrize(("shape", "axis"), [((3, 0), 1), ((0, 3), 0)])
@pytest.mark.parametrize("reduce", [ops.sum, ops.mean])
def test_nothing_has_a_gradient_of_its_shape(reduce, shape, axis):
    found = edgeml.grad(lambda x: ops.sum(reduce(x, axis=axis)))(np.zeros(shape, np.float32))
    assert found.shape == shape
