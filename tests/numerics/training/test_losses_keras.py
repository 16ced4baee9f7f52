"""Every loss against Keras 3: values and gradients over options, weights and masks."""

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what Keras and torch warn of while loading is not ours
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")

from edgeml import losses, ops, value_and_grad
from edgeml.graph import function

# Keras's way from torch to NumPy is what NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
rng = np.random.default_rng(0)
f32 = np.float32


def normal(*shape):
    return rng.standard_normal(shape).astype(f32)


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return (e / e.sum(axis, keepdims=True)).astype(f32)


def hot(labels, classes, axis=-1):
    return np.moveaxis(np.eye(classes, dtype=f32)[labels], -1, axis)


def regions(*shape):
    return (rng.random(shape) > 0.6).astype(f32)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


LABELS, STEPS = rng.integers(0, 4, 6), rng.integers(0, 4, (6, 5))
ONES = rng.integers(0, 2, (6, 3)).astype(f32)
PROBABILITIES = rng.random((6, 3)).astype(f32)
SPARSE, CATEGORICAL = "SparseCategoricalCrossentropy", "CategoricalCrossentropy"
BINARY = "BinaryCrossentropy"

# (name, options, targets, outputs)
CASES = [
    *((name, {}, normal(6, 3), normal(6, 3)) for name in (
        "MeanSquaredError", "MeanAbsoluteError", "MeanAbsolutePercentageError", "Huber", "LogCosh",
        "CosineSimilarity")),
    *((name, {}, normal(6, 5, 3), normal(6, 5, 3)) for name in (
        "MeanSquaredError", "MeanAbsoluteError", "Huber", "CosineSimilarity")),
    ("MeanSquaredError", {}, normal(6), normal(6, 1)),
    ("MeanSquaredError", {}, normal(6, 1), normal(6)),
    ("Huber", {"delta": 0.3}, normal(6, 3), normal(6, 3)),
    ("CosineSimilarity", {"axis": 1}, normal(6, 5, 3), normal(6, 5, 3)),
    ("CosineSimilarity", {}, normal(6, 3) * f32(1e-4), normal(6, 3) * f32(1e-4)),
    ("LogCosh", {}, normal(6, 3) * 50, normal(6, 3) * 50),
    ("MeanSquaredLogarithmicError", {}, np.abs(normal(6, 3)), np.abs(normal(6, 3))),
    ("Poisson", {}, np.abs(normal(6, 3)), np.abs(normal(6, 3)) + f32(0.1)),
    ("KLDivergence", {}, softmax(normal(6, 3)), softmax(normal(6, 3))),
    ("KLDivergence", {}, hot(LABELS, 4), softmax(normal(6, 4))),
    *((name, {}, y, normal(6, 3)) for name in ("Hinge", "SquaredHinge") for y in (
        ONES, ONES * 2 - 1)),
    ("CategoricalHinge", {}, hot(LABELS, 4), normal(6, 4)),
    *((BINARY, options, ONES, PROBABILITIES) for options in (
        {}, {"label_smoothing": 0.2}, {"axis": 0})),
    *((BINARY, {"from_logits": True, **options}, ONES, normal(6, 3) * 3) for options in (
        {}, {"label_smoothing": 0.2})),
    (BINARY, {"from_logits": True}, rng.random((6, 3)).astype(f32), normal(6, 3)),
    (BINARY, {}, ONES[:, 0], PROBABILITIES[:, :1]),
    (BINARY, {"from_logits": True}, ONES[:, 0], normal(6, 1)),
    *((CATEGORICAL, options, hot(LABELS, 4), softmax(normal(6, 4))) for options in (
        {}, {"label_smoothing": 0.1})),
    (CATEGORICAL, {}, hot(LABELS, 4), softmax(normal(6, 4)) * f32(3.0)),
    *((CATEGORICAL, {"from_logits": True, **options}, hot(LABELS, 4), normal(6, 4))
      for options in ({}, {"label_smoothing": 0.1})),
    (CATEGORICAL, {"from_logits": True}, softmax(normal(6, 4)), normal(6, 4)),
    (CATEGORICAL, {"from_logits": True}, hot(STEPS, 4), normal(6, 5, 4)),
    (CATEGORICAL, {"from_logits": True, "axis": 1}, hot(STEPS, 4, 1), normal(6, 4, 5)),
    (CATEGORICAL, {"axis": 1}, hot(STEPS, 4, 1), softmax(normal(6, 4, 5), 1)),
    (SPARSE, {}, LABELS, softmax(normal(6, 4))), (SPARSE, {}, STEPS, softmax(normal(6, 5, 4))),
    (SPARSE, {"from_logits": True}, LABELS, normal(6, 4)),
    (SPARSE, {"from_logits": True}, LABELS[:, None], normal(6, 4)),
    (SPARSE, {"from_logits": True}, LABELS.astype(f32), normal(6, 4)),
    (SPARSE, {"from_logits": True}, STEPS, normal(6, 5, 4)),
    (SPARSE, {"from_logits": True, "axis": 1}, STEPS, normal(6, 4, 5)),
    (SPARSE, {"axis": 1}, STEPS, softmax(normal(6, 4, 5), 1)),
    (SPARSE, {"from_logits": True, "ignore_class": 2}, STEPS, normal(6, 5, 4)),
    (SPARSE, {"from_logits": True, "ignore_class": -1}, np.where(STEPS, STEPS, -1),
     normal(6, 5, 4)),
    (SPARSE, {"ignore_class": 2}, LABELS, softmax(normal(6, 4))),
    *(("BinaryFocalCrossentropy", options, ONES, PROBABILITIES) for options in (
        {}, {"gamma": 0.5, "label_smoothing": 0.2}, {"axis": 0},
        {"apply_class_balancing": True, "alpha": 0.7})),
    ("BinaryFocalCrossentropy", {"from_logits": True}, ONES, normal(6, 3) * 3),
    *(("CategoricalFocalCrossentropy", options, hot(LABELS, 4), softmax(normal(6, 4))) for options
      in ({}, {"gamma": 1.0, "alpha": 0.5, "label_smoothing": 0.1})),
    ("CategoricalFocalCrossentropy", {"alpha": [0.1, 0.2, 0.3, 0.4]}, hot(STEPS, 4),
     softmax(normal(6, 5, 4))),
    ("CategoricalFocalCrossentropy", {"from_logits": True}, hot(LABELS, 4), normal(6, 4)),
    ("CategoricalGeneralizedCrossEntropy", {}, LABELS, softmax(normal(6, 4))),
    ("CategoricalGeneralizedCrossEntropy", {"q": 0.8}, STEPS, softmax(normal(6, 5, 4))),
    *((name, {"axis": axis}, regions(6, 5, 4), softmax(normal(6, 5, 4)))
      for name in ("Dice", "Tversky") for axis in ((1, 2), (0, 1), 1)),
    ("Tversky", {"alpha": 0.8, "beta": 0.3, "axis": (1, 2)}, regions(6, 5, 4),
     softmax(normal(6, 5, 4))),
    ("Circle", {}, np.array([0, 1, 0, 2, 1, 3]), unit(normal(6, 3))),
    ("Circle", {"gamma": 2.0, "margin": 0.25, "remove_diagonal": False}, LABELS,
     unit(normal(6, 3))),
    ("CTC", {}, np.array([[1, 2, 3, 1], [2, 2, 0, 0], [3, 0, 0, 0], [0, 0, 0, 0]]),
     normal(4, 9, 4) * 2),
    ("CTC", {}, np.array([[1, 1, 2]]), normal(1, 5, 4) * 10),
]  # fmt: skip
WHOLE = [  # one value for a batch
    ("Dice", {}, regions(6, 5, 4), softmax(normal(6, 5, 4))),
    ("Tversky", {"alpha": 0.9, "beta": 0.1}, regions(6, 5, 4), softmax(normal(6, 5, 4))),
]  # fmt: skip
IDS = [f"{i}-{name}-{options or ''}" for i, (name, options, _, _) in enumerate(CASES)]
REDUCTIONS = ["sum_over_batch_size", "sum", "mean_with_sample_weight", None]


