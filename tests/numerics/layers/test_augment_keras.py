"""Augmentations against Keras 3, for given random parameters, and their distributions."""

import os

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")
scipy_stats = pytest.importorskip("scipy.stats", reason="scipy is not installed")

from edgeml import layers, ops  # noqa: E402
from edgeml.graph import function  # noqa: E402
from edgeml.layers._augment_affine import rotation  # noqa: E402
from edgeml.layers._augment_color import blurred  # noqa: E402
from edgeml.layers._augment_mix import beta  # noqa: E402

rng = np.random.default_rng(0)
X = (rng.random((4, 6, 9, 3)) * 255).astype(np.float32)
FILLS = ("reflect", "nearest", "constant", "wrap")
MOVES = [(fill, "bilinear") for fill in FILLS] + [("reflect", "nearest"), ("wrap", "nearest")]


def _theirs(layer, transformation):
    return layer.transform_images(torch.tensor(X), transformation, training=True).numpy()


def _warped(layer, matrix):
    def run(x, *columns):
        y = layer.warp(ops.transpose(x, [0, 3, 1, 2]), columns)
        return ops.transpose(y, [0, 2, 3, 1])

    return function(run)(X, *(np.float32(m) for m in matrix))


@pytest.mark.parametrize(("fill", "interpolation"), MOVES)
def test_rotation(fill, interpolation):
    options = {"fill_mode": fill, "interpolation": interpolation, "fill_value": 3.0}
    theirs = keras.layers.RandomRotation(0.3, seed=1, **options)
    t = theirs.get_random_transformation(torch.tensor(X))
    turns = t["angle"].numpy()[:, None] / 360.0
    ours = layers.RandomRotation(0.3, **options)

    def run(x, turns):
        y = ours.warp(ops.transpose(x, [0, 3, 1, 2]), rotation(turns, 6, 9))
        return ops.transpose(y, [0, 2, 3, 1])

    np.testing.assert_allclose(function(run)(X, turns), _theirs(theirs, t), atol=2e-2)


@pytest.mark.parametrize(("fill", "interpolation"), MOVES)
def test_translation_and_zoom_and_shear(fill, interpolation):
    options = {"fill_mode": fill, "interpolation": interpolation, "fill_value": 3.0}
    theirs = keras.layers.RandomTranslation(0.4, 0.4, seed=1, **options)
    t = theirs.get_random_transformation(torch.tensor(X))
    right, down = (-t["translations"].numpy()[:, i : i + 1] for i in (0, 1))
    one, zero = np.ones((4, 1)), np.zeros((4, 1))
    made = _warped(layers.RandomTranslation(0.4, 0.4, **options),
                   [one, zero, right, zero, one, down])  # fmt: skip
    np.testing.assert_allclose(made, _theirs(theirs, t), atol=2e-2)
    zoom = keras.layers.RandomZoom(0.4, 0.3, seed=2, **options)
    t = zoom.get_random_transformation(torch.tensor(X))
    wide, tall = t["width_zoom"].numpy(), t["height_zoom"].numpy()
    made = _warped(layers.RandomZoom(0.4, 0.3, **options),
                   [wide, zero, (1 - wide) * 4.0, zero, tall, (1 - tall) * 2.5])  # fmt: skip
    np.testing.assert_allclose(made, _theirs(zoom, t), atol=2e-2)
    shear = keras.layers.RandomShear(0.4, 0.3, seed=3, **options)
    t = shear.get_random_transformation(torch.tensor(X))
    x, y = (t["shear_factor"].numpy()[:, i : i + 1] for i in (0, 1))
    made = _warped(layers.RandomShear(0.4, 0.3, **options), [one, x, zero, y, one, zero])
    np.testing.assert_allclose(made, _theirs(shear, t), atol=2e-2)


def test_what_is_drawn_is_what_is_applied():
    """A pair of equal numbers leaves nothing to chance, but for the sign of a shear."""
    for name, arguments in [
        ("RandomRotation", ((0.1, 0.1),)), ("RandomTranslation", ((0.2, 0.2), (-0.3, -0.3))),
        ("RandomZoom", ((0.4, 0.4), (-0.2, -0.2))), ("RandomZoom", ((0.4, 0.4),)),
        ("RandomBrightness", ((0.2, 0.2),)),
    ]:  # fmt: skip
        expected = getattr(keras.layers, name)(*arguments)(torch.tensor(X), training=True).numpy()
        made = getattr(layers, name)(*arguments)(X, training=True)
        np.testing.assert_allclose(made, expected, atol=2e-2, err_msg=name)
    there = layers.RandomShear((0.3, 0.3))(X, training=True)
    for made, picture in zip(there, X, strict=True):
        each = [
            keras.ops.image.affine_transform(
                torch.tensor(picture), torch.tensor([1, s, 0, 0, 1, 0, 0, 0.0]), fill_mode="reflect"
            ).numpy() for s in (0.3, -0.3)
        ]  # fmt: skip
        assert min(np.abs(made - e).max() for e in each) < 2e-2


