"""Low-rank adapters: of layers, of models, of any ONNX file."""

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits

import edgeml
from edgeml import layers
from edgeml.errors import ConfigError, ModelFormatError, ShapeError, TrainingError
from edgeml.layers._lora import adapter_of, adapters_of
from edgeml.training import Trainer

rng = np.random.default_rng(0)
X = (load_digits().data / 16).astype(np.float32)
Y = load_digits().target
SCCE = "sparse_categorical_crossentropy"
PICTURE = rng.standard_normal((2, 7, 7, 4)).astype(np.float32)
SERIES = rng.standard_normal((2, 9, 4)).astype(np.float32)
LAYERS = [
    (lambda: layers.Dense(3, activation="relu"), PICTURE),
    (lambda: layers.Conv2D(6, 3, strides=2, padding="same"), PICTURE),
    (lambda: layers.Conv2D(6, 1, use_bias=False), PICTURE),
    (lambda: layers.Conv2D(6, 3, groups=2), PICTURE),
    (lambda: layers.Conv1D(6, 3, padding="causal", dilation_rate=2), SERIES),
    (lambda: layers.Conv2DTranspose(6, 3, strides=2), PICTURE),
    (lambda: layers.EinsumDense("abc,cd->abd", output_shape=(None, 5)), SERIES),
    (lambda: layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 3)), SERIES),
    (lambda: layers.Embedding(6, 5), np.array([[1, 2, 5, 1]])),
]


@pytest.mark.parametrize(("make", "x"), LAYERS)
def test_a_layer_starts_the_same_and_its_merged_kernel_does_the_same(make, x):
    layer = make()
    before = layer(x)
    layer.enable_lora(2, lora_alpha=4)
    np.testing.assert_array_equal(layer(x), before)
    adapter = adapter_of(layer)
    assert not adapter.weight.trainable
    assert {p.name for p in layer.trainable_weights} <= {
        "bias",
        "lora_kernel_a",
        "lora_kernel_b",
        "lora_embeddings_a",
        "lora_embeddings_b",
    }
    adapter.b.value = rng.standard_normal(adapter.b.shape)
    changed = layer(x)
    assert np.abs(changed - before).max() > 0.01
    plain = make()
    plain(x)
    weights = [p.value for p in layer.weights if p not in (adapter.a, adapter.b)]
    plain.set_weights([adapter.merged() if w is adapter.weight.value else w for w in weights])
    np.testing.assert_allclose(plain(x), changed, rtol=1e-5, atol=1e-5)


def test_the_path_has_low_rank_where_the_operator_allows_it():
    layer = layers.Dense(64)
    layer(np.ones((1, 64)))
    layer.enable_lora(2)
    graph = edgeml.function(layer).trace(np.ones((4, 64), np.float32))
    shapes = {node.output.shape for node in graph.nodes if node.op == "MatMul"}
    assert (64, 64) not in shapes  # no changed kernel is made
    assert (4, 2) in shapes


def _model():
    layers.set_random_seed(1)
    return edgeml.Sequential([
        edgeml.Input((64,)), layers.Dense(32, activation="relu"), layers.BatchNormalization(),
        layers.Dense(10),
    ])  # fmt: skip


