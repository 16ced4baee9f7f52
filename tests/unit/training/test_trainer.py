"""Training of ONNX files."""

import asyncio

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_digits

import edgeml
from edgeml import ops
from edgeml.errors import CheckpointError, DataError, NoGradient, NonFinite, TrainingError
from edgeml.graph import _rules
from edgeml.layers import Conv2D, Dense, Dropout, Flatten, Input, MaxPooling2D
from edgeml.runtime import available
from edgeml.training import Trainer

X = (load_digits().images / 16).astype(np.float32)[..., None]
Y = load_digits().target
SCCE = "sparse_categorical_crossentropy"
INT8 = "edgeml/models/activity_watch_int8.onnx"


@pytest.fixture
def path(tmp_path):
    edgeml.layers.set_random_seed(0)
    edgeml.layers.clear_names()
    model = edgeml.Sequential([
        Input((8, 8, 1)), Conv2D(4, 3, activation="relu"), MaxPooling2D(), Flatten(), Dropout(0.2),
        Dense(16, activation="relu"), Dense(10, activation="softmax"),
    ])  # fmt: skip
    file = tmp_path / "digits.onnx"
    model.save(file)
    return file


@pytest.mark.parametrize(("trainable", "names"), [
    ("head", ["dense_1/kernel", "dense_1/bias"]),
    ("last:2", ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]),
    ("bias", ["conv2d/bias", "dense/bias", "dense_1/bias"]),
    ("conv2d/*", ["conv2d/kernel", "conv2d/bias"]),
    (["*1/bias", "conv2d/kernel"], ["conv2d/kernel", "dense_1/bias"]),
])  # fmt: skip
def test_what_is_trained(path, trainable, names):
    trainer = Trainer(path, loss=SCCE, trainable=trainable)
    assert [name.split("/", 1)[1] for name in trainer.parameters] == names or (
        trainer.parameters == names
    )
    found = trainer.gradients(X[:8], Y[:8])
    assert list(found) == trainer.parameters
    before = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    trainer.step(X[:8], Y[:8])
    trainer.export(path)
    after = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == set(trainer.parameters)


def test_a_pattern_that_matches_nothing_names_the_nearest(path):
    with pytest.raises(TrainingError, match=r"matches none of .* nearest are .*dense"):
        Trainer(path, loss=SCCE, trainable="dence*")


def test_fit_export_and_run_anywhere(path, tmp_path):
    trainer = Trainer(path, loss=SCCE, metrics=["accuracy"], optimizer=edgeml.optimizers.Adam(5e-3))
    assert not trainer.from_logits
    trainer.fit(X[:1400], Y[:1400], epochs=16, verbose=0, validation_data=(X[1400:], Y[1400:]))
    assert trainer.history.history["val_accuracy"][-1] > 0.85
    trainer.export(tmp_path / "trained.onnx")
    with edgeml.load(tmp_path / "trained.onnx") as session:
        made = next(iter(session.run({session.inputs[0].name: X[1400:]}).values()))
    np.testing.assert_allclose(made, trainer.predict(X[1400:]), atol=1e-6)
    assert edgeml.load_model(tmp_path / "trained.onnx").get_layer("dense").units == 16


def test_the_loss_of_probabilities_is_that_of_logits(path):
    trainer = Trainer(path, loss=SCCE, trainable="head", optimizer="sgd")
    p = trainer.predict(X[:32])
    expected = -np.log(p[np.arange(32), Y[:32]]).mean()
    assert trainer.evaluate(X[:32], Y[:32])["loss"] == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def no_dropout(monkeypatch):
    """Make each step see the same network, whatever its batch."""
    monkeypatch.setattr("edgeml.training._file._train_mode", lambda *_: None)


def test_gradients_of_the_head_are_softmax_minus_target(path, no_dropout):
    trainer = Trainer(path, loss=SCCE, trainable="head")
    bias = next(v for name, v in trainer.gradients(X[:16], Y[:16]).items() if "bias" in name)
    wrong = trainer.predict(X[:16]) - np.eye(10)[Y[:16]]
    np.testing.assert_allclose(bias, wrong.mean(0), rtol=1e-4, atol=1e-6)


