"""What is random in training: how often, how much, and the same where it has to be."""

import numpy as np
import pytest

import edgeml
from edgeml import layers

SHAPE = (200, 100)


def _trained(layer, x, seed=0):
    return edgeml.function(lambda v: layer(v, training=True), seed=seed)(x)


@pytest.mark.parametrize("rate", [0.2, 0.6])
def test_dropout_keeps_the_mean(rate):
    y = _trained(layers.Dropout(rate), np.ones(SHAPE))
    assert (y == 0).mean() == pytest.approx(rate, abs=0.02)
    assert set(np.unique(y).round(4)) == {0.0, np.float32(1 / (1 - rate)).round(4)}


def test_a_noise_shape_is_shared():
    y = _trained(layers.Dropout(0.5, noise_shape=(None, 1)), np.ones(SHAPE))
    assert (y == y[:, :1]).all()
    assert 0.3 < (y == 0).mean() < 0.7


@pytest.mark.parametrize(("kind", "shape"), [("SpatialDropout1D", (50, 5, 40)),
                                             ("SpatialDropout2D", (50, 3, 4, 40)),
                                             ("SpatialDropout3D", (50, 2, 2, 3, 40))])  # fmt: skip
def test_spatial_dropout_takes_whole_channels(kind, shape):
    y = _trained(getattr(layers, kind)(0.4), np.ones(shape))
    flat = y.reshape(shape[0], -1, shape[-1])
    assert (flat == flat[:, :1]).all()
    assert (flat == 0).mean() == pytest.approx(0.4, abs=0.05)


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    x = np.random.default_rng(0).standard_normal(SHAPE)
    y = _trained(layers.AlphaDropout(rate), x)
    assert y.mean() == pytest.approx(0.0, abs=0.03)
    assert y.std() == pytest.approx(1.0, abs=0.03)
    _, counts = np.unique(y, return_counts=True)  # what is dropped has one value
    assert counts.max() / y.size == pytest.approx(rate, abs=0.02)


def test_noise_has_its_deviation():
    y = _trained(layers.GaussianNoise(0.3), np.ones(SHAPE))
    assert y.mean() == pytest.approx(1.0, abs=0.01)
    assert y.std() == pytest.approx(0.3, abs=0.01)


def test_gaussian_dropout_multiplies():
    y = _trained(layers.GaussianDropout(0.2), np.full(SHAPE, 2.0))
    assert y.mean() == pytest.approx(2.0, abs=0.02)
    assert y.std() == pytest.approx(2.0 * 0.5, abs=0.02)


def test_each_call_draws_anew_and_a_seed_repeats_it():
    layer = layers.Dropout(0.5)
    run = edgeml.function(lambda v: layer(v, training=True), seed=1)
    first, second = run(np.ones(SHAPE)), run(np.ones(SHAPE))
    assert (first != second).any()
    assert (_trained(layer, np.ones(SHAPE), seed=1) == first).all()


@pytest.mark.parametrize("loop", [False, True])
def test_recurrent_layers_drop_the_same_inputs_at_all_steps(loop):
    """With the identity for a kernel, what is dropped of ones is a zero at every step."""
    options = {"kernel_initializer": "identity", "recurrent_initializer": "zeros",
               "activation": "linear", "dropout": 0.5}  # fmt: skip
    layer = (
        layers.RNN(layers.SimpleRNNCell(40, **options), return_sequences=True) if loop
        else layers.SimpleRNN(40, return_sequences=True, **options)
    )  # fmt: skip
    y = _trained(layer, np.ones((30, 5, 40)))
    assert (y == y[:, :1]).all()
    assert (y == 0).mean() == pytest.approx(0.5, abs=0.06)
    assert set(np.unique(y)) == {0.0, 2.0}


def test_recurrent_dropout_drops_the_state():
    layer = layers.SimpleRNN(
        40, activation="linear", kernel_initializer="zeros", recurrent_initializer="identity",
        recurrent_dropout=0.5,
    )  # fmt: skip
    start = np.ones((30, 40), np.float32)
    y = edgeml.function(lambda x, h: layer(x, initial_state=[h], training=True))(
        np.ones((30, 3, 4)), start
    )
    assert set(np.unique(y)) == {0.0, 8.0}  # thrice doubled, or gone at once
    assert (y == 0).mean() == pytest.approx(0.5, abs=0.06)


def test_attention_drops_weights():
    layer = layers.Attention(dropout=0.5)
    query, value = np.zeros((40, 8, 4)), np.ones((40, 50, 4))
    y = edgeml.function(lambda q, v: layer([q, v], training=True))(query, value)
    assert y.mean() == pytest.approx(1.0, abs=0.02)
    assert y.std() > 0.05
