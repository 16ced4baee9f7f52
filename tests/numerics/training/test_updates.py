"""Optimizers against Keras 3 and PyTorch: single updates from equal state, and free running."""

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Keras and torch warn of while loading is not ours
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

import edgeml
from edgeml import optimizers
from edgeml.layers import Dense, Input
from edgeml.optimizers import schedules

# Keras's way from torch to NumPy is what NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

rng = np.random.default_rng(0)
X = rng.standard_normal((100, 16, 5)).astype(np.float32)
Y = np.tanh(X @ rng.standard_normal((5, 2)).astype(np.float32))
START = [
    (rng.standard_normal(shape) * 0.6 + 0.1).astype(np.float32)
    for shape in ((5, 4), (4,), (4, 2), (2,))
]

CASES = {
    "sgd": ("SGD", {}), "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "sgd-decay": ("SGD", {"momentum": 0.5, "weight_decay": 0.02}),
    "sgd-clipnorm": ("SGD", {"clipnorm": 0.05}), "sgd-clipvalue": ("SGD", {"clipvalue": 0.02}),
    "sgd-global": ("SGD", {"momentum": 0.9, "global_clipnorm": 0.1}),
    "sgd-ema": ("SGD", {"use_ema": True, "ema_momentum": 0.9}),
    "rmsprop": ("RMSprop", {}), "rmsprop-momentum": ("RMSprop", {"momentum": 0.9, "rho": 0.8}),
    "rmsprop-centered": ("RMSprop", {"centered": True, "epsilon": 1e-4}),
    "rmsprop-all": ("RMSprop", {"centered": True, "momentum": 0.5, "weight_decay": 0.01,
                                "epsilon": 1e-4}),
    "adam": ("Adam", {}), "adam-betas": ("Adam", {"beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-3}),
    "amsgrad": ("Adam", {"amsgrad": True}), "adam-decay": ("Adam", {"weight_decay": 0.01}),
    "adam-clipnorm": ("Adam", {"clipnorm": 0.05}),
    "adam-clipvalue": ("Adam", {"clipvalue": 0.02}),
    "adam-global": ("Adam", {"global_clipnorm": 0.1}),
    "adam-ema": ("Adam", {"use_ema": True, "ema_momentum": 0.5}),
    "adamw": ("AdamW", {}), "adamw-decay": ("AdamW", {"weight_decay": 0.1, "global_clipnorm": 1.0}),
    "adagrad": ("Adagrad", {}),
    "adagrad-decay": ("Adagrad", {"initial_accumulator_value": 0.01, "weight_decay": 0.02}),
    "adadelta": ("Adadelta", {}), "adadelta-rho": ("Adadelta", {"rho": 0.5, "epsilon": 1e-3}),
    "adamax": ("Adamax", {}), "adamax-betas": ("Adamax", {"beta_1": 0.5, "beta_2": 0.8}),
    "nadam": ("Nadam", {}), "nadam-betas": ("Nadam", {"beta_1": 0.99, "weight_decay": 0.1}),
    "lion": ("Lion", {}), "lion-decay": ("Lion", {"beta_2": 0.9, "weight_decay": 0.1}),
    "lamb": ("Lamb", {}), "lamb-decay": ("Lamb", {"weight_decay": 0.1, "epsilon": 1e-3}),
    "ftrl": ("Ftrl", {}),
    "ftrl-all": ("Ftrl", {"learning_rate_power": -0.7, "l1_regularization_strength": 0.01,
                          "l2_regularization_strength": 0.02, "beta": 0.1,
                          "l2_shrinkage_regularization_strength": 0.03}),
    "adafactor": ("Adafactor", {}), "adafactor-clip": ("Adafactor", {"clip_threshold": 0.3}),
    "muon": ("Muon", {}),
    "muon-plain": ("Muon", {"nesterov": False, "rms_rate": None, "ns_steps": 3,
                            "adam_lr_ratio": 0.1, "adam_weight_decay": None}),
    "ema-overwrite": ("SGD", {"momentum": 0.9, "use_ema": True, "ema_momentum": 0.9,
                              "ema_overwrite_frequency": 5}),
}  # fmt: skip


def network(optimizer):
    model = edgeml.Sequential([Input((5,)), Dense(4, activation="tanh"), Dense(2)])
    model.set_weights(START)
    model.compile(optimizer, "mse")
    model.evaluate(X[0], Y[0])  # makes the optimizer's state
    return model


class Oracle:
    """The same network in Keras, step by step."""

    def __init__(self, optimizer):
        self.model = keras.Sequential([
            keras.Input((5,)), keras.layers.Dense(4, activation="tanh"), keras.layers.Dense(2),
        ])  # fmt: skip
        self.model.set_weights(START)
        self.optimizer = optimizer
        self.variables = self.model.trainable_variables
        optimizer.build(self.variables)

    def step(self, x, y):
        loss = ((self.model(torch.tensor(x)) - torch.tensor(y)) ** 2).mean()
        grads = torch.autograd.grad(loss, [v.value for v in self.variables])
        with torch.no_grad():
            self.optimizer.apply(list(grads), self.variables)

    def weights(self):
        return [v.value.detach().numpy().copy() for v in self.variables]

    def slots(self):
        """The state by our names, one array a parameter."""
        own, found = self.optimizer, {}
        names = SLOTS.get(type(own).__name__, SLOTS["Adam"])
        for name, theirs in {**names, "average": "_model_variables_moving_average"}.items():
            values = getattr(own, theirs, [])
            if all(v is None for v in values):
                continue
            found[name] = [
                np.zeros(p.shape, np.float32) if v is None else padded(v, p)
                for v, p in zip(values, self.variables, strict=True)
            ]
        if isinstance(own, keras.optimizers.Adafactor):  # vectors have no rows and columns
            for i, (v, p) in enumerate(zip(own._v, self.variables, strict=True)):
                if len(p.shape) < 2:
                    found["rows"][i] = v.value.detach().numpy().copy()
        return found


# Keras's state by our names.
SLOTS = {
    "Adam": {"mean": "_momentums", "square": "_velocities", "largest": "_velocity_hats"},
    "SGD": {"velocity": "momentums"},
    "RMSprop": {"square": "_velocities", "mean": "_average_gradients", "velocity": "_momentums"},
    "Adagrad": {"square": "_accumulators"},
    "Adadelta": {"square": "_accumulated_grads", "moved": "_accumulated_delta_vars"},
    "Adamax": {"mean": "_m", "largest": "_u"},
    "Ftrl": {"square": "_accumulators", "linear": "_linears"},
    "Muon": {"mean": "momentums", "square": "adam_velocities"},
    "Adafactor": {"rows": "_r", "columns": "_c"},
}


def padded(value, like):
    """Return a state as it lies in ours: the few means of Adafactor at the start."""
    flat = value.value.detach().numpy().ravel()
    return np.pad(flat, (0, int(np.prod(like.shape)) - flat.size)).reshape(like.shape)


def scales(optimizer):
    """Return what our slots are divided by: Adam's leave out (1 - beta)."""
    if not isinstance(optimizer, optimizers.Adam):
        return {}
    second = 1.0 - optimizer.beta_2
    return {"mean": 1.0 - optimizer.beta_1, "square": second, "largest": second}


def seed(model, oracle, steps):
    """Give a model the oracle's weights and state."""
    state, factors = model._engine.state, scales(model.optimizer)
    model.set_weights(oracle.weights())
    found = oracle.slots()
    for name in model.optimizer.slots + (("average",) if model.optimizer.use_ema else ()):
        for key, value in zip(state.keys, found[name], strict=True):
            state.view(key, name)[...] = value / factors.get(name, 1.0)
    model.optimizer.iterations = steps


def assert_close(received, expected, **kwargs):
    for ours, theirs in zip(received, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, **kwargs)


@pytest.mark.parametrize("case", CASES)
def test_single_updates_from_equal_state_are_keras_updates(case):
    name, options = CASES[case]
    oracle = Oracle(getattr(keras.optimizers, name)(0.02, **options))
    model = network(getattr(optimizers, name)(0.02, **options))
    state, factors = model._engine.state, scales(model.optimizer)
    for number in range(100):
        if number + 1 in (1, 10, 100):
            seed(model, oracle, number)
            before = oracle.weights()
            model.train_on_batch(X[number], Y[number])
            oracle.step(X[number], Y[number])
            assert_close(model.get_weights(), oracle.weights(), rtol=1e-5, atol=1e-7)
            moved = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
            wanted = [a - b for a, b in zip(oracle.weights(), before, strict=True)]
            # Of the step itself: what float32 leaves of it, and of Keras's powers of beta.
            assert_close(moved, wanted, rtol=1e-4, atol=3e-7)
            for slot, values in oracle.slots().items():
                ours = [state.view(key, slot) * factors.get(slot, 1.0) for key in state.keys]
                largest = max(np.abs(v).max() for v in values)
                assert_close(ours, values, rtol=1e-5, atol=1e-6 * largest)
        else:
            oracle.step(X[number], Y[number])


@pytest.mark.parametrize("case", CASES)
def test_ten_free_steps_are_keras_steps(case):
    name, options = CASES[case]
    oracle = Oracle(getattr(keras.optimizers, name)(0.02, **options))
    model = network(getattr(optimizers, name)(0.02, **options))
    for x, y in zip(X[:10], Y[:10], strict=True):
        model.train_on_batch(x, y)
        oracle.step(x, y)
    assert_close(model.get_weights(), oracle.weights(), rtol=1e-5, atol=1e-6)


def torch_steps(make, steps, clip=None):
    """Return the weights of the same network after PyTorch's own steps, in float32."""
    weights = [torch.tensor(w, requires_grad=True) for w in START]
    optimizer = make(weights)
    for x, y in zip(X[:steps], Y[:steps], strict=True):
        optimizer.zero_grad()
        hidden = torch.tanh(torch.tensor(x) @ weights[0] + weights[1])
        ((hidden @ weights[2] + weights[3] - torch.tensor(y)) ** 2).mean().backward()
        if clip is not None:
            clip(weights)
        optimizer.step()
    return [w.detach().numpy() for w in weights]


# PyTorch adds epsilon after the bias's correction: without epsilon, both are one definition.
TINY = 1e-12
PYTORCH = {
    "sgd": (optimizers.SGD(0.05), lambda w: torch.optim.SGD(w, 0.05)),
    "momentum": (
        optimizers.SGD(0.05, momentum=0.9), lambda w: torch.optim.SGD(w, 0.05, momentum=0.9),
    ),
    "nesterov": (
        optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        lambda w: torch.optim.SGD(w, 0.05, momentum=0.9, nesterov=True),
    ),
    "rmsprop-centered": (
        optimizers.RMSprop(0.01, rho=0.9, epsilon=TINY, centered=True, momentum=0.5),
        lambda w: torch.optim.RMSprop(w, 0.01, 0.9, eps=TINY, centered=True, momentum=0.5),
    ),
    "adam": (optimizers.Adam(0.01, epsilon=TINY), lambda w: torch.optim.Adam(w, 0.01, eps=TINY)),
    "amsgrad": (
        optimizers.Adam(0.01, beta_2=0.9, epsilon=TINY, amsgrad=True),
        lambda w: torch.optim.Adam(w, 0.01, (0.9, 0.9), eps=TINY, amsgrad=True),
    ),
    "adamw": (
        optimizers.AdamW(0.01, epsilon=TINY, weight_decay=0.1),
        lambda w: torch.optim.AdamW(w, 0.01, eps=TINY, weight_decay=0.1),
    ),
    "adagrad": (
        optimizers.Adagrad(0.01, 0.2, TINY),
        lambda w: torch.optim.Adagrad(w, 0.01, initial_accumulator_value=0.2, eps=TINY),
    ),
    "adadelta": (
        optimizers.Adadelta(0.5, 0.8, 1e-5),
        lambda w: torch.optim.Adadelta(w, 0.5, 0.8, 1e-5),
    ),
    "adamax": (
        optimizers.Adamax(0.01, epsilon=TINY), lambda w: torch.optim.Adamax(w, 0.01, eps=TINY),
    ),
    "nadam": (
        optimizers.Nadam(0.01), lambda w: torch.optim.NAdam(w, 0.01, eps=1e-7, momentum_decay=1.0),
    ),
    "adafactor": (
        optimizers.Adafactor(0.01),
        lambda w: torch.optim.Adafactor(w, 0.01, eps=(1e-15, 1e-3), weight_decay=0.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PYTORCH)
def test_ten_free_steps_are_pytorchs_steps(case):
    ours, theirs = PYTORCH[case]
    model = network(ours)
    for x, y in zip(X[:10], Y[:10], strict=True):
        model.train_on_batch(x, y)
    assert_close(model.get_weights(), torch_steps(theirs, 10), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("options", "clip"), [
    ({"global_clipnorm": 0.1}, lambda w: torch.nn.utils.clip_grad_norm_(w, 0.1)),
    ({"clipvalue": 0.02}, lambda w: torch.nn.utils.clip_grad_value_(w, 0.02)),
    ({"clipnorm": 0.05}, lambda w: [torch.nn.utils.clip_grad_norm_([p], 0.05) for p in w]),
], ids=["global_clipnorm", "clipvalue", "clipnorm"])  # fmt: skip
def test_clipped_gradients_are_pytorchs(options, clip):
    model = network(optimizers.SGD(0.5, **options))
    for x, y in zip(X[:5], Y[:5], strict=True):
        model.train_on_batch(x, y)
    expected = torch_steps(lambda w: torch.optim.SGD(w, 0.5), 5, clip)
    # PyTorch adds 1e-6 to the norm.
    assert_close(model.get_weights(), expected, rtol=3e-5, atol=1e-6)


SCHEDULES = [
    ("ExponentialDecay", (0.1, 10, 0.5), {}),
    ("ExponentialDecay", (0.1, 10, 0.5), {"staircase": True}),
    ("InverseTimeDecay", (0.1, 10, 0.5), {}),
    ("InverseTimeDecay", (0.1, 10, 0.5), {"staircase": True}),
    ("PolynomialDecay", (0.1, 20), {}),
    ("PolynomialDecay", (0.1, 20, 0.01), {"power": 2.0}),
    ("PolynomialDecay", (0.1, 8, 0.01), {"cycle": True}),
    ("CosineDecayRestarts", (0.1, 6), {}),
    ("CosineDecayRestarts", (0.1, 5), {"t_mul": 1.0, "m_mul": 0.7, "alpha": 0.1}),
    # Steps 4 + 6 would end a wave, too, but Keras's logarithms miss it by a bit.
    ("CosineDecayRestarts", (0.1, 5), {"t_mul": 1.5, "m_mul": 0.5}),
    ("CosineDecay", (0.1, 20), {}), ("CosineDecay", (0.1, 20), {"alpha": 0.1}),
    ("CosineDecay", (0.0, 20), {"warmup_target": 0.2, "warmup_steps": 7, "alpha": 0.05}),
    ("CosineDecay", (0.1, 20), {"warmup_steps": 7}),
    ("PiecewiseConstantDecay", ([5, 12], [0.1, 0.05, 0.01]), {}),
]  # fmt: skip


def schedule_id(case):
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[2].items())])


def test_every_schedule_has_a_case():
    assert {name for name, _, _ in SCHEDULES} == set(schedules.__all__) - {
        "LearningRateSchedule", "Schedule"}  # fmt: skip


@pytest.mark.parametrize("case", SCHEDULES, ids=schedule_id)
def test_schedules_are_keras_schedules(case):
    name, args, kwargs = case
    ours = getattr(schedules, name)(*args, **kwargs)
    theirs = getattr(keras.optimizers.schedules, name)(*args, **kwargs)
    for step in range(35):
        assert ours(step) == pytest.approx(float(theirs(step)), rel=1e-5, abs=1e-8)
    again = type(ours)(**ours.get_config())
    assert [again(step) for step in range(35)] == [ours(step) for step in range(35)]


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_the_first_update_takes_the_schedules_first_rate(name):
    arguments = {"initial_learning_rate": 0.02, "decay_steps": 3, "decay_rate": 0.3}
    theirs = keras.optimizers.schedules.ExponentialDecay(**arguments)
    oracle = Oracle(getattr(keras.optimizers, name)(theirs))
    model = network(getattr(optimizers, name)(schedules.ExponentialDecay(**arguments)))
    for x, y in zip(X[:10], Y[:10], strict=True):
        model.train_on_batch(x, y)
        oracle.step(x, y)
    assert_close(model.get_weights(), oracle.weights(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [
    {}, {"global_clipnorm": 0.1}, {"clipnorm": 0.05}, {"clipvalue": 0.02}, {"weight_decay": 0.02},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "Adam"])
def test_accumulated_gradients_are_keras_accumulated_gradients(name, options):
    options = {**options, "gradient_accumulation_steps": 3}
    oracle = Oracle(getattr(keras.optimizers, name)(0.02, **options))
    model = network(getattr(optimizers, name)(0.02, **options))
    for number in range(10):
        model.train_on_batch(X[number], Y[number])
        oracle.step(X[number], Y[number])
        assert int(oracle.optimizer.iterations) == model.optimizer.iterations
        assert_close(model.get_weights(), oracle.weights(), rtol=1e-5, atol=1e-6)