def test_a_loss_of_ones_own(path):
    def loss(outputs, targets, weights):
        hot = ops.one_hot(targets, 10)
        return ops.mean(ops.square(outputs - hot))

    trainer = Trainer(path, loss=loss, optimizer="adam")
    losses = [trainer.step(X[:64], Y[:64]) for _ in range(20)]
    assert losses[-1] < losses[0]


def test_resume_goes_on_bit_for_bit(path, tmp_path):
    def options():
        return {"loss": SCCE, "optimizer": edgeml.optimizers.Adam(3e-3), "seed": 4}

    whole = Trainer(path, **options())
    whole.fit(X[:200], Y[:200], epochs=4, verbose=0)
    first = Trainer(path, **options())
    first.fit(X[:200], Y[:200], epochs=2, verbose=0)
    first.checkpoint(tmp_path / "c.npz")
    second = Trainer.resume(tmp_path / "c.npz", model=path)
    second.fit(X[:200], Y[:200], epochs=4, verbose=0)
    np.testing.assert_array_equal(second.predict(X[:9]), whole.predict(X[:9]))
    assert second.optimizer.iterations == whole.optimizer.iterations


def test_checkpoints_that_do_not_fit(path, tmp_path):
    trainer = Trainer(path, loss=SCCE)
    file = tmp_path / "c.npz"
    with pytest.raises(CheckpointError, match="no step was done"):
        trainer.checkpoint(file)
    trainer.step(X[:8], Y[:8])
    trainer.checkpoint(file)
    with pytest.raises(CheckpointError, match="another model"):
        Trainer.resume(file, model=INT8)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        Trainer.resume(file)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        Trainer.resume(tmp_path / "nothing.npz")
    with pytest.raises(CheckpointError, match="cannot be written"):
        trainer.checkpoint("/proc/nothing/c.npz")


def test_a_full_disk_keeps_the_old_checkpoint(path, tmp_path, monkeypatch):
    import errno
    import os

    trainer = Trainer(path, loss=SCCE)
    trainer.step(X[:8], Y[:8])
    file = tmp_path / "c.npz"
    trainer.checkpoint(file)
    before = file.read_bytes()

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match="No space left"):
        trainer.checkpoint(file)
    monkeypatch.undo()
    assert file.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.npz", "digits.onnx"]


def test_bad_data_is_named(path):
    trainer = Trainer(path, loss=SCCE)
    with pytest.raises(DataError, match="class numbers 0 to 9"):
        trainer.step(X[:4], Y[:4] + 10)
    x = X[:4].copy()
    x[2] = np.inf
    with pytest.raises(NonFinite, match="holds inf"):
        trainer.step(x, Y[:4])
    with pytest.raises(DataError, match="y is missing"):
        trainer.gradients(X[:4], None)


@pytest.fixture
def no_rule(monkeypatch):
    """Take away the rule of MaxRoiPool, which is then like an operator that has none."""
    edgeml.graph.supported_ops()
    monkeypatch.delitem(_rules._rules, ("", "MaxRoiPool"))


