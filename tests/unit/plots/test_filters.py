from __future__ import annotations

import numpy as np
import pytest

import edgeml
from edgeml import layers, plots
from edgeml.errors import ConfigError, ModelError

EFFICIENTNET = "edgeml:efficientnet_lite0_int8.onnx"


def test_every_units_activation_rises(pooled):
    found = plots.filters(pooled, "map", steps=20)
    assert found.units == [0, 1, 2, 3, 4]
    assert (found.after > found.before).all()
    assert found.pictures.shape == (5, 12, 12, 3)
    assert found.pictures.min() >= 0
    assert found.pictures.max() <= 1


def test_a_unit_that_likes_red_gets_a_red_picture():
    conv = layers.Conv2D(1, 1, use_bias=False, name="red")
    model = edgeml.Sequential([edgeml.Input((8, 8, 3)), conv])
    conv.set_weights([np.array([1.0, -1.0, -1.0], np.float32).reshape(1, 1, 3, 1)])
    found = plots.filters(model, "red", steps=30)
    assert found.after[0] == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(found.pictures[0].mean(axis=(0, 1)), [1, 0, 0], atol=0.01)


def test_the_activation_is_that_before_relu_and_of_the_picture_shown(pooled):
    found = plots.filters(pooled, "map", [3], steps=5)
    kernel, bias = pooled.get_layer("map").get_weights()
    plain = layers.Conv2D(5, 3)
    model = edgeml.Sequential([edgeml.Input((12, 12, 3)), plain])
    plain.set_weights([kernel, bias])
    made = model.predict(found.pictures)[0, :, :, 3].mean()
    assert found.after[0] == pytest.approx(float(made), abs=1e-5)


def test_the_same_seed_gives_the_same_pictures(pooled):
    first, again, other = (plots.filters(pooled, "map", 2, steps=3, seed=s) for s in (1, 1, 2))
    assert np.array_equal(first.pictures, again.pictures)
    assert not np.array_equal(first.pictures, other.pictures)


def test_a_quantized_model_on_bytes_can_be_climbed():
    found = plots.filters(EFFICIENTNET, "_conv_stem", [1, 5], steps=3)
    assert (found.after > found.before).all()
    assert found.pictures.shape == (2, 224, 224, 3)


def test_black_and_white_are_the_metadatas(pooled):
    spec = {"size": [12, 12], "layout": "NHWC", "color": "BGR", "dtype": "float32",
            "mean": [127.5] * 3, "std": [127.5] * 3}  # fmt: skip
    rgb = plots.filters(pooled, "map", 1, steps=1, preprocess={**spec, "color": "RGB"})
    bgr = plots.filters(pooled, "map", 1, steps=1, preprocess=spec)
    assert np.array_equal(rgb.pictures[..., ::-1], bgr.pictures)
    assert rgb.before[0] != plots.filters(pooled, "map", 1, steps=1).before[0]


def test_units_and_layers_that_are_none_are_told(pooled):
    for units, said in (([9], "no unit 9; they are 0 to 4"), (["cat"], "no unit 'cat'")):
        with pytest.raises(ConfigError, match=said):
            plots.filters(pooled, "map", units)
    with pytest.raises(ConfigError, match="at least 1"):
        plots.filters(pooled, "map", 0)
    with pytest.raises(ConfigError, match="the nearest of its 3 are map"):
        plots.filters(pooled, "mpa")
    with pytest.raises(ModelError, match="take pictures"):
        plots.filters("edgeml:activity_watch_int8.onnx", "conv1d_15")


def test_picture_has_a_panel_a_unit(pooled):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    found = plots.filters(pooled, "scores", 3, steps=2)
    panels = found.plot().axes
    titles = [axis.get_title() for axis in panels if axis.images]
    assert [title.splitlines()[0] for title in titles] == ["unit 0", "unit 1", "unit 2"]
    assert "→" in titles[0]
    assert "pictures" not in found.to_dict()
