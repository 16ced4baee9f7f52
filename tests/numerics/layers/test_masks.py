"""Which steps count, from an embedding or Masking through other layers, against Keras 3."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

import edgeml  # noqa: E402
from edgeml import layers, ops  # noqa: E402
from edgeml.graph import value_and_grad  # noqa: E402
from edgeml.layers._layer import mask_of  # noqa: E402

# Keras warns where a mask ends.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking")
rng = np.random.default_rng(0)
TOKENS = [
    [[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]], [[0, 0, 1, 2, 3], [0, 4, 5, 6, 7]],
    [[1, 0, 2, 0, 3], [4, 5, 6, 0, 7]],
]  # fmt: skip
OTHERS = np.array([[0, 3, 1, 0, 2], [4, 0, 6, 0, 1]])
STACKS = {
    "rnn": lambda k: [k.LSTM(3)], "sequences": lambda k: [k.GRU(3, return_sequences=True)],
    "backwards": lambda k: [k.SimpleRNN(3, go_backwards=True, return_sequences=True)],
    "cells": lambda k: [k.RNN([k.LSTMCell(3), k.GRUCell(2)], return_sequences=True)],
    "both ways": lambda k: [k.Bidirectional(k.LSTM(2, return_sequences=True)), k.GRU(2)],
    "mean": lambda k: [k.Dense(3), k.GlobalAveragePooling1D()],
    "through": lambda k: [
        k.Dropout(0.5), k.Activation("relu"), k.LayerNormalization(), k.BatchNormalization(),
        k.TimeDistributed(k.Dense(3)), k.Identity(), k.LSTM(2),
    ],
    "ends": lambda k: [k.Conv1D(3, 1), k.LSTM(2)],
    "masking": lambda k: [k.Masking(), k.GRU(2)],
}  # fmt: skip


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("tokens", TOKENS, ids=["after", "before", "between"])
def test_masks_reach_what_comes_after(stack, tokens):
    tokens = np.array(tokens)
    ours = edgeml.Sequential([layers.Embedding(8, 4, mask_zero=True), *STACKS[stack](layers)])
    theirs = keras.Sequential(
        [keras.layers.Embedding(8, 4, mask_zero=True), *STACKS[stack](keras.layers)]
    )
    theirs(torch.tensor(tokens))
    ours.predict(tokens)
    values = [rng.standard_normal(w.shape).astype(np.float32) * 0.5 for w in theirs.weights]
    values = [v if w.trainable else np.abs(v) for v, w in zip(values, theirs.weights, strict=True)]
    theirs.set_weights(values)
    ours.set_weights(values)
    expected = theirs(torch.tensor(tokens)).detach().numpy()
    np.testing.assert_allclose(ours.predict(tokens), expected, rtol=1e-5, atol=1e-5)


MERGES = ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate"]


@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("masked", [(True, True), (True, False), (False, True)])
def test_masks_of_merged_sequences(name, masked):
    def build(kit, model):
        a, b = (kit.Input((5,), dtype="int64") for _ in range(2))
        parts = [
            kit.Embedding(8, 3, mask_zero=zero, name=f"e{i}")(x)
            for i, (x, zero) in enumerate(zip((a, b), masked, strict=True))
        ]
        merged = getattr(kit, name)()(parts)
        return model([a, b], [merged, kit.LSTM(2, name="last")(merged)])

    ours, theirs = build(layers, edgeml.Model), build(keras.layers, keras.Model)
    for layer in ("e0", "e1", "last"):  # Keras's order of the layers depends on the masks
        shapes = [w.shape for w in theirs.get_layer(layer).weights]
        values = [rng.standard_normal(shape).astype(np.float32) * 0.5 for shape in shapes]
        theirs.get_layer(layer).set_weights(values)
        ours.get_layer(layer).set_weights(values)
    given = [np.array(TOKENS[2]), OTHERS]
    expected = [y.detach().numpy() for y in theirs([torch.tensor(x) for x in given])]
    for y, want in zip(ours.predict(given), expected, strict=True):
        np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-5)


def test_attention_leaves_out_masked_steps():
    def build(kit, model):
        a, b = (kit.Input((5,), dtype="int64") for _ in range(2))
        parts = [kit.Embedding(8, 4, mask_zero=True)(x) for x in (a, b)]
        return model([a, b], [
            kit.MultiHeadAttention(2, 3)(*parts), kit.Attention()(parts),
            kit.AdditiveAttention(use_scale=False)(parts),
            kit.GroupQueryAttention(3, 2, 1)(*parts),
        ])  # fmt: skip

    ours, theirs = build(layers, edgeml.Model), build(keras.layers, keras.Model)
    values = [rng.standard_normal(w.shape).astype(np.float32) * 0.5 for w in theirs.weights]
    theirs.set_weights(values)
    ours.set_weights(values)
    tokens = np.array(TOKENS[0])
    given = [tokens, OTHERS]
    expected = [y.detach().numpy() for y in theirs([torch.tensor(x) for x in given])]
    for y, want in zip(ours.predict(given), expected, strict=True):
        counted = tokens != 0  # what stands at other steps is nobody's business
        np.testing.assert_allclose(y[counted], want[counted], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("padding", [False, True])
def test_a_transformer_leaves_out_masked_steps(padding):
    layers.set_random_seed(0)
    tokens = np.array(TOKENS[0])
    embedding = layers.TokenAndPositionEmbedding(8, 5, 4, mask_zero=not padding)
    encoder, decoder = layers.TransformerEncoder(6, 2), layers.TransformerDecoder(6, 2)

    def run(x):
        mask = tokens != 0 if padding else None
        y = encoder(embedding(x), padding_mask=mask)
        return decoder(y, y, decoder_padding_mask=mask, encoder_padding_mask=mask)

    first = edgeml.function(run)(tokens)
    table = embedding.token_embedding.embeddings
    changed = table.value.copy()
    changed[0] += [5.0, -5.0, 3.0, 0.0]  # the vector of the token that does not count
    table.value = changed
    second = edgeml.function(run)(tokens)
    counted = tokens != 0
    np.testing.assert_allclose(first[counted], second[counted], rtol=1e-5, atol=1e-5)
    assert np.abs(first[~counted] - second[~counted]).max() > 0.1


def test_a_mask_ends_where_steps_end():
    seen = []

    class Look(layers.Layer):
        def call(self, x):
            seen.append(mask_of(x) is not None)
            return x

    tokens = np.array(TOKENS[0])
    edgeml.Sequential([
        layers.Embedding(8, 4, mask_zero=True), Look(), layers.LSTM(4, return_sequences=True),
        Look(), layers.Reshape((2, 10)), Look(),
    ]).predict(tokens)  # fmt: skip
    assert seen[:3] == [True, True, False]


@pytest.mark.parametrize("renorm", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_batch_normalization_trains_on_steps_that_count(masked, renorm):
    x = (rng.standard_normal((3, 7, 4)) * 2 + 1).astype(np.float32)
    mask = np.array([[1] * 7, [1, 1, 1, 0, 0, 0, 0], [0, 1, 0, 1, 0, 1, 1]], bool)
    given = {"mask": mask} if masked else {}
    ours = layers.BatchNormalization(renorm=renorm)
    theirs = keras.layers.BatchNormalization(renorm=renorm)
    theirs.build((None, 7, 4))
    tensor = torch.tensor(x, requires_grad=True)
    expected = theirs(tensor, training=True, **{k: torch.tensor(v) for k, v in given.items()})
    g = rng.standard_normal(x.shape).astype(np.float32)
    (wanted,) = torch.autograd.grad(expected, [tensor], torch.tensor(g))

    def loss(v):
        y = ours(v, training=True, **given)
        new = {p.parameter.name: value for p, value in v.graph.root().updates.items()}
        return ops.sum(y * g), (y, new)

    (_, (y, new)), received = value_and_grad(loss, has_aux=True)(x)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(received, wanted.numpy(), rtol=1e-4, atol=1e-5)
    for weight in theirs.non_trainable_weights:
        value = weight.value.detach().numpy()
        np.testing.assert_allclose(new[weight.name], value, rtol=1e-5, atol=1e-6)
