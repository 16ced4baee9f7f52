"""Distillation: a student learns a teacher's answers, with labels or without."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

import edgeml
from edgeml.callbacks import Callback
from edgeml.errors import ConfigError, DataError, InputError, ModelFormatError, ShapeError
from edgeml.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from edgeml.optimizers import Adam
from edgeml.quantize import quantize_int8, simplify
from edgeml.quantize._distill import distill
from edgeml.quantize._prune import prune_channels

RNG = np.random.default_rng(0)
CENTERS = RNG.standard_normal((4, 6)).astype(np.float32) * 2
Y = RNG.integers(0, 4, 800)
X = (CENTERS[Y] + RNG.standard_normal((800, 6))).astype(np.float32)


def save(path, units, activation=None, outputs=4, seed=0):
    edgeml.layers.set_random_seed(seed)
    model = edgeml.Sequential([
        Input((6,), name="x"), Dense(units, "relu"), Dense(outputs, activation)
    ])  # fmt: skip
    model.save(path)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def teacher(folder):
    path = folder / "teacher.onnx"
    model = save(path, 32, "softmax")
    model.compile(Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(X, Y, epochs=6, verbose=0)
    model.save(path)
    return simplify(path)


@pytest.fixture(scope="module")
def student(folder):
    save(folder / "student.onnx", 6, "softmax", seed=1)
    return simplify(folder / "student.onnx")


def agreement(run, one, other):
    return (run(one, X[600:]).argmax(1) == run(other, X[600:]).argmax(1)).mean()


def test_unlabelled_examples_are_enough(teacher, student, run):
    before = student.SerializeToString()
    found = distill(student, teacher, X[:600], epochs=12, optimizer=Adam(0.01))
    assert agreement(run, student, teacher) < 0.6
    assert agreement(run, found, teacher) > 0.93
    assert student.SerializeToString() == before


def test_half_of_the_channels_go_and_accuracy_stays(run, tmp_path):
    """Real handwriting: scikit-learn's digits; 1,200 to learn from, 597 to judge."""
    digits = load_digits()
    x, y = (digits.images / 16).astype(np.float32)[..., None], digits.target
    edgeml.layers.set_random_seed(0)
    net = edgeml.Sequential([
        Input((8, 8, 1), name="x"), Conv2D(24, 3, padding="same", activation="relu"),
        Conv2D(32, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(10),
    ])  # fmt: skip
    loss = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(Adam(4e-3), loss)
    net.fit(x[:1200], y[:1200], epochs=8, verbose=0)
    net.save(tmp_path / "digits.onnx")
    dense = simplify(tmp_path / "digits.onnx")
    pruned = prune_channels(dense, 0.5)
    taught = distill(pruned.model, dense, x[:1200], epochs=8, optimizer=Adam(4e-3))
    before, cut, after = (
        (run(model, x[1200:]).argmax(1) == y[1200:]).mean()
        for model in (dense, pruned.model, taught)
    )
    assert before > 0.9
    assert cut < before - 0.05
    assert after > before - 0.015
    assert pruned.report.parameters[1] < 0.6 * pruned.report.parameters[0]


def test_probabilities_come_near_not_classes_alone(teacher, student, run):
    found = distill(student, teacher, X[:600], epochs=12, optimizer=Adam(0.01), temperature=2.0)
    p, q = run(teacher, X[600:]), run(found, X[600:])
    divergence = (p * np.log(np.maximum(p, 1e-7) / np.maximum(q, 1e-7))).sum(1).mean()
    assert divergence < 0.05


@pytest.mark.parametrize("kind", ["softmax", None])
def test_labels_count_with_their_weight(folder, teacher, run, kind):
    path = folder / f"{kind}.onnx"
    save(path, 6, kind, seed=1)
    wrong = (Y[:600] + 1) % 4  # labels that say something else than the teacher
    model = simplify(path)
    found = distill(model, teacher, (X[:600], wrong), hard=1.0, epochs=12, optimizer=Adam(0.01))
    assert (run(found, X[600:]).argmax(1) == (Y[600:] + 1) % 4).mean() > 0.85


def test_the_loss_is_the_textbooks():
    from edgeml.quantize._teach import Distillation

    z, t = RNG.standard_normal((2, 5, 3)).astype(np.float32)
    label = np.array([0, 2, 1, 1, 0], np.float32)
    loss = Distillation(temperature=3.0, hard=0.25, from_logits=True)
    made = edgeml.function(loss)(np.concatenate([t, label[:, None]], 1), z)

    def log_softmax(v):
        return v - np.log(np.exp(v).sum(1, keepdims=True))

    p = log_softmax(t / 3)
    divergence = (np.exp(p) * (p - log_softmax(z / 3))).sum(1) * 9
    crossentropy = -log_softmax(z)[np.arange(5), label.astype(int)]
    wanted = (0.75 * divergence + 0.25 * crossentropy).mean()
    assert float(made) == pytest.approx(wanted, rel=1e-5)


def test_a_dataset_is_answered_as_it_comes(teacher, student, run):
    batches = [X[i : i + 50] for i in range(0, 600, 50)]
    stream = edgeml.data.Dataset.from_generator(lambda: iter(batches))
    found = distill(student, teacher, stream, epochs=12, optimizer=Adam(0.01))
    assert agreement(run, found, teacher) > 0.93
    listed = [{"x": x} for x in batches]
    again = distill(student, teacher, listed, epochs=1)
    assert again.SerializeToString() != student.SerializeToString()


def test_answers_can_be_kept_in_a_file(teacher, student, tmp_path):
    plain = distill(student, teacher, X[:200], epochs=1)
    cached = distill(student, teacher, X[:200], epochs=1, cache=tmp_path / "answers.npy")
    assert cached.SerializeToString() == plain.SerializeToString()
    assert np.load(tmp_path / "answers.npy").shape == (200, 4)


def test_outputs_of_any_kind_without_a_temperature(folder, run):
    for name, units in (("a", 24), ("b", 12)):
        save(folder / f"{name}.onnx", units, outputs=2, seed=units)
    one, other = (simplify(folder / f"{name}.onnx") for name in "ab")
    found = distill(other, one, X[:600], temperature=None, epochs=20, optimizer=Adam(0.01))
    wanted = run(one, X[600:])
    error = np.square(run(found, X[600:]) - wanted).mean()
    assert error < 0.1 * np.square(run(other, X[600:]) - wanted).mean()


def test_an_interrupt_keeps_what_was_learned(teacher, student, run):
    class Stop(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 5:
                raise KeyboardInterrupt

    found = distill(student, teacher, X[:600], epochs=99, optimizer=Adam(0.01), callbacks=[Stop()])
    assert agreement(run, found, teacher) > 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"hard": 1.5}, "hard"),
        ({"hard": 0.5, "temperature": None}, "need a temperature"),
    ],
)
def test_refused_arguments(teacher, student, options, message):
    with pytest.raises(ConfigError, match=message):
        distill(student, teacher, X, **options)


