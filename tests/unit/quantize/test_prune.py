"""Pruning: what goes, what goes with it, and what has to stay."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

import edgeml
from edgeml.errors import ConfigError, DataError, InputError, ModelFormatError, NonFinite
from edgeml.quantize import quantize_int8, simplify
from edgeml.quantize._prune import prune_channels

X = np.random.default_rng(7).standard_normal((2, 3, 8, 8)).astype(np.float32)


def set_zero(model, name, axis, channels):
    for tensor in model.graph.initializer:
        if tensor.name == name:
            values = numpy_helper.to_array(tensor).copy()
            values[(slice(None),) * axis + (list(channels),)] = 0
            tensor.CopyFrom(numpy_helper.from_array(values, name))


def residual(net, *, opset=18):
    """Two convolutions that meet in an Add, a depthwise one, a head."""
    n = net(3, 8, 8, opset=opset)
    a = n.add("Relu", n.conv("x", 16, 3))
    b = n.conv(a, 16, 16)
    c = n.add("Relu", n.add("Add", a, b))
    d = n.conv(n.conv(c, 16, 16, group=16), 24, 16, size=1)
    pooled = n.add("Flatten", n.add("GlobalAveragePool", n.add("Relu", d)))
    return n.model(n.gemm(pooled, 10, 24))


def shapes(model, arrays):
    return {name: values.shape for name, values in arrays(model).items()}


def test_channels_that_are_zero_go_without_a_trace(net, run):
    model = residual(net)
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    gone = ((1, 5), (1, 5), (1, 5), (0, 7, 9))
    for conv, channels in zip(convs, gone, strict=True):
        set_zero(model, conv.input[1], 0, channels)
        set_zero(model, conv.input[2], 0, channels)
    pruned = prune_channels(model, 5 / 40, round_to=1)
    assert pruned.removed[convs[0].name] == pruned.removed[convs[1].name] == (1, 5)
    assert pruned.removed[convs[2].name] == (1, 5)  # the depthwise one goes with them
    assert pruned.removed[convs[3].name] == (0, 7, 9)
    np.testing.assert_allclose(run(pruned.model, X), run(model, X), rtol=1e-4, atol=1e-5)


def test_weights_are_really_cut(net, arrays):
    model = residual(net)
    pruned = prune_channels(model, 0.5)
    convs = [node for node in pruned.model.graph.node if node.op_type == "Conv"]
    found = shapes(pruned.model, arrays)
    assert [found[conv.input[1]] for conv in convs] == [
        (8, 3, 3, 3), (8, 8, 3, 3), (8, 1, 3, 3), (16, 8, 1, 1)
    ]  # fmt: skip
    group = next(a.i for a in convs[2].attribute if a.name == "group")
    assert group == 8
    before, after = pruned.report.parameters
    assert after < before
    assert after == sum(np.prod(shape) for shape in found.values())


def test_what_was_given_stays(net):
    model = residual(net)
    before = model.SerializeToString()
    prune_channels(model, 0.5)
    assert model.SerializeToString() == before


def test_the_report_names_what_is_left(net):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    grouped = n.conv(a, 16, 16, group=2)
    free = n.conv(n.add("Relu", grouped), 16, 16)
    model = n.model(n.conv(free, 4, 16))
    report = prune_channels(model, 0.5).report
    assert "groups" in report.left[grouped]
    assert "groups" in report.left[a]
    assert "output" in report.left["conv4"]
    assert report.channels == {a: (16, 16), free: (16, 8), "conv4": (4, 4)}
    assert report.share == 0.5
    assert report.difference is not None


def test_a_share_for_each_layer(net):
    model = residual(net)
    last = [node.name for node in model.graph.node if node.op_type == "Conv"][3]
    report = prune_channels(model, {last: 0.75}).report
    assert report.channels[last] == (24, 8)
    assert sum(before - after for before, after in report.channels.values()) == 16
    assert report.asked is None


def test_excluded_layers_stay_with_all_they_are_tied_to(net):
    model = residual(net)
    convs = [node.name for node in model.graph.node if node.op_type == "Conv"]
    pruned = prune_channels(model, 0.5, exclude=[convs[1]])
    assert set(pruned.removed) == {convs[3]}


def test_a_layer_keeps_a_multiple_and_at_least_one_of_it(net):
    channels = prune_channels(residual(net), 0.9).report.channels
    assert {after for _, after in channels.values()} == {8, 10}
    channels = prune_channels(residual(net), 0.99, round_to=1).report.channels
    assert min(after for _, after in channels.values()) == 1


def test_importance_by_size_takes_the_smallest(net):
    model = residual(net)
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    for conv in (convs[0], convs[1]):
        for tensor in model.graph.initializer:
            if tensor.name == conv.input[1]:
                values = numpy_helper.to_array(tensor).copy()
                values[8:] *= 0.01
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    assert prune_channels(model, {convs[0].name: 0.5}).removed[convs[0].name] == tuple(range(8, 16))


def test_importance_by_taylor_takes_what_the_loss_does_not_see(net):
    model = residual(net)
    gemm = next(node for node in model.graph.node if node.op_type == "Gemm")
    unseen = tuple(range(3, 24, 3))  # large weights, and nothing reads them
    set_zero(model, gemm.input[1], 0, unseen)
    last = [node.name for node in model.graph.node if node.op_type == "Conv"][3]
    batches = [(X, np.array([1, 2])), (-X, np.array([3, 4]))]
    pruned = prune_channels(
        model, {last: 14 / 24}, importance="taylor", batches=batches, round_to=1
    )  # fmt: skip
    assert set(unseen) <= set(pruned.removed[last])  # others were below zero for all of X


def test_batch_normalization_goes_along(net, run, arrays):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    for name in ("scale", "shift", "mean"):
        n.constant(name, n.weights(16))
    n.constant("var", np.ones(16, np.float32))
    b = n.add("Relu", n.add("BatchNormalization", a, "scale", "shift", "mean", "var"))
    model = n.model(n.conv(b, 4, 16))
    pruned = prune_channels(model, 0.5)
    assert shapes(pruned.model, arrays)["mean"] == (8,)
    assert run(pruned.model, X).shape == (2, 4, 8, 8)


def test_concat_offsets(net, run):
    n = net(3, 8, 8)
    a, b = n.conv("x", 16, 3), n.add("Relu", n.conv("x", 24, 3))
    joined = n.add("Concat", a, "x", b, axis=1)
    model = n.model(n.conv(joined, 4, 43))
    pruned = prune_channels(model, 0.5)
    assert pruned.report.difference < 1e-5
    reading = next(t for t in pruned.model.graph.initializer if t.name == "conv4_w")
    kept = [after for _, after in pruned.report.channels.values()]
    assert tuple(reading.dims)[1] == kept[0] + 3 + kept[1] < 43
    assert run(pruned.model, X).shape == (2, 4, 8, 8)


def test_flatten_takes_blocks_of_columns(net, arrays, run):
    n = net(3, 8, 8)
    a = n.add("MaxPool", n.conv("x", 16, 3), kernel_shape=[2, 2], strides=[2, 2])
    model = n.model(n.gemm(n.add("Flatten", a), 5, 16 * 16))
    pruned = prune_channels(model, 0.5)
    assert shapes(pruned.model, arrays)["gemm3_w"] == (8 * 16, 5)
    assert run(pruned.model, X).shape == (2, 5)


@pytest.mark.parametrize("target", [[2, 1024], [0, -1], [-1, 1024]])
def test_reshape_of_channels_last(net, arrays, target):
    n = net(3, 8, 8)
    a = n.add("Transpose", n.conv("x", 16, 3), perm=[0, 2, 3, 1])
    n.constant("target", np.array(target))
    model = n.model(n.gemm(n.add("Reshape", a, "target"), 5, 1024))
    pruned = prune_channels(model, 0.5)
    assert shapes(pruned.model, arrays)["gemm3_w"] == (512, 5)
    assert pruned.report.difference < 1e-5


def test_a_reshape_that_mixes_channels_is_left(net):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    n.constant("target", np.array([0, 4, 32, 8]))
    shuffled = n.add("Reshape", a, "target")
    free = n.conv(shuffled, 16, 4)
    report = prune_channels(n.model(n.conv(free, 4, 16)), 0.5).report
    assert "mixes" in report.left[a]
    assert report.channels[free] == (16, 8)


def test_a_split_keeps_some_of_each_part(net, run):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    first, second = n.add("Split", a, axis=1, outputs=2, num_outputs=2)
    model = n.model(n.conv(n.add("Mul", n.add("Sigmoid", first), second), 4, 8))
    pruned = prune_channels(model, 0.5, round_to=1)
    assert pruned.report.channels[a] == (16, 8)
    assert run(pruned.model, X).shape == (2, 4, 8, 8)
    lower = [i for i in pruned.removed[a] if i < 8]
    assert pruned.removed[a] == (*lower, *(i + 8 for i in lower))  # Mul ties the halves


def test_gates_and_constants_by_channel(net, run):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    squeezed = n.conv(n.add("Relu", n.conv(n.add("GlobalAveragePool", a), 16, 16, 1)), 16, 16, 1)
    n.constant("each", n.weights(16, 1, 1))
    gated = n.add("Add", n.add("Mul", a, n.add("Sigmoid", squeezed)), "each")
    model = n.model(n.conv(gated, 4, 16))
    pruned = prune_channels(model, 0.5)
    assert pruned.removed[a] == pruned.removed[squeezed]
    assert run(pruned.model, X).shape == (2, 4, 8, 8)


def test_resize_with_sizes_and_pad(net, run):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    n.constant("pads", np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    n.constant("sizes", np.array([2, 16, 20, 20]))
    wide = n.add("Resize", n.add("Pad", a, "pads"), "", "", "sizes", mode="nearest")
    model = n.model(n.conv(wide, 4, 16))
    assert run(prune_channels(model, 0.5).model, X).shape == (2, 4, 20, 20)


def test_normalization_over_channels_keeps_them(net):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    free = n.conv(n.add("Softmax", a, axis=1), 16, 16)
    report = prune_channels(n.model(n.conv(free, 4, 16)), 0.5).report
    assert "over the channels" in report.left[a]


def test_shared_weights_keep_what_is_not_tied(net):
    n = net(3, 8, 8)
    a = n.conv("x", 16, 3)
    b = n.conv(n.add("Relu", a), 16, 16)
    again = n.add("Conv", n.add("Tanh", b), "conv2_w", "conv2_b", pads=[1] * 4)
    model = n.model(n.conv(again, 4, 16))
    pruned = prune_channels(model, 0.5)  # one set of weights: all three layers are one
    assert pruned.removed[a] == pruned.removed[b] == pruned.removed[again]


def test_what_ends_a_pytorch_model(net, run):
    """Flatten by the batch's size, as view(x.size(0), -1) is exported."""
    n = net(3, 8, 8)
    a = n.add("GlobalAveragePool", n.conv("x", 16, 3))
    n.constant("zero", np.array([0]))
    n.constant("rest", np.array([-1]))
    batch = n.add("Gather", n.add("Shape", a), "zero")
    flat = n.add("Reshape", a, n.add("Concat", batch, "rest", axis=0))
    model = n.model(n.gemm(flat, 5, 16))
    assert run(prune_channels(model, 0.5).model, X).shape == (2, 5)


