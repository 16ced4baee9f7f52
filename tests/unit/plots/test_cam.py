from __future__ import annotations

import warnings
from importlib.resources import files

import numpy as np
import pytest

import edgeml
from edgeml import layers, plots
from edgeml.errors import ConfigError, ModelError, NoGradient

EFFICIENTNET = "edgeml:efficientnet_lite0_int8.onnx"
MEDIA = files("edgeml") / "media"


def closed_form(model, picture, target):
    """Return the map of Zhou et al.: the channels with the weights of the class, over places."""
    first = edgeml.Sequential([edgeml.Input((12, 12, 3)), model.get_layer("map")])
    maps = first.predict(picture)[0]
    weights = model.get_layer("scores").get_weights()[0][:, target]
    return np.maximum(maps @ weights, 0) / maps[..., 0].size


@pytest.mark.parametrize("target", range(4))
def test_of_a_linear_classifier_it_is_the_class_activation_map(pooled, picture, target):
    found = plots.grad_cam(pooled, picture, target)
    np.testing.assert_allclose(found.heat, closed_form(pooled, picture, target), atol=1e-6)
    assert (found.layer, found.label) == ("map", f"class {target}")
    assert found.score == pytest.approx(float(pooled.predict(picture)[0, target]), abs=1e-5)


def test_softmax_changes_the_score_but_not_the_map(pooled, picture):
    last = layers.Softmax(name="softmax")
    model = edgeml.Sequential([edgeml.Input((12, 12, 3)), *pooled.layers, last])
    found = plots.grad_cam(model, picture, 2)
    np.testing.assert_allclose(found.heat, closed_form(pooled, picture, 2), atol=1e-6)
    assert found.score == pytest.approx(float(model.predict(picture)[0, 2]), abs=1e-5)


def test_without_a_class_it_is_the_predicted_one(pooled, picture):
    assert plots.grad_cam(pooled, picture).target == int(pooled.predict(picture).argmax())


def test_one_sigmoid_stands_for_two_classes(picture):
    layers.set_random_seed(1)
    model = edgeml.Sequential([
        edgeml.Input((12, 12, 3)), layers.Conv2D(4, 3, name="map"),
        layers.GlobalAveragePooling2D(), layers.Dense(1, activation="sigmoid", name="scores"),
    ])  # fmt: skip
    no, yes = (plots.grad_cam(model, picture, name, labels=["no", "yes"]) for name in ("no", "yes"))
    np.testing.assert_allclose(yes.heat, closed_form(model, picture, 0), atol=1e-6)
    assert no.score + yes.score == pytest.approx(1)
    assert not (no.heat * yes.heat).any()  # what speaks for one speaks against the other


def test_of_a_file_of_pytorchs_it_is_what_pytorch_computes(tmp_path):
    torch = pytest.importorskip("torch", reason="torch is not installed: extra oracles")
    nn = torch.nn
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    ).eval()  # fmt: skip
    x = torch.randn(1, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), str(tmp_path / "net.onnx"), dynamo=False)
    maps = net[:6](x).detach().requires_grad_()
    (slope,) = torch.autograd.grad(net[6:](maps)[0, 2], maps)
    expected = torch.relu((slope.mean((2, 3), keepdim=True) * maps).sum(1))[0].detach().numpy()
    found = plots.grad_cam(tmp_path / "net.onnx", x.numpy(), 2)
    np.testing.assert_allclose(found.heat, expected, rtol=1e-5, atol=1e-7)
    assert [row.kind for row in plots.layers(tmp_path / "net.onnx").rows][3:5] == [
        "Conv", "Sigmoid + Mul",
    ]  # fmt: skip


def test_any_layer_with_a_map_on_the_way_can_be_asked(pooled, picture):
    model = edgeml.Sequential([
        edgeml.Input((12, 12, 3)), layers.Conv2D(3, 3, name="early"), layers.MaxPooling2D(),
        layers.Conv2D(4, 3, name="late"), layers.Flatten(), layers.Dense(2),
    ])  # fmt: skip
    assert plots.grad_cam(model, picture).heat.shape == (3, 3)
    assert plots.grad_cam(model, picture, layer="early").heat.shape == (10, 10)
    with pytest.raises(ConfigError, match=r"'scores' has no picture-like map.* are map"):
        plots.grad_cam(pooled, picture, layer="scores")