def kept(mask):
    """Return a layer's way to give its output a mask."""

    def hold(x):
        x.graph.root().masks[x] = mask
        return x

    return hold


def ours(name, options, y, output, weight=None, mask=None):
    """Return (value, gradient of its sum)."""
    loss = getattr(losses, name)(**options)
    arrays = {"y": y} | ({} if weight is None else {"w": weight}) | (
        {} if mask is None else {"mask": mask})  # fmt: skip

    def run(p, given):
        if mask is not None:
            p = kept(given["mask"])(p * 1.0)
        value = loss(given["y"], p, given.get("w"))
        return ops.sum(value), value

    (_, value), gradient = value_and_grad(run, has_aux=True)(output, arrays)
    return value, gradient


def theirs(name, options, y, output, weight=None, mask=None):
    loss = getattr(keras.losses, name)(**options)
    p = torch.tensor(output, requires_grad=True)
    q = p * 1.0
    if mask is not None:
        keras.src.backend.set_keras_mask(q, torch.tensor(mask))
    value = loss(torch.tensor(y), q, None if weight is None else torch.tensor(weight))
    value.sum().backward()
    return value.detach().numpy(), p.grad.numpy()


def assert_equal(*case, **more):
    received, expected = ours(*case, **more), theirs(*case, **more)
    np.testing.assert_allclose(received[0], expected[0], rtol=1e-5, atol=1e-6)
    scale = np.abs(expected[1]).max()
    np.testing.assert_allclose(received[1], expected[1], rtol=1e-4, atol=1e-5 * scale)
    assert np.shape(received[0]) == expected[0].shape


