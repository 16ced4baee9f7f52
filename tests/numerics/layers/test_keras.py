"""Every layer against Keras 3: outputs, gradients, shapes and order of the weights."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

from edgeml import layers, ops, value_and_grad  # noqa: E402
from edgeml.graph import function  # noqa: E402

rng = np.random.default_rng(0)


def _x(*shape):
    return rng.standard_normal(shape).astype(np.float32)


IMAGE, SERIES, VOLUME, ROWS = _x(2, 7, 6, 4), _x(2, 9, 4), _x(1, 5, 4, 6, 2), _x(3, 5)
CASES = [
    ("Dense", {"units": 4}, ROWS), ("Dense", {"units": 4, "activation": "relu"}, SERIES),
    ("Dense", {"units": 3, "activation": "softmax", "use_bias": False}, ROWS),
    *(("Conv1D", {"filters": 6, "kernel_size": 3, **k}, SERIES) for k in (
        {}, {"strides": 2, "padding": "same"}, {"padding": "causal", "dilation_rate": 2},
        {"groups": 2, "activation": "tanh"})),
    *(("Conv2D", {"filters": 6, "kernel_size": 3, **k}, IMAGE) for k in (
        {}, {"strides": 2, "padding": "same", "activation": "relu"}, {"groups": 2},
        {"dilation_rate": 2, "padding": "same"}, {"kernel_size": (2, 3), "use_bias": False},
        {"kernel_size": 1}, {"kernel_size": 5, "padding": "same", "strides": 3})),
    *(("Conv3D", {"filters": 3, "kernel_size": 2, **k}, VOLUME) for k in (
        {}, {"strides": 2, "padding": "same"})),
    ("Conv1DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2}, SERIES),
    *(("Conv2DTranspose", {"filters": 3, "kernel_size": 3, **k}, IMAGE) for k in (
        {}, {"strides": 2}, {"strides": 2, "padding": "same"}, {"kernel_size": 2, "strides": 2},
        {"kernel_size": 4, "strides": 2, "padding": "same", "activation": "relu"})),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 2, "strides": 2}, VOLUME),
    ("DepthwiseConv1D", {"kernel_size": 3}, SERIES),
    *(("DepthwiseConv2D", {"kernel_size": 3, **k}, IMAGE) for k in (
        {}, {"padding": "same", "depth_multiplier": 2}, {"strides": 2, "activation": "relu"})),
    ("SeparableConv1D", {"filters": 5, "kernel_size": 3}, SERIES),
    *(("SeparableConv2D", {"filters": 5, "kernel_size": 3, **k}, IMAGE) for k in (
        {}, {"padding": "same", "depth_multiplier": 2, "activation": "relu"})),
    *((f"{kind}Pooling{r}D", k, {1: SERIES, 2: IMAGE, 3: VOLUME}[r])
      for kind, more in (("Max", "same"), ("Average", "valid")) for r in (1, 2, 3)
      # Keras on PyTorch counts padding in "same" averages; TensorFlow and we do not.
      for k in ({"pool_size": 2}, {"pool_size": 3, "strides": 2, "padding": more})),
    *((f"Global{kind}Pooling{r}D", {"keepdims": keep}, {1: SERIES, 2: IMAGE, 3: VOLUME}[r])
      for kind in ("Max", "Average") for r in (1, 2, 3) for keep in (False, True)),
    ("Flatten", {}, IMAGE), ("Reshape", {"target_shape": (6, -1)}, IMAGE),
    ("Permute", {"dims": (2, 1, 3)}, IMAGE), ("RepeatVector", {"n": 3}, ROWS),
    ("ZeroPadding1D", {"padding": (1, 2)}, SERIES), ("ZeroPadding2D", {"padding": 2}, IMAGE),
    ("ZeroPadding2D", {"padding": ((1, 0), (2, 3))}, IMAGE),
    ("ZeroPadding3D", {"padding": 1}, VOLUME),
    ("Cropping1D", {"cropping": (1, 2)}, SERIES),
    ("Cropping2D", {"cropping": ((1, 0), (2, 1))}, IMAGE),
    ("Cropping3D", {"cropping": 1}, VOLUME),
    ("UpSampling1D", {"size": 2}, SERIES), ("UpSampling2D", {"size": (2, 3)}, IMAGE),
    ("UpSampling2D", {"size": 2, "interpolation": "bilinear"}, IMAGE),
    ("UpSampling3D", {"size": 2}, VOLUME),
    ("Rescaling", {"scale": 0.5, "offset": 1.0}, IMAGE),
    *(("Activation", {"activation": name}, ROWS) for name in (
        "relu", "sigmoid", "tanh", "elu", "selu", "gelu", "softplus", "softsign", "silu", "mish",
        "softmax", "log_softmax", "hard_sigmoid", "relu6", "exponential", "leaky_relu", "celu")),
    ("ReLU", {"max_value": 1.0}, ROWS),
    ("ReLU", {"negative_slope": 0.1, "threshold": 0.2}, ROWS),
    ("LeakyReLU", {}, ROWS), ("ELU", {"alpha": 0.7}, ROWS), ("Softmax", {}, ROWS),
    ("PReLU", {"alpha_initializer": "ones", "shared_axes": [1, 2]}, IMAGE),
    ("Dropout", {"rate": 0.5}, ROWS), ("GaussianNoise", {"stddev": 0.5}, ROWS),
    ("SpatialDropout2D", {"rate": 0.5}, IMAGE),
    ("BatchNormalization", {}, IMAGE), ("BatchNormalization", {"scale": False}, ROWS),
    ("BatchNormalization", {"center": False, "epsilon": 0.01}, SERIES),
    ("LayerNormalization", {}, IMAGE), ("LayerNormalization", {"axis": [1, 2]}, SERIES),
    ("GroupNormalization", {"groups": 2}, IMAGE), ("GroupNormalization", {"groups": -1}, SERIES),
    ("SimpleRNN", {"units": 3}, SERIES), ("SimpleRNN", {"units": 3, "activation": "relu"}, SERIES),
    *((name, {"units": 3, **k}, SERIES) for name in ("LSTM", "GRU") for k in (
        {}, {"return_sequences": True}, {"go_backwards": True, "use_bias": False})),
    ("GRU", {"units": 3, "reset_after": False}, SERIES),
]  # fmt: skip


def _id(case):
    return f"{case[0]}-" + "-".join(f"{k}={v}" for k, v in case[1].items())


def _weights(theirs):
    return [w.numpy() if hasattr(w, "numpy") else np.asarray(w) for w in theirs.weights]


def _check(ours, theirs, arrays, training=False, **kwargs):
    """Compare outputs and gradients after giving both the same random weights."""
    tensors = [torch.tensor(a, requires_grad=a.dtype.kind == "f") for a in arrays]
    theirs(*tensors, **kwargs)
    function(lambda *xs: ours(*xs, **kwargs))(*arrays)
    shapes = [tuple(w.shape) for w in theirs.weights]
    assert [p.shape for p in ours.weights] == shapes
    values = [np.abs(_x(*shape)) * 0.3 + 0.1 for shape in shapes]
    ours.set_weights(values)
    theirs.set_weights(values)
    expected = theirs(*tensors, **kwargs)
    g = torch.tensor(_x(*expected.shape))
    trained = [w.value for w in theirs.trainable_weights]
    floats = [t for t in tensors if t.requires_grad]
    wanted = torch.autograd.grad(expected, [*floats, *trained], g, allow_unused=True)

    names = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]

    def loss(inputs, *rest):
        xs = list(arrays)
        for i, x in zip(names, inputs, strict=True):
            xs[i] = x
        y = ours(*[rest[0][i] if i not in names else xs[i] for i in range(len(xs))], **kwargs)
        return ops.sum(y * g.numpy()), y

    (_, y), grads = value_and_grad(loss, has_aux=True)([arrays[i] for i in names], list(arrays))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    for received, want in zip(grads, wanted[: len(floats)], strict=True):
        want = np.zeros(received.shape) if want is None else want.numpy()
        scale = max(1.0, float(np.abs(want).max(initial=0)))
        np.testing.assert_allclose(received, want, rtol=1e-5, atol=1e-5 * scale)
    _check_weight_gradients(ours, arrays, g.numpy(), wanted[len(floats) :], kwargs)


def _check_weight_gradients(ours, arrays, g, wanted, kwargs):
    from edgeml.graph import Graph, gradients, to_onnx
    from edgeml.graph._execute import open_session

    graph = Graph()
    with graph:
        xs = [graph.input(f"x{i}", a.dtype, a.shape) for i, a in enumerate(arrays)]
        loss = ops.sum(ours(*xs, **kwargs) * g)
        weights = [graph.parameter(p) for p in ours.trainable_weights]
        found = gradients([loss], weights) if weights else []
    graph.outputs = {f"g{i}": v for i, v in enumerate(found) if v is not None}
    if not graph.outputs:
        return
    made = open_session(to_onnx(graph)).run(None, {f"x{i}": a for i, a in enumerate(arrays)})
    received = dict(zip(graph.outputs, made, strict=True))
    for i, want in enumerate(wanted):
        if want is None:
            continue
        scale = max(1.0, float(want.abs().max()))
        np.testing.assert_allclose(received[f"g{i}"], want.numpy(), rtol=1e-5, atol=2e-5 * scale)


@pytest.mark.parametrize("case", CASES, ids=_id)
def test_layer_is_keras(case):
    name, config, x = case
    _check(getattr(layers, name)(**config), getattr(keras.layers, name)(**config), [x])


@pytest.mark.parametrize("name", ["Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum",
                                  "Concatenate"])  # fmt: skip
@pytest.mark.parametrize("x", [IMAGE, ROWS], ids=["image", "rows"])
def test_merge_is_keras(name, x):
    other = rng.standard_normal(x.shape).astype(np.float32)
    ours, theirs = getattr(layers, name)(), getattr(keras.layers, name)()
    made = function(lambda a, b: ours([a, b]))(x, other)
    expected = theirs([torch.tensor(x), torch.tensor(other)]).numpy()
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("axes", [1, (2, 1), -1])
def test_dot_is_keras(axes):
    a, b = _x(2, 4, 4), _x(2, 4, 4)
    made = function(lambda p, q: layers.Dot(axes)([p, q]))(a, b)
    expected = keras.layers.Dot(axes)([torch.tensor(a), torch.tensor(b)]).numpy()
    np.testing.assert_allclose(made, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("config", [{}, {"value_dim": 5}, {"use_bias": False}])
@pytest.mark.parametrize("call", [{}, {"use_causal_mask": True}])
def test_attention_is_keras(config, call):
    x = _x(2, 6, 8)
    ours = layers.MultiHeadAttention(num_heads=2, key_dim=3, **config)
    theirs = keras.layers.MultiHeadAttention(num_heads=2, key_dim=3, **config)
    _check(ours, theirs, [x, _x(2, 6, 8)], **call)


@pytest.mark.parametrize("mode", ["concat", "sum", "mul", "ave"])
@pytest.mark.parametrize("sequences", [False, True])
def test_bidirectional_is_keras(mode, sequences):
    ours = layers.Bidirectional(layers.LSTM(3, return_sequences=sequences), merge_mode=mode)
    inner = keras.layers.LSTM(3, return_sequences=sequences)
    _check(ours, keras.layers.Bidirectional(inner, merge_mode=mode), [SERIES])


@pytest.mark.parametrize("name", ["SimpleRNN", "GRU", "LSTM"])
@pytest.mark.parametrize("tokens", [
    [[1, 2, 3, 0, 0], [4, 5, 0, 0, 0]], [[0, 0, 1, 2, 3], [0, 4, 5, 6, 7]],
    [[1, 0, 2, 0, 3], [4, 5, 6, 0, 7]],
], ids=["after", "before", "between"])  # fmt: skip
@pytest.mark.parametrize("sequences", [False, True])
def test_masked_steps_are_keras(name, tokens, sequences):
    tokens = np.array(tokens)

    def build(kit, sequential):
        return sequential([kit.Embedding(8, 4, mask_zero=True),
                           getattr(kit, name)(3, return_sequences=sequences)])  # fmt: skip

    import edgeml

    ours, theirs = build(layers, edgeml.Sequential), build(keras.layers, keras.Sequential)
    expected = theirs(torch.tensor(tokens))
    ours.predict(tokens)
    values = [_x(*w.shape) * 0.5 for w in theirs.weights]
    theirs.set_weights(values)
    ours.set_weights(values)
    expected = theirs(torch.tensor(tokens)).detach().numpy()
    received = ours.predict(tokens)
    if sequences:  # before the first step that counts Keras has its own zeros
        seen = np.maximum.accumulate(tokens != 0, axis=1)
        received, expected = received[seen], expected[seen]
    np.testing.assert_allclose(received, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 4), (3, 5, 5, 4), (3, 7, 4)])
def test_batch_normalization_trains_as_keras(shape):
    x = _x(*shape) * 2 + 1
    ours, theirs = layers.BatchNormalization(), keras.layers.BatchNormalization()
    theirs(torch.tensor(x), training=True)
    theirs.moving_mean.assign(np.zeros(4))
    theirs.moving_variance.assign(np.ones(4))
    tensor = torch.tensor(x, requires_grad=True)
    expected = theirs(tensor, training=True)
    g = _x(*shape)
    (wanted,) = torch.autograd.grad(expected, [tensor], torch.tensor(g))

    def loss(v):
        y = ours(v, training=True)
        return ops.sum(y * g), (y, *v.graph.root().updates.values())

    (_, (y, mean, variance)), received = value_and_grad(loss, has_aux=True)(x)
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(received, wanted.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean, theirs.moving_mean.value.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, theirs.moving_variance.value.numpy(), rtol=1e-5, atol=1e-6)
