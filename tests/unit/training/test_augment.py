"""Augmentations: only in training, by the seed, in models and in pipelines of data."""

import numpy as np
import pytest

import edgeml
from edgeml import layers
from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.graph import function

rng = np.random.default_rng(0)
PICTURES = (rng.random((6, 8, 8, 3)) * 255).astype(np.float32)
WINDOWS = rng.standard_normal((6, 40, 5)).astype(np.float32)
LAYERS = [
    (layers.RandomFlip, (), PICTURES), (layers.RandomRotation, (0.2,), PICTURES),
    (layers.RandomTranslation, (0.3, 0.3), PICTURES), (layers.RandomZoom, (0.3,), PICTURES),
    (layers.RandomShear, (0.3, 0.2), PICTURES), (layers.RandomContrast, (0.5,), PICTURES),
    (layers.RandomBrightness, (0.3,), PICTURES), (layers.RandomGrayscale, (), PICTURES),
    (layers.RandomInvert, (), PICTURES), (layers.RandomErasing, (), PICTURES),
    (layers.RandomGaussianBlur, (), PICTURES), (layers.Solarization, (0.1, 0.5), PICTURES),
    (layers.MixUp, (), PICTURES), (layers.CutMix, (), PICTURES),
    (layers.SpecAugment, (2, 8, 1, 2), WINDOWS), (layers.RandomJitter, (), WINDOWS),
    (layers.RandomScaling, (), WINDOWS), (layers.RandomTimeWarp, (), WINDOWS),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "arguments", "x"), LAYERS, ids=[k.__name__ for k, *_ in LAYERS])
def test_nothing_after_training_and_by_the_seed_in_it(kind, arguments, x):
    layer = kind(*arguments, seed=3)
    np.testing.assert_array_equal(layer(x), x)
    first, second = layer(x, training=True), layer(x, training=True)
    assert first.dtype == np.float32
    assert np.abs(first - x).max() > 0
    assert np.abs(first - second).max() > 0
    again = kind(*arguments, seed=3)
    again(x)
    np.testing.assert_array_equal(again(x, training=True), first)
    assert np.abs(kind(*arguments, seed=4)(x, training=True) - first).max() > 0
    copied = layers.deserialize(layers.serialize(layer))
    assert copied.get_config() == layer.get_config()


def test_in_a_model_it_is_gone_from_the_file(tmp_path):
    def train(seed):
        layers.set_random_seed(1)
        model = edgeml.Sequential([
            edgeml.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.RandomFlip(),
            layers.RandomRotation(0.1), layers.RandomCrop(6, 6), layers.Conv2D(2, 3),
            layers.GlobalAveragePooling2D(), layers.Dense(1),
        ])  # fmt: skip
        model.compile("sgd", "mse")
        model.fit(PICTURES, np.arange(6.0), epochs=2, verbose=0, seed=seed)
        return model

    one, same, other = train(1), train(1), train(2)
    np.testing.assert_array_equal(one.get_weights()[0], same.get_weights()[0])
    assert np.abs(one.get_weights()[0] - other.get_weights()[0]).max() > 0
    one.save(tmp_path / "model.onnx")
    ops = {node.op for node in edgeml.graph.from_onnx(tmp_path / "model.onnx").nodes}
    assert not ops & {"GridSample", "BitwiseXor"}
    again = edgeml.load_model(tmp_path / "model.onnx")
    np.testing.assert_array_equal(again.predict(PICTURES), one.predict(PICTURES))


def test_gradients_pass_to_layers_before_it():
    model = edgeml.Sequential([
        edgeml.Input((8, 8, 3)), layers.Conv2D(2, 1), layers.RandomZoom(0.2),
        layers.GlobalAveragePooling2D(), layers.Dense(1),
    ])  # fmt: skip
    model.compile("sgd", "mse")
    before = model.get_weights()[0]
    model.fit(PICTURES / 255, np.arange(6.0), verbose=0)
    assert np.abs(model.get_weights()[0] - before).max() > 0


def test_mirrored_pictures_are_the_same_pixels():
    made = layers.RandomFlip("horizontal")(PICTURES, training=True)
    flipped = [np.array_equal(m, x[:, ::-1]) for m, x in zip(made, PICTURES, strict=True)]
    kept = [np.array_equal(m, x) for m, x in zip(made, PICTURES, strict=True)]
    assert all(np.logical_xor(flipped, kept))


def test_a_crop_is_a_part():
    made = layers.RandomCrop(5, 4)(PICTURES, training=True)
    found = [
        (top, left) for top in range(4) for left in range(5)
        if np.array_equal(made, PICTURES[:, top : top + 5, left : left + 4])
    ]  # fmt: skip
    assert len(found) == 1
    with pytest.raises(ShapeError, match="pictures"):
        layers.RandomCrop(5, 4)(WINDOWS)


