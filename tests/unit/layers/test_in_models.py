"""Layers in models: with a free batch, trained for a step, saved and loaded."""

import numpy as np
import pytest

import edgeml
from edgeml import layers

rng = np.random.default_rng(0)
MODELS = {
    "cells": ((6, 4), lambda x: layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)])(x)),
    "states": ((6, 4), lambda x: layers.RNN(layers.GRUCell(3), return_state=True)(x)[1]),
    "loop": ((6, 4), lambda x: layers.LSTM(3, activation="gelu", return_sequences=True)(x)),
    "masked loop": ((6, 4), lambda x: layers.GRU(3, "selu")(layers.Masking()(x))),
    "recurrent dropout": ((6, 4), lambda x: layers.LSTM(3, dropout=0.2, recurrent_dropout=0.3)(x)),
    "both ways": ((6, 4), lambda x: layers.Bidirectional(layers.SimpleRNN(3))(x)),
    "video": ((3, 6, 5, 1), lambda x: layers.ConvLSTM2D(2, 3, padding="same", dropout=0.2)(x)),
    "series": ((3, 6, 1), lambda x: layers.ConvLSTM1D(2, 3, return_sequences=True)(x)),
    "heads": ((5, 4), lambda x: layers.GroupQueryAttention(3, 4, 2, use_gate=True)(x, x)),
    "axes": ((3, 5, 4), lambda x: layers.MultiHeadAttention(2, 3, attention_axes=2)(x, x)),
    "decoder": ((5, 4), lambda x: layers.TransformerDecoder(6, 2, dropout=0.1)(x, x)),
    "encoder": ((5, 4), lambda x: layers.TransformerEncoder(6, 2, dropout=0.1)(x)),
    "einsum": ((5, 4), lambda x: layers.EinsumDense("abc,cd->abd", (None, 3), bias_axes="d")(x)),
    "adaptive": ((7, 5, 2), lambda x: layers.AdaptiveMaxPooling2D((3, 2))(layers.Conv2D(2, 1)(x))),
    "spectral": ((4,), lambda x: layers.SpectralNormalization(layers.Dense(3))(x)),
    "renormalized": ((4,), lambda x: layers.BatchNormalization(renorm=True)(x)),
    "normalized": ((4,), lambda x: layers.RMSNormalization()(layers.UnitNormalization()(x))),
    "self-normalizing": ((4,), lambda x: layers.AlphaDropout(0.2)(layers.Dense(3, "selu")(x))),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_trained_saved_and_loaded(name, tmp_path):
    shape, build = MODELS[name]
    inputs = layers.Input(shape)
    outputs = build(inputs)
    model = edgeml.Model(inputs, layers.Dense(2)(layers.Flatten()(outputs)))
    x = rng.standard_normal((4, *shape)).astype(np.float32)
    before = [w.copy() for w in model.get_weights()]
    model.compile("sgd", "mse")
    model.fit(x, rng.standard_normal((4, 2)), epochs=2, batch_size=2, verbose=0)
    assert any(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "model.onnx")
    with edgeml.load(tmp_path / "model.onnx") as session:
        for batch in (x, x[:1]):
            (made,) = session.run({session.inputs[0].name: batch}).values()
            np.testing.assert_allclose(made, model.predict(batch), rtol=1e-5, atol=1e-6)
    again = edgeml.load_model(tmp_path / "model.onnx")
    np.testing.assert_allclose(again.predict(x), model.predict(x), rtol=1e-5, atol=1e-6)


def test_a_spectral_norm_stays_one():
    layer = layers.SpectralNormalization(layers.Dense(8), power_iterations=3)
    model = edgeml.Sequential([layers.Input((6,)), layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    x = rng.standard_normal((32, 6)).astype(np.float32)
    model.fit(x, x[:, :1] * 3, epochs=20, verbose=0)
    largest = np.linalg.svd(layer.layer.kernel.value, compute_uv=False)[0]
    assert largest == pytest.approx(1.0, abs=0.02)


def test_penalties_of_a_cell_reach_the_loss():
    x = np.ones((2, 3, 4), np.float32)
    losses = []
    for penalty in (None, "l2"):
        for build in (layers.LSTM, lambda n, **k: layers.RNN(layers.LSTMCell(n, **k))):
            layer = build(3, kernel_initializer="ones", kernel_regularizer=penalty)
            model = edgeml.Sequential([layers.Input((3, 4)), layer])
            model.compile("sgd", lambda y, p: edgeml.ops.sum(p) * 0.0)
            losses.append(model.evaluate(x, np.zeros((2, 3)), verbose=0)["loss"])
    assert losses == pytest.approx([0.0, 0.0, 0.48, 0.48])


def test_constraints_of_a_cell_are_kept():
    layer = layers.GRU(3, kernel_constraint="non_neg")
    model = edgeml.Sequential([layers.Input((3, 4)), layer])
    model.compile("sgd", "mse")
    model.fit(rng.standard_normal((8, 3, 4)), np.ones((8, 3)), epochs=2, verbose=0)
    assert layer.cell.kernel.value.min() >= 0.0
