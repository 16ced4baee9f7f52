"""Optimizers: formulas in float64, names and configs, clipping, averages, accumulation."""

import numpy as np
import pytest

import edgeml
from edgeml import optimizers
from edgeml.callbacks import EarlyStopping
from edgeml.errors import ConfigError
from edgeml.layers import Dense, Input
from edgeml.optimizers import (
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Ftrl,
    Lion,
    Muon,
    RMSprop,
    ScheduleFreeAdamW,
    schedules,
)
from edgeml.training import Trainer

rng = np.random.default_rng(0)
X = rng.standard_normal((64, 5)).astype(np.float32)
Y = np.tanh(X @ rng.standard_normal((5, 2))).astype(np.float32)
START = [rng.standard_normal(shape).astype(np.float32) * 0.5 for shape in ((5, 3), (3,), (3, 2))]


def network(optimizer):
    model = edgeml.Sequential([
        Input((5,)), Dense(3, activation="tanh"), Dense(2, use_bias=False),
    ])  # fmt: skip
    model.set_weights(START)
    model.compile(optimizer, "mse")
    return model


def assert_close(received, expected, rtol=1e-5, atol=1e-7):
    for ours, theirs in zip(received, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)


# --- the formulas, one parameter vector at a time, as the papers have them


class Line:
    """A model whose gradient is its input: ``loss = sum(w * x)``."""

    def __init__(self, optimizer, start):
        self.model = edgeml.Sequential([Input((start.size,)), Dense(1, use_bias=False)])
        self.model.set_weights([start[:, None]])
        self.model.compile(optimizer, lambda y_true, y_pred: y_pred)

    def step(self, g):
        self.model.train_on_batch(g[None], np.zeros((1, 1)))
        return self.model.get_weights()[0][:, 0]


def sgd(p, g, _step, s, rate=0.05, momentum=0.9, nesterov=False):
    s["v"] = momentum * s.get("v", 0.0) - rate * g
    return p + (momentum * s["v"] - rate * g if nesterov else s["v"])


def rmsprop(p, g, _step, s, rate=0.05, rho=0.8, eps=1e-7, centered=True, momentum=0.5):
    s["square"] = rho * s.get("square", 0.0) + (1 - rho) * g**2
    s["mean"] = rho * s.get("mean", 0.0) + (1 - rho) * g
    spread = s["square"] - (s["mean"] ** 2 if centered else 0.0)
    s["v"] = momentum * s.get("v", 0.0) + rate * g / np.sqrt(spread + eps)
    return p - s["v"]