def test_erased_is_one_rectangle_of_the_wanted_area():
    made = layers.RandomErasing((1.0, 1.0), scale=(0.25, 0.25), fill_value=[1.0, 2.0, 3.0])(
        PICTURES, training=True
    )
    for picture in made:
        rows, columns = np.nonzero((picture == [1.0, 2.0, 3.0]).all(-1))
        assert len(rows) == 16
        assert np.ptp(rows) == np.ptp(columns) == 3
    assert np.array_equal(made[(made != [1.0, 2.0, 3.0]).all(-1)],
                          PICTURES[(made != [1.0, 2.0, 3.0]).all(-1)])  # fmt: skip


def test_labels_are_mixed_as_their_pictures():
    x = np.eye(6, dtype=np.float32)[:, None, None, :] * np.ones((1, 4, 4, 1), np.float32)
    for layer in (layers.MixUp(0.8), layers.CutMix()):
        made = layer({"images": x, "labels": np.eye(6)}, training=True)
        np.testing.assert_allclose(made["images"].mean((1, 2)), made["labels"], atol=1e-6)
        np.testing.assert_allclose(made["labels"].sum(1), 1.0, atol=1e-6)
    with pytest.raises(DataError, match="images and labels"):
        layers.MixUp()({"pictures": x})


def test_hidden_bands_of_spectrograms():
    x = rng.random((5, 50, 20)).astype(np.float32) + 1.0
    made = layers.SpecAugment(1, 10, 1, 4, value=0.0)(x, training=True)
    for spectrogram in made:
        frames = np.nonzero((spectrogram == 0).all(1))[0]
        bins = np.nonzero((spectrogram == 0).all(0))[0]
        assert len(frames) <= 10
        assert len(bins) <= 4
        for hidden in (frames, bins):
            assert np.array_equal(np.diff(hidden), np.ones(max(len(hidden) - 1, 0)))
    rest = made != 0
    np.testing.assert_array_equal(made[rest], x[rest])


def test_warped_time_goes_forward_and_keeps_the_ends():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32)[:, None], (8, 40, 2)).copy()
    made = layers.RandomTimeWarp(0.4)(ramp, training=True)
    assert np.diff(made, axis=1).min() > 0
    np.testing.assert_allclose(made[:, [0, -1]], ramp[:, [0, -1]], atol=1e-3)
    assert np.abs(made - ramp).max() > 1.0
    from edgeml.layers._augment_signal import resampled

    places = np.sort(rng.random((8, 40)) * 39, axis=1).astype(np.float32)
    found = function(resampled)(WINDOWS[[0] * 8], places)
    expected = [np.interp(p, np.arange(40), WINDOWS[0, :, 1]) for p in places]
    np.testing.assert_allclose(found[..., 1], expected, atol=1e-5)


def test_noise_has_the_deviation_that_was_asked_for():
    x = np.zeros((64, 50, 2), np.float32)
    noise = layers.RandomJitter([0.1, 0.5])(x, training=True)
    np.testing.assert_allclose(noise.std((0, 1)), [0.1, 0.5], rtol=0.05)
    scales = layers.RandomScaling(0.2)(x + 1.0, training=True)
    assert np.ptp(scales, axis=1).max() == 0.0
    assert scales[:, 0].std() == pytest.approx(0.2, rel=0.2)


@pytest.mark.parametrize("make", [
    lambda: layers.RandomRotation(2.0), lambda: layers.RandomZoom("much"),
    lambda: layers.RandomShear(-0.1), lambda: layers.RandomFlip("diagonal"),
    lambda: layers.RandomRotation(0.1, fill_mode="mirror"),
    lambda: layers.RandomZoom(0.1, interpolation="cubic"), lambda: layers.RandomContrast((0.5, 2)),
    lambda: layers.RandomBrightness(0.1, value_range=(1, 0)), lambda: layers.MixUp(3.0),
    lambda: layers.RandomGaussianBlur(kernel_size=4), lambda: layers.RandomTimeWarp(0.9),
    lambda: layers.SpecAugment(-1), lambda: layers.Resizing(0, 3),
    lambda: layers.Resizing(2, 3, "lanczos3"), lambda: layers.Resizing(2, 2, fill_mode="edge"),
    lambda: layers.Resizing(2, 3, crop_to_aspect_ratio=True, pad_to_aspect_ratio=True),
    lambda: layers.RandomFlip(data_format="channels_first"),
])  # fmt: skip
def test_bad_arguments_are_told(make):
    with pytest.raises(ConfigError):
        make()
