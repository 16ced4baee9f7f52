"""Values of layers and activations that Keras on PyTorch does not share, or has no layer for."""

import numpy as np
import pytest

import edgeml
from edgeml import activations, layers, ops

rng = np.random.default_rng(0)


def _x(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("axis", [-1, 1])
def test_sparsemax_is_the_nearest_distribution(axis):
    """Martins and Astudillo (2016), proposition 1: what is kept lies above one threshold."""
    x = _x(4, 6, 5) * 2
    y = edgeml.function(lambda v: activations.sparsemax(v, axis))(x)
    np.testing.assert_allclose(y.sum(axis), 1.0, atol=1e-5)
    assert (y >= 0).all()
    assert (y == 0).mean() > 0.3
    x, y = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]), np.moveaxis(y, axis, -1)
    for values, kept in zip(x, y.reshape(x.shape), strict=True):
        tau = (values - kept)[kept > 0]
        np.testing.assert_allclose(tau, tau[0], atol=1e-5)
        assert (values[kept == 0] <= tau[0] + 1e-5).all()


def test_the_gradient_of_sparsemax_is_that_of_the_kept():
    x, g = np.array([1.0, 0.5, -1.0], np.float32), np.array([1.0, 3.0, 7.0], np.float32)
    found = edgeml.grad(lambda v: ops.sum(activations.sparsemax(v) * g))(x)
    np.testing.assert_allclose(found, [-1.0, 1.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("rank", [1, 2])
def test_padding_does_not_count_in_means(rank):
    x = _x(2, *(5, 6)[:rank], 3)
    y = getattr(layers, f"AveragePooling{rank}D")(3, strides=2, padding="same")(x)
    ones = getattr(layers, f"AveragePooling{rank}D")(3, strides=2, padding="same")(np.ones_like(x))
    np.testing.assert_allclose(ones, 1.0, atol=1e-6)
    corner = x[(slice(None), *[slice(0, 2)] * rank)] if rank == 1 else x[:, 0:2, 0:2]
    # Of an even size there is one more at the end than at the start: TensorFlow's rule.
    if rank == 1:
        np.testing.assert_allclose(y[:, 0], corner.mean(1), rtol=1e-5)


@pytest.mark.parametrize("size", [2, 3])
def test_bicubic_is_that_of_pictures(size):
    image = pytest.importorskip("PIL.Image", reason="Pillow comes with the plot extra")
    x = _x(6, 5)
    expected = np.asarray(image.fromarray(x).resize((5 * size, 6 * size), image.BICUBIC))
    made = layers.UpSampling2D(size, interpolation="bicubic")(x[None, :, :, None])
    np.testing.assert_allclose(made[0, :, :, 0], expected, atol=1e-5)


def test_the_gradient_of_bicubic_is_its_transpose():
    up = layers.UpSampling2D(2, interpolation="bicubic")
    x, g = _x(1, 4, 3, 2), _x(1, 8, 6, 2)
    value, found = edgeml.value_and_grad(lambda v: ops.sum(up(v) * g))(x)
    assert float(value) == pytest.approx(float((found * x).sum()), rel=1e-4)


def test_a_threshold_of_relu():
    x = np.array([-1.0, 0.5, 1.5, 8.0])
    assert layers.ThresholdedReLU()(x).tolist() == [0.0, 0.0, 1.5, 8.0]
    run = edgeml.function(lambda v: activations.threshold(v, 1.0, -2.0))
    assert run(x).tolist() == [-2.0, -2.0, 1.5, 8.0]


def test_a_reversible_embedding_is_tied():
    layer = layers.ReversibleEmbedding(7, 3)
    tokens = np.array([[1, 6, 0]])
    vectors = layer(tokens)
    np.testing.assert_allclose(
        layer(vectors, reverse=True), vectors @ layer.embeddings.value.T, rtol=1e-5
    )


def test_positions_may_be_given():
    x = _x(2, 3, 4)
    embedding, places = layers.PositionEmbedding(10), np.array([[0, 5, 2], [1, 1, 9]])
    made = edgeml.function(lambda v: embedding(v, positions=places))(x)
    np.testing.assert_allclose(made, embedding.position_embeddings.value[places])
    for layer in (layers.SinePositionEncoding(), layers.RotaryEmbedding()):
        run = edgeml.function(lambda v, layer=layer: layer(v, positions=np.array([2, 3, 4])))
        later = edgeml.function(lambda v, layer=layer: layer(v, start_index=2))
        np.testing.assert_allclose(run(x), later(x), atol=1e-6)


def test_rotated_products_depend_on_the_distance():
    layer = layers.RotaryEmbedding()
    vector = np.broadcast_to(_x(8), (1, 6, 8)).copy()
    turned = layer(vector)[0]
    products = turned @ turned.T
    for back in range(1, 5):
        near = np.diagonal(products, back)
        np.testing.assert_allclose(near, near[0], rtol=1e-4)


def test_kernels_of_attention_start_by_what_a_head_sees():
    layer = layers.MultiHeadAttention(8, 16)
    layer(_x(1, 2, 64), _x(1, 2, 64))
    limit = np.sqrt(6 / (64 + 8 * 16))
    kernel = layer.query.kernel.value
    assert kernel.shape == (64, 8, 16)
    assert np.abs(kernel).max() == pytest.approx(limit, rel=0.01)


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "average", "maximum", "minimum"])
def test_functions_of_merges(name):
    a, b = _x(2, 3), _x(2, 3)
    numpy = {"average": lambda p, q: (p + q) / 2}.get(name, getattr(np, name))
    np.testing.assert_allclose(getattr(layers, name)([a, b]), numpy(a, b), rtol=1e-6)


def test_a_stateful_layer_goes_on():
    for build in (layers.LSTM, lambda n, **k: layers.RNN(layers.LSTMCell(n), **k)):
        layer = build(3, stateful=True)
        model = edgeml.Sequential([layers.Input((2, 4), 1), layer])
        whole = edgeml.Sequential([layers.Input((6, 4), 1), build(3)])
        whole.set_weights([w for w in model.get_weights() if w.shape != (1, 3)])
        x = _x(1, 6, 4)
        first, _, last = (model.predict(x[:, i : i + 2]) for i in (0, 2, 4))
        np.testing.assert_allclose(last, whole.predict(x), rtol=1e-4, atol=1e-5)
        layer.reset_state()
        np.testing.assert_allclose(model.predict(x[:, :2]), first, rtol=1e-6)
