"""Start values: bounds, variances, orthogonality, names, and what Keras draws."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

from edgeml import initializers
from edgeml._names import snake
from edgeml.errors import ConfigError
from edgeml.initializers._scaling import fans

SHAPES = [(300, 200), (5, 5, 16, 64), (3, 100, 60), (3, 3, 3, 8, 16)]
# name, variance times fan, which fan, limit in standard deviations (None: unlimited)
SCALINGS = [
    ("glorot_uniform", 1.0, "avg", np.sqrt(3)),
    ("glorot_normal", 1.0, "avg", 2 / 0.8796256610342398),
    ("he_uniform", 2.0, "in", np.sqrt(3)),
    ("he_normal", 2.0, "in", 2 / 0.8796256610342398),
    ("lecun_uniform", 1.0, "in", np.sqrt(3)),
    ("lecun_normal", 1.0, "in", 2 / 0.8796256610342398),
]


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("name", "scale", "fan", "limit"), SCALINGS)
def test_scalings_keep_their_variance_and_bounds(name, scale, fan, limit, shape):
    taken, given = shape[-2] * np.prod(shape[:-2]), shape[-1] * np.prod(shape[:-2])
    variance = scale / {"in": taken, "avg": (taken + given) / 2}[fan]
    values = initializers.get(name)(shape, rng())
    assert values.dtype == np.float32
    assert values.shape == shape
    spread = 5 * np.sqrt(2 / values.size)  # five standard errors of a variance
    assert np.var(values) == pytest.approx(variance, rel=spread)
    assert abs(values.mean()) < 5 * np.sqrt(variance / values.size)
    assert np.abs(values).max() <= limit * np.sqrt(variance) * (1 + 1e-6)
    assert np.abs(values).max() > 0.98 * limit * np.sqrt(variance)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((), (1, 1)), ((7,), (7, 7)), ((3, 4), (3, 4)), ((5, 3, 4), (15, 20)),
     ((3, 3, 8, 16), (72, 144)), ((2, 3, 4, 5, 6), (120, 144))],
)  # fmt: skip
def test_fans_of_kernels_in_keras_order(shape, expected):
    assert fans(shape) == expected


def test_plain_ones():
    assert (initializers.Zeros()((2, 3), rng()) == np.zeros((2, 3))).all()
    assert (initializers.Ones()((2, 3), rng()) == np.ones((2, 3))).all()
    assert (initializers.Constant(0.25)((2, 3), rng()) == 0.25).all()
    assert (initializers.Constant([1, 2, 3])((2, 3), rng())[1] == [1, 2, 3]).all()
    identity = initializers.Identity(2.0)((2, 3), rng())
    assert (identity == [[2, 0, 0], [0, 2, 0]]).all()
    for name in ("zeros", "ones", "constant", "identity"):
        assert initializers.get(name)((2, 2), rng()).dtype == np.float32


def test_uniform_and_normal():
    values = initializers.RandomUniform(-0.2, 0.4)((200, 200), rng())
    assert -0.2 <= values.min() < -0.199 < 0.399 < values.max() <= 0.4
    assert values.mean() == pytest.approx(0.1, abs=0.005)
    values = initializers.RandomNormal(1.0, 0.5)((200, 200), rng())
    assert (values.mean(), values.std()) == pytest.approx((1.0, 0.5), abs=0.02)
    assert np.abs(values - 1.0).max() > 1.5
    values = initializers.TruncatedNormal(1.0, 0.5)((200, 200), rng())
    assert 0.99 < np.abs(values - 1.0).max() <= 1.0
    assert values.std() == pytest.approx(0.5 * 0.8796, rel=0.02)


@pytest.mark.parametrize("shape", [(6, 6), (20, 8), (8, 20), (3, 3, 4, 10), (3, 1, 2, 40)], ids=str)
def test_orthogonal(shape):
    values = initializers.Orthogonal(1.5)(shape, rng()).reshape(-1, shape[-1]) / 1.5
    smaller = min(values.shape)
    product = values.T @ values if values.shape[0] >= values.shape[1] else values @ values.T
    np.testing.assert_allclose(product, np.eye(smaller), atol=1e-6)


def test_orthogonal_is_uniform_over_rotations():
    """Without the signs of R, the first entry would always have the same sign."""
    signs = [initializers.Orthogonal()((4, 4), rng(i))[0, 0] > 0 for i in range(60)]
    assert 15 < sum(signs) < 45


CLASSES = sorted(name for name in initializers.__all__ if name[0].isupper())


@pytest.mark.parametrize(
    "name", [n for n in CLASSES if n not in ("Initializer", "STFT", "STFTInitializer")]
)
def test_each_is_found_by_its_names_and_made_again_from_its_config(name):
    cls = getattr(initializers, name)
    assert getattr(initializers, snake(name), cls) is cls
    camel = name[0].lower() + name[1:]
    for spelling in (name, camel, snake(name)):
        assert type(initializers.get(spelling)) is cls
    one = initializers.get(cls)
    again = cls.from_config(one.get_config())
    assert again == one
    assert type(initializers.get({"class_name": name, "config": one.get_config()})) is cls
    assert (one((4, 4), rng(3)) == again((4, 4), rng(3))).all()


def test_a_seed_and_a_generator_decide():
    he = initializers.HeNormal()
    generator = rng(1)
    first, second = he((8, 8), generator), he((8, 8), generator)
    assert (first == he((8, 8), rng(1))).all()
    assert (first != second).any()
    seeded = initializers.HeNormal(seed=7)
    assert (seeded((8, 8), rng(1)) == seeded((8, 8), rng(2))).all()


def test_tensorflow_js_spellings_and_functions():
    assert type(initializers.get("leCunNormal")) is initializers.LecunNormal
    assert type(initializers.get("varianceScaling")) is initializers.VarianceScaling
    initializers.VarianceScaling(1.0, "fanAvg", "truncatedNormal")
    found = initializers.get({"class_name": "randomNormal", "config": {"stddev": 2.0}})
    assert found == initializers.RandomNormal(stddev=2.0)

    def mine(shape, rng):
        return np.full(shape, 3.0, np.float32)

    assert initializers.get(mine) is mine


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.get("glorot_unifrm"), "did you mean glorot_uniform"),
        (lambda: initializers.get(None), "there is no initializer None"),
        (lambda: initializers.VarianceScaling(mode="fan"), "fan_in"),
        (lambda: initializers.VarianceScaling(distribution="gauss"), "truncated_normal"),
        (lambda: initializers.VarianceScaling(scale=0), "above 0"),
        (lambda: initializers.Orthogonal()((3,), rng()), "at least two axes"),
        (lambda: initializers.Identity()((3, 3, 3), rng()), "two axes"),
        (lambda: initializers.STFT("left"), "side: expected 'real' or 'imag'"),
        (lambda: initializers.STFT(window="hat"), "window: expected one of hann"),
        (lambda: initializers.STFT(scaling="power"), "scaling: expected 'density'"),
        (lambda: initializers.STFT()((8, 8), rng()), "samples, 1, frequencies"),
        (lambda: initializers.STFT(window=np.ones(7))((8, 1, 5), rng()), "expected 8 values"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("name", [n for n, *_ in SCALINGS])
def test_spread_is_that_of_keras(name):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras", reason="Keras, the oracle, is not installed")
    for shape in SHAPES[:3]:
        theirs = keras.ops.convert_to_numpy(keras.initializers.get(name)(shape))
        ours = initializers.get(name)(shape, rng())
        assert ours.std() == pytest.approx(theirs.std(), rel=8 / np.sqrt(ours.size))
        if "uniform" in name:  # Keras on torch cuts normals off in most cases only
            assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("options", [
    {}, {"side": "imag", "window": "hamming", "periodic": True}, {"window": None},
    {"window": "blackman", "scaling": "spectrum"}, {"scaling": None, "periodic": True},
    {"window": np.linspace(0.1, 1, 24)},
], ids=str)  # fmt: skip
def test_the_fourier_basis_is_that_of_keras(options):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras", reason="Keras, the oracle, is not installed")
    theirs = keras.ops.convert_to_numpy(keras.initializers.STFT(**options)((24, 1, 17)))
    ours = initializers.STFT(**options)
    np.testing.assert_allclose(ours((24, 1, 17), rng()), theirs, rtol=1e-4, atol=5e-6)
    assert initializers.STFT.from_config(ours.get_config()).side == ours.side
    assert initializers.get("stft") == initializers.STFT()


def test_names_are_those_of_keras():
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        keras = pytest.importorskip("keras", reason="Keras, the oracle, is not installed")
    public = {name for name in dir(keras.initializers) if name[0] != "_"}
    assert public - set(initializers.__all__) == {"deserialize", "serialize"}
