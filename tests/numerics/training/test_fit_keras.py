"""The training loop against Keras 3: history and weights of the same small problems."""

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Keras and torch warn of while loading is not ours
    pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

import edgeml

# Keras's way from torch to NumPy is what NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

rng = np.random.default_rng(0)
N = 44  # the last batch of 8 is half full
X = rng.standard_normal((N, 5)).astype(np.float32)
SCORES = X @ rng.standard_normal((5, 3)).astype(np.float32)
LABELS, TARGETS = SCORES.argmax(1), np.tanh(SCORES[:, :2])
HOT, YES = np.eye(3, dtype=np.float32)[LABELS], (LABELS == 0).astype(np.float32)[:, None]
V = {name: value[:20] for name, value in {
    "x": X * np.float32(0.9) + np.float32(0.1), "labels": LABELS, "targets": TARGETS,
    "hot": HOT, "yes": YES}.items()}  # fmt: skip
WEIGHT = rng.random(N).astype(np.float32) * 2
BOTH = (edgeml, keras)


def start(shapes):
    own = np.random.default_rng(1)
    return [(own.standard_normal(s) * 0.5).astype(np.float32) for s in shapes]


def dense(lib, units, activation=None, **options):
    return lib.Sequential([
        lib.Input((5,)), lib.layers.Dense(6, activation="tanh", **options),
        lib.layers.Dense(units, activation=activation),
    ])  # fmt: skip


def made(lib, build, optimizer, loss, metrics=(), **options):
    model = build(lib)
    model.set_weights(start([w.shape for w in model.get_weights()]))
    make = optimizer if callable(optimizer) else lambda lib: optimizer
    model.compile(make(lib), loss(lib) if callable(loss) else loss, metrics=list(metrics),
                  **options)  # fmt: skip
    return model


def fitted(lib, build, optimizer, loss, data, metrics=(), compiled=None, callbacks=None, **options):
    """Return (history, weights) after `fit`."""
    model = made(lib, build, optimizer, loss, metrics, **(compiled or {}))
    history = model.fit(*data, batch_size=8, shuffle=False, verbose=0,
                        callbacks=callbacks(lib) if callbacks else None, **options)  # fmt: skip
    return history, model.get_weights(), model


def assert_same(*args, **kwargs):
    ours, theirs = (fitted(lib, *args, **kwargs) for lib in BOTH)
    assert ours[0].epoch == theirs[0].epoch
    assert_histories(ours[0].history, theirs[0].history)
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    return ours, theirs


def assert_histories(ours, theirs):
    assert sorted(ours) == sorted(theirs)
    for name, values in theirs.items():
        np.testing.assert_allclose(ours[name], values, rtol=1e-4, atol=1e-6, err_msg=name)


def sgd(lib):
    return lib.optimizers.SGD(0.1, momentum=0.9)


def logits(lib):
    return lib.losses.SparseCategoricalCrossentropy(from_logits=True)


SCCE = (lambda lib: dense(lib, 3), sgd, logits, (X, LABELS), ("accuracy",))
CCE = (lambda lib: dense(lib, 3, "softmax"), sgd, "categorical_crossentropy", (X, HOT),
       ("accuracy",))  # fmt: skip
BCE = (lambda lib: dense(lib, 1, "sigmoid"), sgd, "binary_crossentropy", (X, YES), ("accuracy",))
MSE = (lambda lib: dense(lib, 2), sgd, "mse", (X, TARGETS), ("mae",))
PROBLEMS = {"sparse": SCCE, "categorical": CCE, "binary": BCE, "regression": MSE}


@pytest.mark.parametrize("problem", PROBLEMS)
@pytest.mark.parametrize("weighted", [False, True])
def test_one_epoch(problem, weighted):
    assert_same(*PROBLEMS[problem], sample_weight=WEIGHT if weighted else None)


@pytest.mark.parametrize("optimizer", ["SGD", "RMSprop", "Adam", "AdamW"])
def test_optimizers_with_their_defaults(optimizer):
    build, _, loss, data, metrics = SCCE
    assert_same(build, lambda lib: getattr(lib.optimizers, optimizer)(), loss, data, metrics,
                epochs=3)  # fmt: skip


@pytest.mark.parametrize("problem", ["sparse", "categorical", "binary"])
def test_class_weights(problem):
    assert_same(*PROBLEMS[problem], class_weight={0: 3.0, 1: 0.5})


VALIDATION = {
    "sparse": V["labels"], "categorical": V["hot"], "binary": V["yes"], "regression": V["targets"],
}  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS)
def test_validation_data(problem):
    assert_same(*PROBLEMS[problem], validation_data=(V["x"], VALIDATION[problem]), epochs=3)


def test_validation_weights():
    given = (V["x"], V["labels"], WEIGHT[:20])
    assert_same(*SCCE, validation_data=given, sample_weight=WEIGHT, epochs=2)


@pytest.mark.parametrize("weighted", [False, True])
def test_validation_split(weighted):
    weight = WEIGHT if weighted else None
    assert_same(*SCCE, validation_split=0.3, sample_weight=weight, epochs=2)


def test_validation_every_other_epoch_and_a_later_start():
    options = {"validation_data": (V["x"], V["labels"]), "validation_freq": 2}
    assert_same(*SCCE, epochs=5, initial_epoch=2, **options)


def test_class_weights_are_for_training_alone():
    assert_same(*SCCE, validation_data=(V["x"], V["labels"]), class_weight={0: 3.0}, epochs=2)


def two(lib):
    x = lib.Input((5,))
    h = lib.layers.Dense(6, activation="tanh")(x)
    return lib.Model(x, [lib.layers.Dense(3, name="kind")(h), lib.layers.Dense(2, name="size")(h)])


