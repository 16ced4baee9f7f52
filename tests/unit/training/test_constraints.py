"""Constraints and regularizers: names, what a training step makes of them, saved models."""

import numpy as np
import pytest

import edgeml
from edgeml import constraints, regularizers
from edgeml.constraints import MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import function
from edgeml.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Embedding,
    Flatten,
    Input,
    LayerNormalization,
    PReLU,
    SeparableConv2D,
)
from edgeml.regularizers import L1, L1L2, L2, OrthogonalRegularizer

rng = np.random.default_rng(0)
X = rng.standard_normal((32, 5)).astype(np.float32)
Y = rng.standard_normal((32, 2)).astype(np.float32)


def trained(*layers, steps=3, optimizer=None, x=X):
    edgeml.layers.set_random_seed(0)
    model = edgeml.Sequential([Input(x.shape[1:]), *layers])
    model.compile(optimizer or edgeml.optimizers.SGD(0.5), "mse")
    for _ in range(steps):
        model.train_on_batch(x, Y)
    return model


def norms(kernel, axis=0):
    return np.sqrt(np.square(kernel).sum(axis))


def test_weights_are_kept_to_their_constraints():
    hidden = Dense(4, kernel_constraint=MaxNorm(0.3), bias_constraint="nonNeg")
    model = trained(hidden, Dense(3), Dense(2, kernel_constraint="unit_norm"))
    kernel, bias, free, _, last, _ = model.get_weights()
    assert norms(kernel).max() == pytest.approx(0.3, rel=1e-5)  # it had something to do
    assert bias.min() >= 0.0
    np.testing.assert_allclose(norms(last), 1.0, rtol=1e-5)
    assert norms(free).min() != pytest.approx(norms(free).max(), rel=1e-3)


def test_the_update_is_the_constrained_one():
    start = [rng.standard_normal((5, 2)).astype(np.float32), np.zeros(2, np.float32)]

    def step(**options):
        model = edgeml.Sequential([Input((5,)), Dense(2, **options)])
        model.set_weights(start)
        model.compile(edgeml.optimizers.Adam(0.1), "mse")
        model.train_on_batch(X, Y)
        return model.get_weights()

    limit = MaxNorm(0.7)
    np.testing.assert_allclose(step(kernel_constraint=limit)[0], function(limit)(step()[0]),
                               rtol=1e-6)  # fmt: skip


@pytest.mark.parametrize(("layer", "x", "places"), [
    (Conv2D(3, 2, kernel_constraint=MaxNorm(0.3, (0, 1, 2)), bias_constraint="nonNeg"),
     rng.standard_normal((32, 4, 4, 2)), [(0, (0, 1, 2))]),
    (SeparableConv2D(3, 2, depthwise_constraint=MaxNorm(0.3, [0, 1]),
                     pointwise_constraint=MaxNorm(0.3, 2)),
     rng.standard_normal((32, 4, 4, 2)), [(0, (0, 1)), (1, 2)]),
    (Embedding(10, 3, embeddings_constraint=MaxNorm(0.3, 1)), rng.integers(0, 10, (32, 4)),
     [(0, 1)]),
    (BatchNormalization(gamma_constraint=MaxNorm(0.3), beta_constraint=MaxNorm(0.3)),
     rng.standard_normal((32, 4, 3)), [(0, 0), (1, 0)]),
    (LayerNormalization(gamma_constraint=MaxNorm(0.3), beta_constraint=MaxNorm(0.3)),
     rng.standard_normal((32, 4, 3)), [(0, 0), (1, 0)]),
    (PReLU("ones", alpha_constraint=MaxNorm(0.3)), rng.standard_normal((32, 4)), [(0, 0)]),
], ids=lambda case: getattr(case, "name", ""))  # fmt: skip
def test_layers_take_constraints(layer, x, places):
    kind = np.int64 if isinstance(layer, Embedding) else np.float32
    edgeml.layers.set_random_seed(0)
    model = edgeml.Sequential([Input(x.shape[1:], dtype=kind), layer, Flatten(), Dense(2)])
    model.compile(edgeml.optimizers.SGD(0.1), "mse")
    model.train_on_batch(x.astype(kind), Y)
    for number, axis in places:
        assert norms(layer.get_weights()[number], axis).max() <= 0.3 + 1e-6
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_a_saved_model_keeps_its_constraints(tmp_path):
    model = trained(Dense(2, kernel_constraint=MinMaxNorm(0.2, 0.4), kernel_regularizer=L1(0.1)))
    model.save(tmp_path / "m.onnx")
    again = edgeml.load_model(tmp_path / "m.onnx")
    assert again.layers[0].kernel_constraint == MinMaxNorm(0.2, 0.4)
    assert again.layers[0].kernel_regularizer == L1(0.1)
    again.compile(edgeml.optimizers.SGD(0.5), "mse")
    again.train_on_batch(X, Y)
    assert norms(again.get_weights()[0]).max() <= 0.4 + 1e-6


def test_constraints_wait_for_accumulated_gradients():
    optimizer = edgeml.optimizers.SGD(0.5, gradient_accumulation_steps=2)
    model = trained(Dense(2, kernel_constraint=UnitNorm()), steps=1, optimizer=optimizer)
    before = model.get_weights()[0]
    model.train_on_batch(X, Y)
    np.testing.assert_allclose(norms(model.get_weights()[0]), 1.0, rtol=1e-5)
    assert not np.allclose(norms(before), 1.0)


@pytest.mark.parametrize(("given", "expected"), [
    ("maxNorm", MaxNorm()), ("max_norm", MaxNorm(2, 0)), ("unitNorm", UnitNorm()),
    ("non_neg", NonNeg()), ("minMaxNorm", MinMaxNorm()), (NonNeg, NonNeg()), (None, None),
    ({"class_name": "MinMaxNorm", "config": {"maxValue": 3.0}}, MinMaxNorm(0.0, 3.0)),
    (constraints.max_norm(3), MaxNorm(3)),
])  # fmt: skip
def test_constraints_by_name(given, expected):
    assert constraints.get(given) == expected
    if expected is not None:
        assert type(expected).from_config(expected.get_config()) == expected


@pytest.mark.parametrize(("given", "expected"), [
    ("l1", L1(0.01)), ("l2", L2(0.01)), ("l1_l2", L1L2(0.01, 0.01)), ("l1l2", L1L2(0.01, 0.01)),
    ("L1L2", L1L2(0.01, 0.01)), ("orthogonal_regularizer", OrthogonalRegularizer()), (None, None),
    (L2, L2()), ({"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.5}}, L1L2(l2=0.5)),
    (regularizers.l2(0.3), L2(0.3)),
])  # fmt: skip
def test_regularizers_by_name(given, expected):
    assert regularizers.get(given) == expected
    if expected is not None:
        assert type(expected).from_config(expected.get_config()) == expected


@pytest.mark.parametrize(("make", "message"), [
    (lambda: constraints.get("max_nrm"), "no constraint 'max_nrm'; did you mean max_norm"),
    (lambda: regularizers.get("l3"), "no regularizer 'l3'"),
    (lambda: L1(-1.0), "l1: expected a number of at least 0"),
    (lambda: L1L2(l2=np.inf), "l2: expected"), (lambda: L2("a"), "l2: expected"),
    (lambda: OrthogonalRegularizer(mode="row"), "mode: expected 'rows' or 'columns'"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_only_matrices_are_orthogonal():
    with pytest.raises(ShapeError, match="takes a matrix"):
        function(OrthogonalRegularizer())(np.ones((2, 2, 2)))