def test_every_loss_has_a_case():
    known = {name for name in losses.__all__ if isinstance(getattr(losses, name), type)}
    # The distance is TensorFlow.js's.
    assert {name for name, *_ in CASES} == known - {"CosineDistance", "Loss"}


@pytest.mark.parametrize("case", CASES + WHOLE, ids=[*IDS, "dice-whole", "tversky-whole"])
def test_values_and_gradients(case):
    assert_equal(*case)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_reductions_and_weights(case, reduction):
    name, options, y, output = case
    options = {**options, "reduction": reduction}
    assert_equal(name, options, y, output)
    values = ours(name, {**options, "reduction": None}, y, output)[0]
    weight = rng.random(values.shape).astype(f32) * 2
    weight[0] = 0.0
    assert_equal(name, options, y, output, weight)
    if values.ndim > 1 and "ignore_class" not in options:  # one weight for each example
        assert_equal(name, options, y, output, weight[:, :1])


def test_a_last_axis_of_one_may_be_left_out_of_targets():
    """Of sequences, too, where Keras would take the mean over the steps first."""
    y, output = normal(6, 5), normal(6, 5, 1)
    options, weight = {"reduction": "sum"}, rng.random((6, 5)).astype(f32)
    short = ours("MeanSquaredError", options, y, output, weight)
    full = theirs("MeanSquaredError", options, y[..., None], output, weight)
    for a, b in zip(short, full, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_one_weight_for_each_example_of_sequences():
    """Keras wants (batch, 1) here; (batch,) says the same."""
    y, output, weight = STEPS, normal(6, 5, 4), rng.random(6).astype(f32)
    flat = ours(SPARSE, {"from_logits": True}, y, output, weight)
    column = theirs(SPARSE, {"from_logits": True}, y, output, weight[:, None])
    for a, b in zip(flat, column, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


MASKED = [
    ("MeanSquaredError", {}, normal(6, 5, 3), normal(6, 5, 3)),
    (SPARSE, {"from_logits": True}, STEPS, normal(6, 5, 4)),
    (SPARSE, {"from_logits": True, "ignore_class": 1}, STEPS, normal(6, 5, 4)),
    (BINARY, {"from_logits": True}, rng.integers(0, 2, (6, 5, 1)).astype(f32), normal(6, 5, 1)),
]  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", MASKED, ids=[f"{c[0]}-{c[1]}" for c in MASKED])
def test_masks(case, weighted, reduction):
    name, options, y, output = case
    weight = rng.random((6, 5)).astype(f32) if weighted else None
    mask = rng.random((6, 5)) > 0.4
    assert_equal(name, {**options, "reduction": reduction}, y, output, weight=weight, mask=mask)


def test_a_mask_that_leaves_nothing_gives_zero():
    case = MASKED[1]
    value, gradient = ours(*case, mask=np.zeros((6, 5), bool))
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)


EXTREME = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 88.0], [100.0, 100.0, 100.0]], f32)


@pytest.mark.parametrize(("name", "y"), [
    (SPARSE, np.array([1, 0, 2])), (CATEGORICAL, hot(np.array([1, 0, 2]), 3)),
    (BINARY, np.array([[0, 1, 1], [1, 0, 0], [1, 1, 0]], f32)),
])  # fmt: skip
def test_extreme_logits_are_finite_and_right(name, y):
    assert_equal(name, {"from_logits": True}, y, EXTREME)
    value, gradient = ours(name, {"from_logits": True}, y, EXTREME)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("name", "y"), [
    (SPARSE, np.array([1, 0])), (CATEGORICAL, np.array([[0, 1], [1, 0]], f32)),
    (BINARY, np.array([[0, 1], [1, 0]], f32)), ("KLDivergence", np.array([[0, 1], [1, 0]], f32)),
    ("Poisson", np.array([[0, 1], [1, 0]], f32)),
])  # fmt: skip
def test_certain_and_wrong_probabilities_are_finite(name, y):
    output = np.array([[1.0, 0.0], [0.0, 1.0]], f32)
    value, gradient = ours(name, {}, y, output)
    assert value == pytest.approx(float(theirs(name, {}, y, output)[0]), rel=1e-5)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["LogCosh", "MeanSquaredLogarithmicError", "CosineSimilarity",
                                  "MeanAbsolutePercentageError", "Huber"])  # fmt: skip