@pytest.mark.parametrize("weights", [None, {"kind": 0.5, "size": 2.0}])
def test_several_outputs(weights):
    def losses(lib):
        return {"kind": logits(lib), "size": "mse"}

    def compiled(lib):
        model = made(lib, two, sgd, losses, loss_weights=weights)
        model.compile(sgd(lib), losses(lib), metrics={"kind": ["accuracy"], "size": ["mae"]},
                      loss_weights=weights)  # fmt: skip
        history = model.fit(X, {"kind": LABELS, "size": TARGETS}, batch_size=8, shuffle=False,
                            verbose=0, epochs=2)  # fmt: skip
        return history.history, model.get_weights()

    ours, theirs = (compiled(lib) for lib in BOTH)
    assert_histories(ours[0], theirs[0])
    for a, b in zip(ours[1], theirs[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_regularizers_count():
    assert_same(lambda lib: dense(lib, 3, kernel_regularizer="l2"), *SCCE[1:], epochs=2,
                validation_data=(V["x"], V["labels"]))  # fmt: skip


def test_batch_normalization():
    def build(lib):
        return lib.Sequential([
            lib.Input((5,)), lib.layers.Dense(6), lib.layers.BatchNormalization(momentum=0.8),
            lib.layers.Dense(3),
        ])  # fmt: skip

    def prepared(lib):
        model = build(lib)
        shapes = [w.shape for w in model.get_weights()]
        values = [np.abs(v) for v in start(shapes)]  # a variance is positive
        return model, values

    results = []
    for lib in BOTH:
        model, values = prepared(lib)
        model.set_weights(values)
        model.compile(lib.optimizers.SGD(0.05), logits(lib), metrics=["accuracy"])
        history = model.fit(X, LABELS, batch_size=8, epochs=3, shuffle=False, verbose=0,
                            validation_data=(V["x"], V["labels"]))  # fmt: skip
        results.append((history.history, model.get_weights()))
    assert_histories(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.5, 0.99])
def test_averaged_weights(momentum):
    build, _, loss, data, metrics = SCCE
    assert_same(build, lambda lib: lib.optimizers.SGD(0.1, use_ema=True, ema_momentum=momentum),
                loss, data, metrics, epochs=2, validation_data=(V["x"], V["labels"]))  # fmt: skip


CALLBACKS = {
    "schedule": lambda lib: [
        lib.callbacks.LearningRateScheduler(lambda epoch, rate: rate * 0.7 if epoch else rate)],
    "plateau": lambda lib: [
        lib.callbacks.ReduceLROnPlateau("val_loss", factor=0.3, patience=1, min_lr=0.001)],
    "stop": lambda lib: [lib.callbacks.EarlyStopping("val_loss", patience=2)],
    "restore": lambda lib: [
        lib.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)],
}  # fmt: skip


@pytest.mark.parametrize("name", CALLBACKS)
def test_callbacks(name):
    build, _, loss, data, metrics = SCCE
    # Labels of the validation that contradict the training's: its loss rises soon.
    wrong = (V["x"], (V["labels"] + (np.arange(20) % 3 == 0)) % 3)
    ours, _ = assert_same(build, lambda lib: lib.optimizers.SGD(0.3, momentum=0.8), loss, data,
                          metrics, callbacks=CALLBACKS[name], validation_data=wrong,
                          epochs=12)  # fmt: skip
    history, _, model = ours
    if name in ("schedule", "plateau"):
        assert len(set(history.history["learning_rate"])) > 1
    else:
        assert 2 < len(history.epoch) < 12
    best = min(history.history["val_loss"])
    if name == "restore":
        assert model.evaluate(*wrong)["loss"] == pytest.approx(best, rel=1e-5)
        assert best < history.history["val_loss"][-1]


def test_single_batches():
    results = []
    for lib in BOTH:
        model = made(lib, *SCCE[:3], ("accuracy",))
        options = {} if lib is edgeml else {"return_dict": True}
        rows = []
        for i in range(4):
            part = slice(8 * i, 8 * i + 8)
            for call in (model.test_on_batch, model.train_on_batch):
                rows.append(call(X[part], LABELS[part], sample_weight=WEIGHT[part], **options))
                if lib is keras:
                    model.reset_metrics()
        results.append((rows, model.get_weights()))
    for a, b in zip(results[0][0], results[1][0], strict=True):
        assert_histories(a, b)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_evaluate_and_predict():
    models = [made(lib, *SCCE[:3], ("accuracy",)) for lib in BOTH]
    ours = models[0].evaluate(X, LABELS, batch_size=8, sample_weight=WEIGHT)
    theirs = models[1].evaluate(X, LABELS, batch_size=8, sample_weight=WEIGHT, verbose=0,
                                return_dict=True)  # fmt: skip
    assert_histories(ours, theirs)
    np.testing.assert_allclose(models[0].predict(X), models[1].predict(X, verbose=0),
                               rtol=1e-5, atol=1e-6)  # fmt: skip


def test_masked_steps_do_not_count():
    words = rng.integers(1, 9, (N, 6))
    words[rng.random((N, 6)) < 0.4] = 0
    words[:, 0] = 1
    tags = words % 3

    def tagger(lib):
        return lib.Sequential([
            lib.Input((6,), dtype="int32"), lib.layers.Embedding(9, 4, mask_zero=True),
            lib.layers.LSTM(5, return_sequences=True), lib.layers.Dense(3),
        ])  # fmt: skip

    assert_same(tagger, lambda lib: lib.optimizers.SGD(0.1), logits, (words, tags), ("accuracy",),
                epochs=2, validation_data=(words[:10], tags[:10]))  # fmt: skip