def _adapted(path):
    """Train a model on some digits, save it, and adapt the loaded one to others."""
    model = _model()
    loss = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    model.fit(X[:800], Y[:800], epochs=5, verbose=0)
    model.save(path)
    again = edgeml.load_model(path)
    again.predict(X[:2])  # compiled before it is adapted
    again.enable_lora(2)
    again.compile(edgeml.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    return model, again


def test_a_model_learns_with_its_weights_frozen(tmp_path):
    base, model = _adapted(tmp_path / "base.onnx")
    np.testing.assert_array_equal(model.predict(X[:50]), base.predict(X[:50]))
    frozen = [p.value.copy() for p in model.weights if not p.trainable]
    assert sum(np.prod(p.shape) for p in model.trainable_weights) == 2 * (64 + 32 + 32 + 10)
    turned = X.reshape(-1, 8, 8).transpose(0, 2, 1).reshape(-1, 64)
    before = model.evaluate(turned[1000:], Y[1000:])["accuracy"]
    model.fit(turned[:1000], Y[:1000], epochs=15, verbose=0)
    assert model.evaluate(turned[1000:], Y[1000:])["accuracy"] > before + 0.3
    statistics = ("moving_mean", "moving_variance")
    for old, p in zip(frozen, [p for p in model.weights if not p.trainable], strict=True):
        if p.name not in statistics:
            np.testing.assert_array_equal(old, p.value)
    model.save(tmp_path / "merged.onnx")
    merged = edgeml.load_model(tmp_path / "merged.onnx")
    assert len(merged.weights) == len(base.weights)
    np.testing.assert_allclose(merged.predict(turned), model.predict(turned), rtol=1e-5, atol=1e-5)
    assert not any("lora" in t.name for t in onnx.load(tmp_path / "merged.onnx").graph.initializer)


def test_adapters_alone_are_a_small_file(tmp_path):
    _, model = _adapted(tmp_path / "base.onnx")
    model.layers[1].trainable = False  # its statistics stay the file's
    model.fit(X[:200], Y[:200], verbose=0)
    model.save_lora_weights(tmp_path / "adapters.npz")
    size = (tmp_path / "adapters.npz").stat().st_size
    assert size < (tmp_path / "base.onnx").stat().st_size
    other = edgeml.load_model(tmp_path / "base.onnx")
    with pytest.raises(ConfigError, match="no adapters"):
        other.load_lora_weights(tmp_path / "adapters.npz")
    other.enable_lora(2)
    names = [a.weight.path for a in adapters_of(other)]
    for adapter, name in zip(adapters_of(model), names, strict=True):
        adapter.weight.path = name  # automatic names count on from model to model
    model.save_lora_weights(tmp_path / "adapters.npz")
    other.load_lora_weights(tmp_path / "adapters.npz")
    for a, b in zip(adapters_of(model), adapters_of(other), strict=True):
        np.testing.assert_array_equal(a.merged(), b.merged())
    third = edgeml.load_model(tmp_path / "base.onnx")
    third.enable_lora(3)
    for a, name in zip(adapters_of(third), names, strict=True):
        a.weight.path = name
    with pytest.raises(ShapeError, match="rank 2"):
        third.load_lora_weights(tmp_path / "adapters.npz")
    (tmp_path / "bad.npz").write_bytes(b"no")
    with pytest.raises(ModelFormatError, match="no adapters"):
        third.load_lora_weights(tmp_path / "bad.npz")


def test_attention_is_adapted_head_by_head(tmp_path):
    layers.set_random_seed(1)
    x = edgeml.Input((6, 8))
    y = layers.Dense(2)(layers.GlobalAveragePooling1D()(
        layers.TransformerEncoder(16, 2, name="block")(x)))  # fmt: skip
    model = edgeml.Model(x, y)
    data = rng.standard_normal((12, 6, 8)).astype(np.float32)
    before = model.predict(data)
    model.enable_lora(2)
    assert len(adapters_of(model)) == 7  # query, key, value, output, two layers, and the head
    np.testing.assert_array_equal(model.predict(data), before)
    model.compile("adam", "mse")
    model.fit(data, np.ones((12, 2)), epochs=3, verbose=0)
    model.save(tmp_path / "merged.onnx")
    merged = edgeml.load_model(tmp_path / "merged.onnx")
    np.testing.assert_allclose(merged.predict(data), model.predict(data), rtol=1e-5, atol=1e-5)


@pytest.fixture
def picture_model(tmp_path):
    layers.set_random_seed(1)
    model = edgeml.Sequential([
        edgeml.Input((8, 8, 1)), layers.Conv2D(8, 3, activation="relu"),
        layers.Conv2D(8, 1, activation="relu"), layers.Flatten(), layers.Dense(10,
        activation="softmax"),
    ])  # fmt: skip
    model.compile("adam", SCCE)
    model.fit(X[:600].reshape(-1, 8, 8, 1), Y[:600], epochs=3, verbose=0)
    path = tmp_path / "pictures.onnx"
    model.save(path)
    return path


def test_any_file_is_adapted_and_merged(picture_model, tmp_path):
    x = X.reshape(-1, 8, 8, 1)
    plain = Trainer(picture_model, loss=SCCE)
    trainer = Trainer(picture_model, loss=SCCE, metrics=["accuracy"],
                      optimizer=edgeml.optimizers.Adam(0.01))  # fmt: skip
    trainer.enable_lora(2)
    assert len(trainer.parameters) == 6
    start = trainer.evaluate(x[:100], Y[:100])
    assert start["loss"] == pytest.approx(plain.evaluate(x[:100], Y[:100])["loss"], rel=1e-6)
    turned = x.transpose(0, 2, 1, 3).copy()
    before = trainer.evaluate(turned[1000:], Y[1000:])["accuracy"]
    trainer.fit(turned[:1000], Y[:1000], epochs=10, verbose=0)
    after = trainer.evaluate(turned[1000:], Y[1000:])
    assert after["accuracy"] > before + 0.3
    trainer.export(tmp_path / "merged.onnx")
    given, made = onnx.load(picture_model), onnx.load(tmp_path / "merged.onnx")
    assert [n.op_type for n in given.graph.node] == [n.op_type for n in made.graph.node]
    again = Trainer(tmp_path / "merged.onnx", loss=SCCE, metrics=["accuracy"])
    found = again.evaluate(turned[1000:], Y[1000:])
    assert found["loss"] == pytest.approx(after["loss"], rel=1e-5)
    trainer.save_lora_weights(tmp_path / "adapters.npz")
    other = Trainer(picture_model, loss=SCCE, metrics=["accuracy"])
    other.enable_lora(2)
    other.load_lora_weights(tmp_path / "adapters.npz")
    np.testing.assert_array_equal(other.predict(turned[:50]), trainer.predict(turned[:50]))
    assert other.evaluate(turned[1000:], Y[1000:]) == after


def test_training_goes_on_bit_for_bit(picture_model, tmp_path):
    x = X.reshape(-1, 8, 8, 1)
    trainer = Trainer(picture_model, loss=SCCE)
    trainer.enable_lora(2, lora_alpha=4, weights=["*kernel*"])
    trainer.step(x[:32], Y[:32])
    trainer.checkpoint(tmp_path / "state.npz")
    again = Trainer.resume(tmp_path / "state.npz")
    for t in (trainer, again):
        t.step(x[32:64], Y[32:64])
    np.testing.assert_array_equal(again.predict(x[:8]), trainer.predict(x[:8]))
    for a, b in zip(trainer.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("op", "options", "shape", "x"), [
    ("Gemm", {"transB": 1, "alpha": 0.5}, (5, 4), (6, 4)), ("Gemm", {"alpha": 0.5}, (4, 5), (6, 4)),
    ("MatMul", {}, (4, 5), (6, 4)), ("Conv", {"strides": [2]}, (5, 4, 3), (6, 4, 9)),
    ("Conv", {"pads": [1, 1, 1, 1]}, (5, 4, 3, 3), (6, 4, 5, 5)),
    ("Gather", {}, (7, 5), None),
])  # fmt: skip
def test_each_operator_and_layout(op, options, shape, x):
    w = rng.standard_normal(shape).astype(np.float32)
    data = rng.integers(0, 7, (6, 3)) if x is None else rng.standard_normal(x).astype(np.float32)
    helper, kind = onnx.helper, 7 if x is None else 1
    node = helper.make_node(op, ["w", "x"] if op == "Gather" else ["x", "w"], ["y"], **options)
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", kind, ["N", *data.shape[1:]])],
        [helper.make_tensor_value_info("y", 1, None)], [onnx.numpy_helper.from_array(w, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    plain = Trainer(model, loss="mse")
    trainer = Trainer(model, loss="mse", optimizer=edgeml.optimizers.SGD(0.5))
    y = np.ones_like(plain.predict(data))
    trainer.enable_lora(2)
    start = plain.evaluate(data, y)["loss"]
    for _ in range(3):
        trainer.step(data, y)
    loss = trainer.evaluate(data, y)["loss"]
    assert loss < 0.98 * start
    assert np.mean((trainer.predict(data) - 1) ** 2) == pytest.approx(loss, rel=1e-5)


def test_less_memory_is_taken(tmp_path):
    layers.set_random_seed(1)
    wide = [edgeml.Input((64,)), *[layers.Dense(512, activation="relu") for _ in range(4)],
            layers.Dense(10, activation="softmax")]  # fmt: skip
    edgeml.Sequential(wide).save(tmp_path / "wide.onnx")
    full = Trainer(tmp_path / "wide.onnx", loss=SCCE)
    adapted = Trainer(tmp_path / "wide.onnx", loss=SCCE)
    adapted.enable_lora(4)
    taken = [t.predicted_memory(X[:32], Y[:32]) for t in (full, adapted)]
    assert taken[1] < 0.5 * taken[0]


def test_bad_input_is_told(picture_model):
    layer = layers.Dense(2, name="head")
    for call, says in [
        (lambda: layer.enable_lora(2), "head.*not built"),
        (lambda: layers.ReLU().enable_lora(1), "not built"),
        (lambda: (layer(np.ones((1, 2))), layer.enable_lora(0)), "rank: expected at least 1"),
        (lambda: (layer.enable_lora(1), layer.enable_lora(1)), "already"),
        (lambda: edgeml.Sequential([layers.ReLU()]).enable_lora(1), "no layer with a kernel"),
    ]:
        with pytest.raises(ConfigError, match=says):
            call()
    trainer = Trainer(picture_model, loss=SCCE)
    with pytest.raises(TrainingError, match="no adapters"):
        trainer.save_lora_weights("nowhere.npz")
    with pytest.raises(TrainingError, match="no weight of a MatMul"):
        trainer.enable_lora(2, weights="*bias*")
    trainer.step(X[:8].reshape(-1, 8, 8, 1), Y[:8])
    with pytest.raises(TrainingError, match="before the first step"):
        trainer.enable_lora(2)