def test_zeros_and_large_errors_are_finite(name):
    zeros = np.zeros((2, 3), f32)
    for y, output in ((zeros, zeros), (zeros, zeros + f32(1e4)), (zeros + f32(1e4), zeros)):
        value, gradient = ours(name, {}, y, output)
        assert value == pytest.approx(float(theirs(name, {}, y, output)[0]), rel=1e-5)
        assert np.isfinite(gradient).all()


def test_hinge_takes_zeros_for_minus_ones_only_when_all_are_binary():
    output = normal(6, 3)
    mixed = ONES.copy()
    mixed[0, 0] = -1.0
    assert_equal("Hinge", {}, mixed, output)


@pytest.mark.parametrize("name", [
    "mse", "mae", "mape", "msle", "kld", "binary_crossentropy", "categorical_crossentropy",
    "sparse_categorical_crossentropy", "hinge", "squared_hinge", "categorical_hinge", "poisson",
    "cosine_similarity", "huber", "log_cosh", "logcosh", "kl_divergence", "mean_squared_error",
    "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_logarithmic_error",
])  # fmt: skip
def test_keras_names(name):
    y, output = hot(LABELS, 4), softmax(normal(6, 4))
    y = LABELS if name.startswith("sparse") else y
    given = losses.get(name)
    values = function(lambda y, p: given.call(y, p))(y, output)
    known = keras.losses.get("log_cosh" if name == "logcosh" else name)
    expected = known(torch.tensor(y), torch.tensor(output))
    np.testing.assert_allclose(values, expected.numpy(), rtol=1e-5, atol=1e-6)


FUNCTIONS = {name: value for name, value in vars(losses).items()
             if name in losses.__all__ and hasattr(keras.losses, name) and name.islower()
             and name != "get"}  # fmt: skip
OF_NUMBERS = ("sparse_categorical_crossentropy", "categorical_generalized_cross_entropy", "circle")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_keras_functions(name):
    y, output = hot(LABELS, 4), softmax(normal(6, 4))
    y = LABELS if name in OF_NUMBERS else y
    output = unit(output) if name == "circle" else output
    if name == "ctc":
        y, output = np.array([[1, 2], [3, 0]]), normal(2, 6, 4)
    options = {"q": 0.3} if name == "categorical_generalized_cross_entropy" else {}
    expected = getattr(keras.losses, name)(torch.tensor(y), torch.tensor(output), **options)
    received = FUNCTIONS[name](y, output, **options)
    np.testing.assert_allclose(received, expected.numpy(), rtol=1e-5, atol=1e-6)
    traced = function(lambda a, b: FUNCTIONS[name](a, b, **options) * 2.0)(y, output)
    np.testing.assert_allclose(traced, expected.numpy() * 2, rtol=1e-5, atol=1e-6)


def test_functions_have_keras_names():
    public = {name for name in dir(keras.losses) if name.islower() and name[0] != "_"}
    assert public - set(FUNCTIONS) == {"deserialize", "get", "serialize"}


def test_ctc_of_labels_that_do_not_fit_is_infinite():
    y, output = np.array([[1, 1, 2], [1, 2, 0]]), normal(2, 3, 4)
    values, _ = ours("CTC", {"reduction": None}, y, output)
    expected, _ = theirs("CTC", {"reduction": None}, y, output)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert np.isinf(values[0])


def test_ctc_of_long_sequences():
    labels = np.zeros((2, 40), np.int64)
    labels[0], labels[1, :25] = rng.integers(1, 9, 40), rng.integers(1, 9, 25)
    logits = normal(2, 300, 9) * 3
    value, gradient = ours("CTC", {}, labels, logits)
    p = torch.tensor(logits.astype(np.float64), requires_grad=True)  # float32 loses digits there
    steps = torch.log_softmax(p, -1).transpose(0, 1)
    exact = torch.nn.functional.ctc_loss(
        steps, torch.tensor(labels), torch.tensor([300, 300]), torch.tensor([40, 25]),
        reduction="none",
    ).mean()  # fmt: skip
    exact.backward()
    assert value == pytest.approx(exact.item(), rel=1e-5)
    np.testing.assert_allclose(gradient, p.grad.numpy(), rtol=2e-3, atol=1e-5)