def test_refused_data(teacher, student, folder):
    with pytest.raises(DataError, match="labels are missing"):
        distill(student, teacher, X, hard=0.5)
    with pytest.raises(DataError, match="label 9 is out of range"):
        distill(student, teacher, (X, Y + 9 * (Y == 0)), hard=0.5)
    with pytest.raises(ShapeError, match="labels for"):
        distill(student, teacher, (X, Y[:700]), hard=0.5)
    with pytest.raises(DataError, match="empty"):
        distill(student, teacher, X[:0])
    with pytest.raises(DataError, match="received int"):
        distill(student, teacher, 3)
    with pytest.raises(InputError, match="NaN"):
        distill(student, teacher, X * np.nan)
    with pytest.raises(ModelFormatError, match="quantized already"):
        distill(quantize_int8(student, [{"x": X}]), teacher, X)


def test_classes_must_be_as_many(teacher, folder):
    save(folder / "three.onnx", 6, outputs=3)
    with pytest.raises(ShapeError, match="3 classes, and the teacher 4"):
        distill(simplify(folder / "three.onnx"), teacher, X)
    save(folder / "one.onnx", 6, outputs=1)
    with pytest.raises(ShapeError, match="temperature=None"):
        distill(simplify(folder / "one.onnx"), simplify(folder / "one.onnx"), X)
