from __future__ import annotations

import numpy as np
import pytest

import edgeml
from edgeml import layers, plots
from edgeml.errors import ConfigError, InputError

WATCH = "edgeml:activity_watch_int8.onnx"


def test_counts_are_numpys_and_shares_are_of_all_values():
    values = np.array([-2.0, 0.0, 0.0, 1.0, 5.0, np.nan, np.inf, -np.inf])
    found = plots.histogram(values, bins=7)
    counts, edges = np.histogram(values[:5], 7)
    assert np.array_equal(found.counts, counts)
    np.testing.assert_allclose(found.edges, edges)
    assert (found.count, found.nans, found.infinities) == (8, 1, 2)
    assert (found.minimum, found.maximum, found.zeros) == (-2.0, 5.0, 2 / 8)
    assert found.mean == pytest.approx(0.8)
    assert found.std == pytest.approx(values[:5].std())
    assert found.saturated is None


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [3.0, 3.0]])
def test_nothing_and_all_alike(values):
    found = plots.histogram(np.array(values), bins=4)
    assert found.counts.sum() == np.isfinite(values).sum()
    assert len(found.edges) == 5
    assert (found.edges[1:] > found.edges[:-1]).all()


def test_weights_of_a_model_are_those_of_its_layers(pooled):
    found = plots.weights(pooled).distributions
    assert list(found) == ["map/kernel", "scores/kernel"]
    for name, d in found.items():
        value = next(p.value for p in pooled.weights if p.path == name)
        counts, _ = np.histogram(value.astype(np.float64), 64)
        assert np.array_equal(d.counts, counts)
    assert len(plots.weights(pooled, biases=True).distributions) == 4


def test_quantized_weights_are_real_numbers():
    found = plots.weights(WATCH, layers="conv1d_16", bins=8).distributions
    (d,) = found.values()
    proto = pytest.importorskip("onnx").load("edgeml/models/activity_watch_int8.onnx")
    stored = {t.name: pytest.importorskip("onnx").numpy_helper.to_array(t)
              for t in proto.graph.initializer}  # fmt: skip
    integers, scale = stored["v12_quantized"], stored["v12_scale"]
    scale = scale.reshape(-1, 1, 1) if scale.ndim else scale
    real = integers.astype(np.float64) * scale
    assert d.maximum == pytest.approx(real.max(), rel=1e-6)
    assert d.count == real.size
    assert d.saturated == np.isin(integers, (-128, 127)).mean()


def test_activations_are_what_the_layers_put_out():
    x = np.random.default_rng(0).normal(size=(21, 4)).astype(np.float32)
    model = edgeml.Sequential([
        edgeml.Input((4,)), layers.Dense(6, activation="relu", name="hidden"),
        layers.Dense(3, activation="tanh", name="out"),
    ])  # fmt: skip
    found = plots.activations(model, x).distributions
    hidden = edgeml.Sequential([edgeml.Input((4,)), model.get_layer("hidden")]).predict(x)
    out = model.predict(x)
    for name, values in (("hidden", hidden), ("out", out)):
        d = found[name]
        assert d.count == values.size
        assert d.zeros == pytest.approx((values == 0).mean())
        assert (d.minimum, d.maximum) == pytest.approx((values.min(), values.max()), abs=1e-6)
        assert d.counts.sum() == values.size
        assert d.mean == pytest.approx(values.mean(), abs=1e-6)
    assert found["hidden"].saturated is None
    assert found["out"].saturated == pytest.approx((np.abs(out) >= 0.99).mean())
    assert plots.activations(model, x).of == "activations of 21 examples"


def test_values_cut_off_count_as_saturated():
    model = edgeml.Sequential([
        edgeml.Input((4,)), layers.ReLU(max_value=2.0, name="relu"),
    ])  # fmt: skip
    found = plots.activations(model, np.array([[-1.0, 0.5, 2.0, 7.0]])).distributions["relu"]
    assert (found.zeros, found.saturated) == (0.25, 0.5)


def test_the_end_of_the_integers_is_saturated_but_zero_is_not():
    far, still = (np.full((1, 100, 6), value, np.float32) for value in (1e4, 0))
    first = plots.activations(WATCH, far).distributions["conv1d_15"]
    assert first.saturated > 0.05
    first = plots.activations(WATCH, still).distributions["conv1d_15"]
    assert (first.zeros > 0.2, first.saturated) == (True, 0)


def test_nan_is_counted_and_told(pooled, picture):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    picture[0, 0, 0, 0] = np.nan
    found = plots.activations(pooled, picture)
    assert found.distributions["map"].nans > 0
    texts = [text.get_text() for axis in found.plot().axes for text in axis.texts]
    assert any("NaN" in text for text in texts)


def test_picture_has_a_panel_a_layer(pooled, picture):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    found = plots.activations(pooled, picture)
    figure = found.plot()
    assert [axis.get_title() for axis in figure.axes] == ["map", "mean", "scores"]
    shown = figure.axes[0].patches[0].get_data()
    assert np.array_equal(shown.values, found.distributions["map"].counts)
    assert "zero" in figure.axes[0].texts[0].get_text()


def test_layers_are_chosen_by_pattern(pooled, picture):
    found = plots.activations(pooled, picture, layers=["m*"]).distributions
    assert list(found) == ["map", "mean"]
    with pytest.raises(ConfigError, match="no layer 'nothing'"):
        plots.weights(pooled, layers="nothing")


def test_inputs_that_do_not_fit_are_told(pooled):
    with pytest.raises(InputError, match=r"expected examples of the shape \[any, 12, 12, 3\]"):
        plots.activations(pooled, np.zeros((1, 5, 5, 3), np.float32))
    with pytest.raises(InputError, match="has 3 inputs"):
        plots.activations("edgeml:silero_vad.onnx", np.zeros((1, 576), np.float32))