@pytest.mark.parametrize("name", ["contrast", "auto", "invert", "gray"])
def test_colours(name):
    if name == "contrast":
        theirs = keras.layers.RandomContrast(0.5, seed=1)
        t = theirs.get_random_transformation(torch.tensor(X))
        ours = layers.RandomContrast(0.5)
        first = function(lambda x, f: ops.transpose(
            ours.contrasted(ops.transpose(x, [0, 3, 1, 2]), f), [0, 2, 3, 1]))  # fmt: skip
        factor = t["contrast_factor"].numpy()
        np.testing.assert_allclose(first(X, factor), _theirs(theirs, t), rtol=1e-4, atol=1e-3)
        return
    kind, arguments = {
        "auto": ("AutoContrast", {}), "invert": ("RandomInvert", {"factor": (1.0, 1.0)}),
        "gray": ("RandomGrayscale", {"factor": 1.0}),
    }[name]  # fmt: skip
    expected = getattr(keras.layers, kind)(**arguments)(torch.tensor(X), training=True).numpy()
    made = getattr(layers, kind)(**arguments)(X, training=True)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-2)


def test_solarization():
    expected = keras.layers.Solarization().transform_images(
        torch.tensor(X), {"additions": 25.5, "thresholds": 102.0}
    ).numpy()  # fmt: skip
    # Keras draws from (low, 255 * high) where its text says (255 * low, 255 * high).
    made = layers.Solarization((0.1, 0.1), (0.4, 0.4))(X, training=True)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-2)


def test_blur():
    expected = keras.ops.image.gaussian_blur(
        torch.tensor(X), kernel_size=(5, 5), sigma=(1.3, 0.7), data_format="channels_last"
    ).numpy()

    def run(x, horizontal, vertical):
        first = ops.transpose(x, [0, 3, 1, 2])
        made = blurred(blurred(first, vertical, 5, 2), horizontal, 5, 3)
        return ops.transpose(made, [0, 2, 3, 1])

    made = function(run)(X, np.float32([1.3]), np.float32([0.7]))
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [(4, 4), (12, 7), (3, 18)])
@pytest.mark.parametrize("options", [
    {}, {"interpolation": "nearest"}, {"interpolation": "bicubic"}, {"antialias": True},
    {"antialias": True, "interpolation": "bicubic"}, {"crop_to_aspect_ratio": True},
    {"pad_to_aspect_ratio": True, "fill_value": 7.0},
], ids=str)  # fmt: skip
def test_resizing(size, options):
    expected = keras.layers.Resizing(*size, **options)(torch.tensor(X)).numpy()
    made = layers.Resizing(*size, **options)(X)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-2)


@pytest.mark.parametrize("size", [(4, 4), (6, 9), (5, 2), (8, 8), (3, 20)])
def test_centre(size):
    expected = keras.layers.CenterCrop(*size)(torch.tensor(X)).numpy()
    np.testing.assert_allclose(layers.CenterCrop(*size)(X), expected, rtol=1e-4, atol=1e-2)
    # Keras's RandomCrop documents the same after training, and returns pictures as they are.
    np.testing.assert_allclose(layers.RandomCrop(*size)(X), expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_beta_distribution(alpha):
    drawn = function(lambda: beta(20_000, alpha))().ravel()
    assert scipy_stats.kstest(drawn, scipy_stats.beta(alpha, alpha).cdf).pvalue > 0.01


@pytest.mark.parametrize("options", [
    {}, {"power_to_db": False, "mag_exp": 1.0}, {"sequence_length": 200, "window": "hamming"},
    {"min_freq": 100.0, "max_freq": 4000.0, "top_db": 40.0, "ref_power": 2.0},
], ids=str)  # fmt: skip
def test_mel_spectrogram(options):
    sound = np.random.default_rng(1).standard_normal((2, 4000)).astype(np.float32)
    given = {"fft_length": 256, "sequence_stride": 100, "num_mel_bins": 20, **options}
    expected = keras.layers.MelSpectrogram(**given)(torch.tensor(sound)).numpy()
    made = layers.MelSpectrogram(**given)(sound)
    np.testing.assert_allclose(made, expected, rtol=1e-4, atol=2e-3)