def test_pictures_of_any_size(net, run):
    n = net(3, "height", "width")
    a = n.add("Relu", n.conv("x", 16, 3))
    b = n.add("Add", a, n.conv(a, 16, 16))
    pooled = n.add("Flatten", n.add("GlobalAveragePool", b))
    pruned = prune_channels(n.model(n.gemm(pooled, 5, 16)), 0.5)
    assert pruned.report.share == 0.5
    assert pruned.report.difference < 1e-5
    assert run(pruned.model, X).shape == (2, 5)


def test_slices_of_other_axes(net, run):
    n = net(3, 8, 8)
    for name, value in (("from", 1), ("to", 5), ("height", 2), ("channels", 1)):
        n.constant(name, np.array([value]))
    a = n.conv("x", 16, 3)
    b = n.conv(n.add("Slice", a, "from", "to", "height"), 16, 16)
    c = n.conv(n.add("Slice", b, "from", "to", "channels"), 4, 4)
    pruned = prune_channels(n.model(c), 0.5)
    assert set(pruned.removed) == {a}
    assert "some of the channels" in pruned.report.left[b]
    assert run(pruned.model, X).shape == (2, 4, 4, 8)


BLOCKS = st.lists(st.sampled_from(["plain", "residual", "depthwise", "concat", "pool", "bn"]),
                  min_size=1, max_size=5)  # fmt: skip