def adam(p, g, step, s, rate=0.05, b1=0.9, b2=0.99, eps=1e-7, amsgrad=False, decay=0.0):
    s["m"] = b1 * s.get("m", 0.0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g**2
    s["top"] = np.maximum(s.get("top", 0.0), s["v"])
    spread = s["top"] if amsgrad else s["v"]
    # Epsilon is Kingma and Ba's epsilon hat: added before the correction of the start.
    alpha = rate * np.sqrt(1 - b2**step) / (1 - b1**step)
    return p * (1 - decay * rate) - alpha * s["m"] / (np.sqrt(spread) + eps)


def schedule_free(p, g, step, s, rate=0.05, b1=0.9, b2=0.99, eps=1e-8, warm=20, decay=0.0):
    p = p * (1 - decay * rate)
    last = s.get("last", s.setdefault("x", p))
    s["v"] = b2 * s.get("v", 0.0) + (1 - b2) * g**2
    denominator = np.sqrt(s["v"] / (1 - b2**step)) + eps
    average = (p - (1 - b1) * last) / b1
    s["last"] = last - rate * min(step / warm, 1.0) * g / denominator
    average = (1 - 1 / step) * average + s["last"] / step
    return (1 - b1) * s["last"] + b1 * average


FORMULAS = {
    "momentum": (SGD(0.05, momentum=0.9), sgd, {}),
    "nesterov": (SGD(0.05, momentum=0.9, nesterov=True), sgd, {"nesterov": True}),
    "rmsprop": (RMSprop(0.05, rho=0.8, momentum=0.5), rmsprop, {"centered": False}),
    "centered": (RMSprop(0.05, rho=0.8, momentum=0.5, centered=True), rmsprop, {}),
    "adam": (Adam(0.05, beta_2=0.99), adam, {}),
    "amsgrad": (Adam(0.05, beta_2=0.99, amsgrad=True), adam, {"amsgrad": True}),
    "adamw": (AdamW(0.05, beta_2=0.99, weight_decay=0.1), adam, {"decay": 0.1}),
    # Keras on PyTorch takes the new momentum for the old one, as it changes it in place.
    "schedule-free": (
        ScheduleFreeAdamW(0.05, beta_2=0.99, warmup_steps=20), schedule_free, {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FORMULAS)
def test_steps_follow_the_formula(case):
    optimizer, formula, options = FORMULAS[case]
    gradients = rng.standard_normal((100, 6)).astype(np.float32) * [1, 1, 1e-3, 10, 0.1, 1]
    p = np.linspace(-1.0, 1.0, 6)
    line, state = Line(optimizer, p.astype(np.float32)), {}
    for step, g in enumerate(gradients.astype(np.float32), 1):
        received = line.step(g)
        p = formula(p, g.astype(np.float64), step, state, **options)
        if step in (1, 10, 100):
            np.testing.assert_allclose(received, p, rtol=1e-5, atol=1e-5)
    assert optimizer.iterations == 100


def test_a_gradient_of_zero_moves_nothing():
    for name in ("sgd", "rmsprop", "adam"):
        start = np.ones(3, np.float32)
        line = Line(optimizers.get(name), start)
        for _ in range(3):
            np.testing.assert_array_equal(line.step(np.zeros(3, np.float32)), start)


@pytest.mark.parametrize("option", ["clipnorm", "global_clipnorm"])
def test_a_gradient_of_zero_is_not_clipped_to_nan(option):
    line = Line(SGD(0.1, **{option: 1.0}), np.ones(3, np.float32))
    np.testing.assert_array_equal(line.step(np.zeros(3, np.float32)), np.ones(3))


def test_clipping_keeps_directions_and_limits():
    g = np.array([3.0, -4.0, 0.0], np.float32)
    for option, expected in (("clipnorm", [0.6, -0.8, 0]), ("global_clipnorm", [0.6, -0.8, 0]),
                             ("clipvalue", [1, -1, 0])):  # fmt: skip
        found = Line(SGD(1.0, **{option: 1.0}), np.zeros(3, np.float32)).step(g)
        np.testing.assert_allclose(found, -np.array(expected), rtol=1e-6)
        small = Line(SGD(1.0, **{option: 10.0}), np.zeros(3, np.float32)).step(g)
        np.testing.assert_allclose(small, -g, rtol=1e-6)


def test_the_global_norm_is_of_all_parameters_and_the_other_of_each():
    def moved(**options):
        model = network(SGD(1.0, **options))
        model.train_on_batch(X, Y)
        after = model.get_weights()
        return [np.linalg.norm(a - b) for a, b in zip(after, START, strict=True)]

    free = moved()
    assert_close(moved(clipnorm=0.05), np.minimum(free, 0.05), rtol=1e-4)
    share = min(1.0, 0.05 / np.linalg.norm(free))
    assert_close(moved(global_clipnorm=0.05), np.multiply(free, share), rtol=1e-4)


# --- accumulation


@pytest.mark.parametrize("make", [
    lambda **k: SGD(0.1, **k), lambda **k: SGD(0.1, momentum=0.9, nesterov=True, **k),
    lambda **k: RMSprop(0.01, epsilon=1e-4, **k), lambda **k: AdamW(0.01, epsilon=1e-4, **k),
    lambda **k: SGD(0.5, clipnorm=0.05, **k), lambda **k: SGD(0.5, global_clipnorm=0.05, **k),
    lambda **k: SGD(0.5, clipvalue=0.01, **k),
    lambda **k: SGD(schedules.ExponentialDecay(0.5, 1, 0.5), **k),
    lambda **k: SGD(0.5, use_ema=True, ema_momentum=0.6, **k),
], ids=["sgd", "nesterov", "rmsprop", "adamw", "clipnorm", "global_clipnorm", "clipvalue",
        "schedule", "ema"])  # fmt: skip
@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_micro_batches_are_one_large_batch(make, parts):
    def train(optimizer, size):
        model = network(optimizer)
        model.fit(X, Y, batch_size=size, epochs=3, shuffle=False, verbose=0)
        return model.get_weights()

    whole, cut = make(), make(gradient_accumulation_steps=parts)
    assert_close(train(cut, 16 // parts), train(whole, 16), atol=1e-6)
    assert cut.iterations == whole.iterations == 12


def test_micro_batches_that_do_not_fill_a_step_wait_for_the_next():
    model = network(SGD(0.1, gradient_accumulation_steps=3))
    for _ in range(2):
        model.train_on_batch(X[:8], Y[:8])
        assert_close(model.get_weights(), START, rtol=0, atol=0)
    model.train_on_batch(X[:8], Y[:8])
    once = network(SGD(0.1))
    once.train_on_batch(X[:8], Y[:8])
    assert_close(model.get_weights(), once.get_weights(), atol=1e-6)


# --- averages of the weights


def test_the_average_starts_with_the_first_weights():
    averaged, plain = (network(SGD(0.1, use_ema=use)) for use in (True, False))
    for model in (averaged, plain):
        model.fit(X, Y, batch_size=64, verbose=0)
    assert_close(averaged.get_weights(), plain.get_weights(), rtol=1e-6)


def test_training_goes_on_from_the_average():
    model = network(SGD(0.1, use_ema=True, ema_momentum=0.5))
    seen = []
    note = {"onBatchEnd": lambda batch, logs: seen.append(model.get_weights()[2])}
    model.fit(X, Y, batch_size=32, shuffle=False, verbose=0, callbacks=note)
    first = seen[0] * 0.5 + seen[1] * 0.5
    np.testing.assert_allclose(model.get_weights()[2], first, rtol=1e-5)
    model.fit(X, Y, batch_size=64, shuffle=False, verbose=0, callbacks=note)
    np.testing.assert_allclose(model.get_weights()[2], first * 0.5 + seen[2] * 0.5, rtol=1e-5)


def test_a_trainer_ends_with_the_average_too(tmp_path):
    network("sgd").save(tmp_path / "net.onnx")
    optimizer = SGD(0.1, use_ema=True, ema_momentum=0.5)
    trainer = Trainer(tmp_path / "net.onnx", loss="mse", optimizer=optimizer)
    seen = []
    note = {"onBatchEnd": lambda *_: seen.append(trainer.get_weights()[0])}
    trainer.fit(X, Y, batch_size=16, verbose=0, callbacks=note)
    average = seen[0]
    for weights in seen[1:]:
        average = 0.5 * average + 0.5 * weights
    np.testing.assert_allclose(trainer.get_weights()[0], average, rtol=1e-5)


def test_the_best_weights_are_brought_back_after_the_average():
    model = network(SGD(0.1, use_ema=True, ema_momentum=0.9))
    seen = []
    stop = EarlyStopping("loss", mode="max", patience=2, restore_best_weights=True)
    model.fit(X, Y, epochs=5, verbose=0, callbacks=[stop, {
        "onEpochEnd": lambda *_: seen.append(model.get_weights())}])  # fmt: skip
    assert len(seen) == 3
    assert_close(model.get_weights(), seen[0], rtol=0, atol=0)


# --- names and configs


@pytest.mark.parametrize(("given", "kind", "attribute", "value"), [
    ("sgd", SGD, "learning_rate", 0.01), ("momentum", SGD, "momentum", 0.0),
    ("rmsprop", RMSprop, "rho", 0.9), ("RMSProp", RMSprop, "epsilon", 1e-7),
    ("adam", Adam, "beta_2", 0.999), ("AdamW", AdamW, "weight_decay", 0.004),
    ({"name": "adam", "learningRate": 0.1, "beta1": 0.5}, Adam, "learning_rate", 0.1),
    ({"class_name": "SGD", "momentum": 0.5}, SGD, "momentum", 0.5),
    ({"class_name": "Lion", "config": {"name": "l", "beta_2": 0.9}}, Lion, "beta_2", 0.9),
    ("adagrad", Adagrad, "initial_accumulator_value", 0.1), ("muon", Muon, "momentum", 0.95),
    ("scheduleFreeAdamW", ScheduleFreeAdamW, "learning_rate", 0.0025),
])  # fmt: skip
def test_optimizers_by_name(given, kind, attribute, value):
    found = optimizers.get(given)
    assert type(found) is kind
    assert getattr(found, attribute) == value


@pytest.mark.parametrize("optimizer", [
    SGD(0.3, 0.5, True, clipnorm=1.0), RMSprop(0.2, centered=True, use_ema=True),
    Adam(0.1, amsgrad=True, gradient_accumulation_steps=4), AdamW(weight_decay=0.1),
    Adagrad(0.1, 0.2), Muon(exclude_layers=["head"]), Ftrl(0.1, -0.7),
    SGD(schedules.CosineDecayRestarts(0.1, 5), no_weight_decay=["bias"]),
])  # fmt: skip
def test_a_config_makes_an_equal_optimizer(optimizer):
    again = type(optimizer).from_config(optimizer.get_config())
    assert again == optimizer
    assert again.slots == optimizer.slots


@pytest.mark.parametrize(("make", "message"), [
    (lambda: optimizers.get("adaam"), "did you mean adam"),
    (lambda: optimizers.get({"name": "adam", "beta3": 0.1}), "no argument 'beta3'.*beta_"),
    (lambda: SGD(-0.1), "learning_rate: expected a number of at least 0, received -0.1"),
    (lambda: Adam(np.nan), "learning_rate"), (lambda: SGD(momentum=1.5), "momentum"),
    (lambda: SGD(clipnorm=0.0), "clipnorm: expected a number above 0"),
    (lambda: SGD(clipvalue=-1.0), "clipvalue"), (lambda: SGD(global_clipnorm=np.nan), "above 0"),
    (lambda: SGD(clipnorm=1.0, clipvalue=1.0), "only one of"),
    (lambda: SGD(weight_decay=-0.1), "weight_decay"),
    (lambda: SGD(ema_momentum=2.0), "ema_momentum: expected 0 to 1"),
    (lambda: SGD(gradient_accumulation_steps=0), "gradient_accumulation_steps"),
    (lambda: SGD(ema_overwrite_frequency=0), "ema_overwrite_frequency: expected at least 1"),
    (lambda: Lion(beta_1=0.0), "beta_1: expected above 0"),
    (lambda: ScheduleFreeAdamW(beta_1=0.0), "beta_1: expected above 0"),
    (lambda: Ftrl(learning_rate_power=1.0), "learning_rate_power: expected at most 0"),
    (lambda: Ftrl(l1_regularization_strength=-1.0), "l1_regularization_strength"),
    (lambda: Muon(ns_steps=0), "ns_steps: expected at least 1"),
    (lambda: schedules.PolynomialDecay(0.1, 0), "decay_steps: expected at least 1"),
    (lambda: schedules.CosineDecayRestarts(0.1, 0), "first_decay_steps: expected at least 1"),
    (lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5), "t_mul: expected at least 1"),
])  # fmt: skip
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_a_resumed_trainer_follows_its_schedule(tmp_path):
    network("sgd").save(tmp_path / "net.onnx")
    optimizer = SGD(schedules.ExponentialDecay(0.1, 5, 0.5), momentum=0.9)
    trainer = Trainer(tmp_path / "net.onnx", loss="mse", optimizer=optimizer)
    trainer.fit(X, Y, batch_size=16, verbose=0)
    trainer.checkpoint(tmp_path / "c.npz")
    again = Trainer.resume(tmp_path / "c.npz")
    assert again.optimizer.learning_rate == optimizer.learning_rate
    assert again.optimizer.rate(5) == optimizer.rate(5)


@pytest.mark.parametrize("name", ["SGD", "Muon"])
def test_weight_decay_leaves_alone_what_is_excluded(name):
    def start(optimizer):
        model = network(optimizer)
        model.compile(optimizer, lambda y_true, y_pred: y_pred * 0.0)
        model.train_on_batch(X, Y)
        return [bool((a == b).all()) for a, b in zip(model.get_weights(), START, strict=True)]

    make = getattr(optimizers, name)
    assert not any(start(make(0.1, weight_decay=0.1)))
    by_name = make(0.1, weight_decay=0.1)
    by_name.exclude_from_weight_decay(var_names=["bias"])
    assert start(by_name) == [False, True, False]
    model = network("sgd")
    by_list = make(0.1, weight_decay=0.1)
    by_list.exclude_from_weight_decay(model.weights[:1])
    assert by_list.decays("other/kernel")
    assert not by_list.decays(model.weights[0].path)


def test_adam_learns_on_after_a_layer_is_unfrozen():
    model = network(Adam(0.01))
    model.layers[0].trainable = False
    model.fit(X, Y, epochs=500, batch_size=64, verbose=0)
    before = model.get_weights()
    model.layers[0].trainable = True
    model.fit(X, Y, batch_size=64, verbose=0)
    # New state starts anew: Adam's first step is no larger than its learning rate.
    largest = max(np.abs(a - b).max() for a, b in zip(model.get_weights(), before, strict=True))
    assert 0.0 < largest <= 0.01 * 1.01
