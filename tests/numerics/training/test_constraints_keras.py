"""Constraints and regularizers against Keras 3: values, gradients, and training with them."""

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Keras and torch warn of while loading is not ours
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

import edgeml
from edgeml import constraints, regularizers, value_and_grad
from edgeml.graph import function

# Keras's way from torch to NumPy is what NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
rng = np.random.default_rng(0)
MATRIX = rng.standard_normal((6, 4)).astype(np.float32)
KERNEL = rng.standard_normal((3, 3, 4, 5)).astype(np.float32)

LIMITS = [
    ("MaxNorm", {}, MATRIX), ("MaxNorm", {"max_value": 1.0, "axis": 1}, MATRIX),
    ("MaxNorm", {"max_value": 0.5, "axis": [0, 1, 2]}, KERNEL), ("NonNeg", {}, KERNEL),
    ("UnitNorm", {}, MATRIX), ("UnitNorm", {"axis": (0, 1, 2)}, KERNEL),
    ("MinMaxNorm", {}, MATRIX), ("UnitNorm", {}, MATRIX * 0),
    ("MinMaxNorm", {"min_value": 2.5, "max_value": 2.7, "rate": 0.4}, MATRIX),
]  # fmt: skip
PENALTIES = [
    ("L1", {}, MATRIX), ("L1", {"l1": 0.3}, KERNEL),
    ("L2", {}, MATRIX), ("L2", {"l2": 2.0}, KERNEL),
    ("L1L2", {"l2": 0.1}, MATRIX), ("L1L2", {"l1": 0.1}, MATRIX),
    ("L1L2", {"l1": 0.1, "l2": 0.2}, KERNEL),
    ("OrthogonalRegularizer", {}, MATRIX),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "columns"}, MATRIX),
]  # fmt: skip


def names(module, base):
    found = {name for name in dir(module) if name[0].isupper()}
    return found - {base}


@pytest.mark.parametrize("case", LIMITS, ids=lambda c: f"{c[0]}-{c[1]}")
def test_constraints(case):
    name, options, weight = case
    expected = getattr(keras.constraints, name)(**options)(torch.tensor(weight)).numpy()
    received = function(getattr(constraints, name)(**options))(weight)
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("case", PENALTIES, ids=lambda c: f"{c[0]}-{c[1]}")
def test_regularizers(case):
    name, options, weight = case
    w = torch.tensor(weight, requires_grad=True)
    expected = getattr(keras.regularizers, name)(**options)(w)
    expected.backward()
    value, gradient = value_and_grad(getattr(regularizers, name)(**options))(weight)
    assert float(value) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, w.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_all_of_keras_have_a_case():
    assert {name for name, *_ in LIMITS} == names(keras.constraints, "Constraint")
    assert {name for name, *_ in PENALTIES} == names(keras.regularizers, "Regularizer")


@pytest.mark.parametrize("name", ["l1", "l2", "orthogonal_regularizer", "OrthogonalRegularizer"])
def test_regularizers_by_name_are_keras_regularizers(name):
    ours, theirs = regularizers.get(name), keras.regularizers.get(name)
    expected = theirs(torch.tensor(MATRIX)).item()
    assert float(function(ours)(MATRIX)) == pytest.approx(expected, rel=1e-5)


def test_training_with_both_is_keras_training():
    x, y = rng.standard_normal((10, 16, 5)), rng.standard_normal((10, 16, 2))

    def layers(home, limits, penalties):
        return [
            home.Dense(4, activation="tanh", kernel_constraint=limits.MaxNorm(0.6),
                       bias_constraint="non_neg", kernel_regularizer=penalties.L1(0.01)),
            home.Dense(3, kernel_regularizer="l2", activity_regularizer=penalties.L2(0.05)),
            home.Dense(2, kernel_constraint=limits.MinMaxNorm(0.2, 0.5, 0.5),
                       bias_regularizer="l1"),
        ]  # fmt: skip

    known = keras.layers, keras.constraints, keras.regularizers
    theirs = keras.Sequential([keras.Input((5,)), *layers(*known)])
    theirs.compile(keras.optimizers.Adam(0.05), "mse")
    own = edgeml.layers, constraints, regularizers
    ours = edgeml.Sequential([edgeml.Input((5,)), *layers(*own)])
    ours.set_weights([w.numpy() for w in map(keras.ops.convert_to_tensor, theirs.get_weights())])
    ours.compile(edgeml.optimizers.Adam(0.05), "mse")
    for a, b in zip(x.astype(np.float32), y.astype(np.float32), strict=True):
        theirs.train_on_batch(a, b)
        ours.train_on_batch(a, b)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5)