def random_net(net, blocks, seed, masks=None):
    """A random net of blocks; `masks` zero channels after each tensor, by the layer's name."""
    n = net(3, 8, 8, seed=seed)

    def masked(name, layer):
        if masks is None or layer not in masks:
            return name
        return n.add("Mul", name, n.constant(f"{name}_mask", masks[layer].reshape(-1, 1, 1)))

    def layer(x, made, read, **more):
        number[0] += 1
        name = f"layer{number[0]}"
        w = n.constant(f"{name}_w", n.weights(made, read // more.get("group", 1), 3, 3))
        b = n.constant(f"{name}_b", n.weights(made))
        made_name = n.add("Conv", x, w, b, pads=[1] * 4, **more)
        n.nodes[-1].name = name
        return masked(made_name, name)

    number = [0]
    x, width = layer("x", 6, 3), 6
    for block in blocks:
        if block == "plain":
            x = layer(n.add("LeakyRelu", x), 6, width)
            width = 6
        elif block == "residual":
            y = layer(n.add("Relu", x), width, width)
            x = n.add("Add", x, y)
        elif block == "depthwise":
            x = layer(x, width, width, group=width)
        elif block == "concat" and width < 16:
            y = layer(x, 4, width)
            x, width = n.add("Concat", x, y, axis=1), width + 4
        elif block == "pool":
            x = n.add("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4)
        elif block == "bn":
            x = n.add("Mul", x, n.constant(f"{x}_gain", n.weights(width, 1, 1)))
    flat = n.add("Flatten", n.add("GlobalMaxPool", x))
    return n.model(n.gemm(flat, 3, width))


@given(BLOCKS, st.integers(0, 99), st.floats(0.1, 0.9))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_pruned_net_is_the_net_with_channels_zero(net, run, blocks, seed, amount):
    model = random_net(net, blocks, seed)
    pruned = prune_channels(model, amount, round_to=1)
    masks = {
        name: np.isin(np.arange(before), pruned.removed.get(name, ()), invert=True)
        .astype(np.float32)
        for name, (before, _) in pruned.report.channels.items()
    }  # fmt: skip
    wanted = run(random_net(net, blocks, seed, masks), X)
    np.testing.assert_allclose(run(pruned.model, X), wanted, rtol=1e-4, atol=1e-5)
    assert all(after >= 1 for _, after in pruned.report.channels.values())


def test_layers_of_our_own(run, tmp_path):
    """Channels last, BatchNormalization, Flatten: as edgeml writes them."""
    from edgeml.layers import BatchNormalization, Conv2D, Dense, Flatten, MaxPooling2D, ReLU

    model = edgeml.Sequential([
        edgeml.Input((8, 8, 3), name="x"), Conv2D(16, 3, padding="same", use_bias=False),
        BatchNormalization(), ReLU(), MaxPooling2D(), Conv2D(24, 3, activation="relu"),
        Flatten(), Dense(16, activation="relu"), Dense(5),
    ])  # fmt: skip
    model.save(tmp_path / "m.onnx")
    pruned = prune_channels(simplify(tmp_path / "m.onnx"), 0.5)
    after = [after for _, after in pruned.report.channels.values()]
    assert after == [8, 16, 8, 5] or after == [8, 8, 8, 5]
    assert run(pruned.model, X.transpose(0, 2, 3, 1)).shape == (2, 5)


@pytest.mark.parametrize(
    ("amount", "options", "message"),
    [
        (1.0, {}, "below 1"),
        (-0.1, {}, "at least 0"),
        ({"conv0": float("nan")}, {}, "amount"),
        (0.5, {"importance": "l2"}, "taylor"),
        (0.5, {"round_to": 0}, "round_to"),
    ],
)
def test_refused_arguments(net, amount, options, message):
    with pytest.raises(ConfigError, match=message):
        prune_channels(residual(net), amount, **options)


def test_refused_models(net):
    model = residual(net)
    with pytest.raises(ModelFormatError, match="'conv9' is no layer"):
        prune_channels(model, {"conv9": 0.5})
    gemm = next(node.name for node in model.graph.node if node.op_type == "Gemm")
    with pytest.raises(ModelFormatError, match="output of the model"):
        prune_channels(model, {gemm: 0.5})
    with pytest.raises(ModelFormatError, match="quantized already"):
        prune_channels(quantize_int8(model, [{"x": X}]), 0.5)
    n = net(3, 8, 8)
    with pytest.raises(ModelFormatError, match="nothing to prune: conv0"):
        prune_channels(n.model(n.conv("x", 4, 3)), 0.5)


def test_refused_batches(net):
    model = residual(net)
    with pytest.raises(InputError, match="needs batches"):
        prune_channels(model, 0.5, importance="taylor")
    with pytest.raises(InputError, match="no labels"):
        prune_channels(model, 0.5, importance="taylor", batches=[X])
    with pytest.raises(InputError, match="empty"):
        prune_channels(model, 0.5, importance="taylor", batches=[])
    with pytest.raises(DataError, match="out of range"):
        prune_channels(model, 0.5, importance="taylor", batches=[(X, np.array([1, 99]))])
    with pytest.raises(NonFinite):
        prune_channels(model, 0.5, importance="taylor", batches=[(X * np.nan, np.array([1, 2]))])