def test_on_a_quantized_classifier_the_heat_is_on_the_thing():
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    found = plots.grad_cam(EFFICIENTNET, str(MEDIA / "espresso.jpg"))
    assert (found.label, found.target) == ("espresso", 967)
    assert found.score == pytest.approx(
        edgeml.ImageClassifier()(picture_of("espresso")).score, abs=0.01
    )
    assert found.heat.shape == (7, 7)
    assert found.overlay.shape == found.picture.shape[:2]
    row, column = np.unravel_index(found.overlay.argmax(), found.overlay.shape)
    height, width = found.overlay.shape
    assert 0.1 < row / height < 0.6  # the cup stands above the middle
    assert 0.3 < column / width < 0.7


def picture_of(name):
    cv2 = pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    return cv2.imread(str(MEDIA / f"{name}.jpg"))


def test_a_letterboxed_picture_gets_its_own_part_of_the_heat(pooled):
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    frame = np.zeros((20, 60, 3), np.uint8)
    spec = {"size": [12, 12], "layout": "NHWC", "dtype": "float32", "resize": "letterbox"}
    found = plots.grad_cam(pooled, frame, preprocess=spec)
    assert found.overlay.shape == (20, 60)
    assert found.picture.shape == (20, 60, 3)


@pytest.mark.parametrize(
    ("target", "index"), [("tabby cat", 281), ("TABBY CAT", 281), ("tabby", 281), ("281", 281)]
)
def test_classes_by_name_word_and_number(target, index):
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    assert plots.grad_cam(EFFICIENTNET, str(MEDIA / "cat.jpg"), target).target == index


@pytest.mark.parametrize(
    ("target", "said"),
    [("tabby cta", "nearest are tabby cat"), ("cat", "tabby cat"), (1000, "0 to 999")],
)
def test_classes_that_are_none_are_told(target, said):
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    with pytest.raises(ConfigError, match=said):
        plots.grad_cam(EFFICIENTNET, str(MEDIA / "cat.jpg"), target)


def test_models_without_maps_or_with_several_outputs_are_told():
    dense = edgeml.Sequential([edgeml.Input((4,)), layers.Dense(2)])
    with pytest.raises(ModelError, match="convolutions over pictures"):
        plots.grad_cam(dense, np.zeros((1, 4), np.float32))
    with pytest.raises(ModelError, match="several outputs"):
        plots.grad_cam("edgeml:nanodet_g_416_int8.onnx", np.zeros((1, 3, 416, 416), np.uint8))


def test_a_picture_for_a_model_that_says_nothing_is_told(pooled):
    with pytest.raises(ModelError, match=r"--range 0,1.*\.npy"):
        plots.grad_cam(pooled, np.zeros((20, 20, 3), np.uint8))


def test_models_of_integer_operators_are_told_what_to_do(tmp_path):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed: extra train")
    helper, array = onnx.helper, onnx.numpy_helper.from_array
    one, zero = array(np.float32(1), "one"), array(np.uint8(0), "zero")
    first = array(np.ones((2, 3, 3, 3), np.uint8), "first")
    second = array(np.ones((2, 2, 1, 1), np.uint8), "second")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero"], ["q"]),
        helper.make_node(
            "QLinearConv", ["q", "one", "zero", "first", "one", "zero", "one", "zero"], ["r"]
        ),
        helper.make_node("DequantizeLinear", ["r", "one", "zero"], ["map"]),
        helper.make_node("QuantizeLinear", ["map", "one", "zero"], ["t"]),
        helper.make_node(
            "QLinearConv", ["t", "one", "zero", "second", "one", "zero", "one", "zero"], ["u"]
        ),
        helper.make_node("DequantizeLinear", ["u", "one", "zero"], ["v"]),
        helper.make_node("GlobalAveragePool", ["v"], ["w"]),
        helper.make_node("Flatten", ["w"], ["y"]),
    ]
    infos = [
        helper.make_tensor_value_info("x", 1, [1, 3, 8, 8]),
        helper.make_tensor_value_info("y", 1, [1, 2]),
    ]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [one, zero, first, second])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]),
              tmp_path / "m.onnx")  # fmt: skip
    x = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(NoGradient, match=r"QLinearConv.*give the float model.*QDQ"):
        plots.grad_cam(tmp_path / "m.onnx", x, layer="map")


def test_picture_shows_the_photograph_beside_the_heat(pooled, picture):
    pytest.importorskip("matplotlib.figure", reason="matplotlib is not installed")
    found = plots.grad_cam(pooled, picture, 1, labels=["a", "b", "c", "d"])
    left, right, bar = found.plot().axes
    assert left.get_title() == "picture"
    assert right.get_title().startswith("b  ")
    assert np.array_equal(left.images[0].get_array(), found.picture)
    assert np.array_equal(right.images[1].get_array(), found.overlay)
    assert "speaks for" in bar.get_ylabel()
    assert set(found.to_dict()) == {"layer", "target", "label", "score", "heat"}
