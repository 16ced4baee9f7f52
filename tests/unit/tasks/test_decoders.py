"""Encode known boxes as each kind of detector would, decode, compare."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.errors import ModelError
from edgeml.tasks._decoders import make_decoder

SIZE = (96, 128)  # height, width
CLASSES = 5


@st.composite
def things(draw, most=6):
    """Boxes (corners, pixels of the input), classes and scores in 0.5 to 1."""
    n = draw(st.integers(0, most))
    rows = []
    for _ in range(n):
        x0 = draw(st.floats(0, 100))
        y0 = draw(st.floats(0, 70))
        w = draw(st.floats(2, 27))
        h = draw(st.floats(2, 25))
        rows.append([x0, y0, x0 + w, y0 + h])
    classes = draw(st.lists(st.integers(0, CLASSES - 1), min_size=n, max_size=n))
    scores = draw(st.lists(st.floats(0.5, 1, width=32), min_size=n, max_size=n))
    return (
        np.array(rows, np.float32).reshape(-1, 4),
        np.array(classes, int),
        np.array(scores, np.float32),
    )


def check(found, truth):
    """The found ones are the true ones, in the order of their rows."""
    boxes, classes, scores = truth
    np.testing.assert_allclose(found.boxes, boxes, atol=0.02)
    np.testing.assert_array_equal(found.classes, classes)
    np.testing.assert_allclose(found.scores, scores, atol=2e-3)


def xywh(boxes):
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


def padded(rows, n=40):
    """Put rows among background rows, keeping their order."""
    table = np.zeros((n, rows.shape[1]), np.float32)
    table[:, :4] = 5
    table[:, 4:] = 0.01
    table[5 : 5 + len(rows)] = rows
    return table


@given(things(), st.booleans())
def test_yolo_v5(truth, normalized):
    boxes, classes, scores = truth
    rows = np.zeros((len(boxes), 5 + CLASSES), np.float32)
    rows[:, :4] = xywh(boxes)
    rows[:, 4] = np.sqrt(scores)
    rows[np.arange(len(boxes)), 5 + classes] = np.sqrt(scores)
    table = padded(rows)
    if normalized:
        table[:, :4] /= [128, 96, 128, 96]
    decode = make_decoder({"decoder": "yolo-v5", "normalized": normalized}, model="m")
    check(decode({"output0": table[None]}, SIZE, 0.4), truth)


@given(things(), st.booleans())
def test_yolo_v8(truth, normalized):
    boxes, classes, scores = truth
    rows = np.zeros((len(boxes), 4 + CLASSES), np.float32)
    rows[:, :4] = xywh(boxes)
    rows[np.arange(len(boxes)), 4 + classes] = scores
    table = padded(rows)
    if normalized:
        table[:, :4] /= [128, 96, 128, 96]
    decode = make_decoder({"decoder": "yolo-v8", "normalized": normalized}, model="m")
    check(decode({"output0": table.T[None]}, SIZE, 0.4), truth)


@given(things(), st.sampled_from([0, 1]), st.booleans())
def test_ssd(truth, first_class, named):
    boxes, classes, scores = truth
    n = len(boxes)
    corners = np.zeros((1, 10, 4), np.float32)
    corners[0, :n] = boxes[:, [1, 0, 3, 2]] / [96, 128, 96, 128]
    out_classes, out_scores = np.zeros((1, 10), np.float32), np.full((1, 10), 0.9, np.float32)
    out_classes[0, :n], out_scores[0, :n] = classes + first_class, scores
    arrays = [corners, out_classes, out_scores, np.array([n], np.float32)]
    spec = {"decoder": "ssd", "first_class": first_class}
    outputs = dict(zip("abcd", arrays, strict=True))
    if named:
        spec |= {"boxes": "d", "classes": "c", "scores": "b", "count": "a"}
        outputs = dict(zip("dcba", arrays, strict=True))
    check(make_decoder(spec, model="m")(outputs, SIZE, 0.4), truth)


@given(things(), st.sampled_from(["sigmoid", "softmax", "none"]))
def test_ssd_with_anchors(truth, activation):
    boxes, classes, scores = truth
    n = 40
    rng = np.random.default_rng(0)
    anchors = rng.uniform(0.1, 0.9, (n, 4)).astype(np.float32)
    yxhw = (xywh(boxes) / [128, 96, 128, 96])[:, [1, 0, 3, 2]]
    near = anchors[5 : 5 + len(boxes)]
    parts = np.concatenate(
        [(yxhw[:, :2] - near[:, :2]) / near[:, 2:], np.log(yxhw[:, 2:] / near[:, 2:])], 1
    )
    offsets = np.zeros((1, n, 4), np.float32)
    offsets[0, 5 : 5 + len(boxes)] = parts * [10, 10, 5, 5]
    p = np.full((n, 1 + CLASSES), 1e-4)
    scores = np.minimum(scores, 0.99)
    p[np.arange(5, 5 + len(boxes)), 1 + classes] = scores
    if activation == "softmax":
        p[:, 0] = 1 - p[:, 1:].sum(1)
        p = np.log(p)
    elif activation == "sigmoid":
        p = np.log(p / (1 - p))
    spec = {"decoder": "ssd-anchors", "anchors": anchors.tolist(), "activation": activation}
    outputs = {"classes": p[None].astype(np.float32), "boxes": offsets}
    check(make_decoder(spec, model="m")(outputs, SIZE, 0.4), (boxes, classes, scores))


@settings(deadline=None)
@given(st.data())
def test_nanodet(data):
    """One thing a cell: a distance between two bins is split between them."""
    strides, bins = (8, 16), 11
    outputs, truth = {}, []
    for stride in strides:
        rows, columns = SIZE[0] // stride, SIZE[1] // stride
        scores = np.full((rows * columns, CLASSES), 0.01, np.float32)
        logits = np.zeros((rows * columns, 4, bins), np.float32)
        cells = data.draw(st.sets(st.integers(0, rows * columns - 1), max_size=4))
        for cell in sorted(cells):
            label = data.draw(st.integers(0, CLASSES - 1))
            scores[cell, label] = score = data.draw(st.floats(0.5, 1, width=32))
            sides = np.array(data.draw(st.tuples(*[st.floats(0, bins - 1.01)] * 4)))
            logits[cell] = -30
            for side, distance in enumerate(sides):
                low, rest = int(distance), distance - int(distance)
                logits[cell, side, low] = np.log(max(1 - rest, 1e-12))
                logits[cell, side, low + 1] = np.log(max(rest, 1e-12))
            y, x = divmod(cell, columns)
            center = np.array([x + 0.5, y + 0.5]) * stride
            box = np.concatenate([center - sides[:2] * stride, center + sides[2:] * stride])
            truth.append((box, label, score))
        outputs[f"s{stride}"] = scores[None]
        outputs[f"b{stride}"] = logits.reshape(1, -1, 4 * bins)
    decode = make_decoder({"decoder": "nanodet", "strides": strides, "bins": bins}, model="m")
    found = decode(outputs, SIZE, 0.4)
    boxes = np.array([t[0] for t in truth], np.float32).reshape(-1, 4)
    check(found, (boxes, np.array([t[1] for t in truth], int), [t[2] for t in truth]))


def test_a_callable_is_a_decoder():
    def mine(outputs, size, min_score):
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0, int)

    assert make_decoder(mine, model="m") is mine


@pytest.mark.parametrize("spec", [{}, "yolo", {"decoder": 3}, {"output": "logits"}])
def test_an_unknown_decoder_names_those_that_exist(spec):
    with pytest.raises(ModelError, match=r"m\.onnx.*nanodet, ssd, ssd-anchors.*decoder="):
        make_decoder(spec, model="m.onnx")


@pytest.mark.parametrize(
    "spec",
    [
        {"decoder": "nanodet", "stride": 8},
        {"decoder": "ssd-anchors"},
        {"decoder": "ssd-anchors", "anchors": [[1, 2]]},
        {"decoder": "ssd-anchors", "anchors": [[0, 0, 1, 1]], "activation": "tanh"},
    ],
)
def test_options_that_a_decoder_does_not_have_are_refused(spec):
    with pytest.raises(ModelError, match=r"options|anchors"):
        make_decoder(spec, model="m.onnx")


@pytest.mark.parametrize(
    "name", ["nanodet", "yolo-v5", "yolo-v8", "ssd", {"decoder": "ssd", "boxes": "b"}]
)
def test_outputs_of_another_shape_are_told(name):
    outputs = {"logits": np.zeros((1, 1000), np.float32), "f": np.zeros((1, 4), np.float32)}
    with pytest.raises(ModelError, match=r"expected .* returned logits \[1, 1000\], f \[1, 4\]"):
        make_decoder(name, model="m.onnx")(outputs, SIZE, 0.4)
