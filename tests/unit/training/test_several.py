"""Several steps in one call of the runtime."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

import edgeml
from edgeml import layers
from edgeml.errors import NonFinite
from edgeml.layers import BatchNormalization, Dense, Dropout, Input

X = (load_digits().data / 16).astype(np.float32)[:264]
Y = load_digits().target[:264]
LOGITS = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
OPTIMIZERS = {
    "adam": lambda: edgeml.optimizers.Adam(0.01),
    "clipped, decaying rate": lambda: edgeml.optimizers.SGD(
        edgeml.optimizers.schedules.ExponentialDecay(0.1, 5, 0.5), momentum=0.9,
        global_clipnorm=0.5),
    "accumulating": lambda: edgeml.optimizers.SGD(0.1, gradient_accumulation_steps=2),
    "averaged": lambda: edgeml.optimizers.Adam(0.01, use_ema=True),
}  # fmt: skip


def _train(steps, optimizer, **options):
    layers.set_random_seed(1)
    model = edgeml.Sequential([
        Input((64,)), Dense(16, activation="relu"), BatchNormalization(), Dropout(0.2), Dense(10),
    ])  # fmt: skip
    model.compile(optimizer, LOGITS, metrics=["accuracy"], steps_per_execution=steps)
    history = model.fit(X, Y, epochs=3, verbose=0, seed=3, **options)
    return model, history.history


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equal_to_single_steps(name):
    one, first = _train(1, OPTIMIZERS[name]())
    four, second = _train(4, OPTIMIZERS[name]())  # 8 full batches an epoch, and one of 8
    for a, b in zip(one.get_weights(), four.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)
    for key in first:
        np.testing.assert_allclose(first[key], second[key], rtol=1e-6)


def test_callbacks_are_called_once_for_all_steps():
    seen = []

    class Watch(edgeml.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            seen.append(batch)

        def on_train_batch_end(self, batch, logs=None):
            seen.append(batch)

    _train(3, "sgd", steps_per_epoch=7, callbacks=[Watch()])
    assert seen[: len(seen) // 3] == [0, 2, 3, 5, 6, 6]


def test_nan_takes_all_steps_back():
    model, _ = _train(4, "sgd")
    before = model.get_weights()
    bad = X.copy()
    bad[70, 3] = np.nan
    with pytest.raises(NonFinite, match="batch 2"):
        model.fit(bad, Y, shuffle=False, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.compile(edgeml.optimizers.SGD(1e30), LOGITS, steps_per_execution=4)
    with pytest.raises(NonFinite, match="the weights are those before batch 0"):
        model.fit(X, Y, shuffle=False, verbose=0)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