def test_an_operator_without_a_rule_is_named_before_training(no_rule):
    helper = onnx.helper
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], name="project"),
        helper.make_node("MaxRoiPool", ["h", "rois"], ["y"], name="regions", pooled_shape=[1, 1]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["N", 1, 3, 3])],
        [helper.make_tensor_value_info("y", 1, [2, 1, 1, 1])],
        [onnx.numpy_helper.from_array(np.eye(3, dtype=np.float32), "w"),
         onnx.numpy_helper.from_array(np.zeros((2, 5), np.float32), "rois")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    trainer = Trainer(model, loss="mse")
    with pytest.raises(NoGradient, match=r"::MaxRoiPool, node 'regions'.*stop_gradient") as error:
        trainer.step(np.ones((2, 1, 3, 3)), np.ones((2, 1, 1, 1)))
    assert error.value.op == "ai.onnx::MaxRoiPool"


def test_memory_limit_makes_small_steps_of_the_same_gradient(path, caplog, no_dropout):
    def train(limit):
        trainer = Trainer(path, loss=SCCE, optimizer=edgeml.optimizers.SGD(0.1), batch_size=64,
                          trainable="head", memory_limit=limit)  # fmt: skip
        trainer.fit(X[:128], Y[:128], shuffle=False, verbose=0)
        return trainer

    free = train(None)
    need = free.predicted_memory(X[:64], Y[:64])
    tight = train((free.predicted_memory(X[:32], Y[:32]) + need) // 2)
    assert "accumulated" in caplog.text
    assert tight.predicted_memory(X[:32], Y[:32]) < need
    np.testing.assert_allclose(tight.predict(X[:8]), free.predict(X[:8]), rtol=1e-4, atol=1e-6)
    with pytest.raises(TrainingError, match="too little"):
        train(1000)


def test_cached_features_give_the_same_head(path, no_dropout):
    def train(cached):
        trainer = Trainer(path, loss=SCCE, optimizer="sgd", trainable="head",
                          cache_features=cached)  # fmt: skip
        trainer.fit(X[:128], Y[:128], epochs=2, verbose=0)
        return trainer.predict(X[:8])

    np.testing.assert_allclose(train(True), train(False), rtol=1e-5, atol=1e-6)


def test_a_quantized_model_trains_and_stays_quantized(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 100, 6)).astype(np.float32) * 5
    y = rng.integers(0, 7, 64)
    trainer = Trainer(INT8, loss=SCCE, trainable="last:2", optimizer="adam")
    losses = [trainer.step(x, y) for _ in range(30)]
    assert losses[-1] < losses[0] - 0.05
    trainer.export(tmp_path / "trained.onnx")
    before, after = onnx.load(INT8), onnx.load(tmp_path / "trained.onnx")
    assert [n.op_type for n in before.graph.node] == [n.op_type for n in after.graph.node]
    kinds = {t.name: t.data_type for t in after.graph.initializer}
    assert all(kinds[t.name] == t.data_type for t in before.graph.initializer)
    assert trainer.evaluate(x, y)["loss"] < losses[0]


def test_batch_normalization_frozen_or_trained(tmp_path):
    model = edgeml.Sequential([
        Input((8, 8, 1)), Conv2D(4, 3), edgeml.layers.BatchNormalization(), Flatten(), Dense(10),
    ])  # fmt: skip
    model.save(tmp_path / "m.onnx")

    def statistics(mode):
        trainer = Trainer(tmp_path / "m.onnx", loss=SCCE, batch_norm=mode)
        trainer.step(X[:32], Y[:32])
        trainer.export(tmp_path / "out.onnx")
        proto = onnx.load(tmp_path / "out.onnx")
        found = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
        return next(v for name, v in found.items() if name.endswith("moving_mean"))

    np.testing.assert_array_equal(statistics("frozen"), np.zeros(4))
    assert np.abs(statistics("train")).max() > 0


async def test_fit_async(path):
    trainer = Trainer(path, loss=SCCE)
    with pytest.raises(TrainingError, match="fit_async"):
        trainer.fit(X[:64], Y[:64], verbose=0)
    history = await asyncio.wait_for(trainer.fit_async(X[:64], Y[:64], verbose=0), 60)
    assert len(history.epoch) == 1


def test_a_step_on_openvino_is_that_on_the_cpu(tmp_path):
    found = available("openvino")
    if not found:
        pytest.skip(str(found))
    model = edgeml.Sequential([Input((8,)), Dense(16, "relu"), Dense(3)])
    model.save(tmp_path / "net.onnx")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 8)).astype(np.float32), rng.integers(0, 3, 16)
    losses = [
        [
            Trainer(
                tmp_path / "net.onnx", loss="sparse_categorical_crossentropy", from_logits=True,
                delegate=delegate,
            ).step(x, y)
        ]
        for delegate in ("cpu", "openvino")
    ]  # fmt: skip
    np.testing.assert_allclose(*losses, rtol=1e-5)
