from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeml.errors import InputError, ModelError
from edgeml.tasks import ImageClassifier, ImagePreprocess
from edgeml.tasks._image import check_frame

RNG = np.random.default_rng(0)
FRAME = RNG.integers(0, 256, (30, 50, 3), np.uint8)


def test_raw_pixels_equal_what_opencv_makes():
    tensor, _ = ImagePreprocess(height=16, width=24)(FRAME)
    blob = cv2.dnn.blobFromImage(FRAME, 1.0, (24, 16), ddepth=cv2.CV_8U)
    np.testing.assert_array_equal(tensor, blob)
    assert tensor.dtype == np.uint8


@pytest.mark.parametrize("color", ["BGR", "RGB"])
def test_floats_equal_what_opencv_makes(color):
    mean, std = (10.0, 20.0, 30.0), (128.0, 128.0, 128.0)
    preprocess = ImagePreprocess(
        height=16, width=24, color=color, dtype="float32", mean=mean, std=std
    )
    tensor, _ = preprocess(FRAME)
    blob = cv2.dnn.blobFromImage(FRAME, 1 / 128, (24, 16), mean, swapRB=color == "RGB")
    np.testing.assert_allclose(tensor, blob, atol=1e-6)
    assert tensor.dtype == np.float32


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_layout_and_color_are_only_a_matter_of_order(layout, dtype):
    bgr, _ = ImagePreprocess(16, 24, layout=layout, dtype=dtype, color="BGR")(FRAME)
    rgb, _ = ImagePreprocess(16, 24, layout=layout, dtype=dtype, color="RGB")(FRAME)
    axis = 1 if layout == "NCHW" else 3
    np.testing.assert_array_equal(np.flip(bgr, axis), rgb)
    assert bgr.shape == ((1, 3, 16, 24) if layout == "NCHW" else (1, 16, 24, 3))
    assert rgb.flags.c_contiguous


def test_two_frames_do_not_share_a_buffer():
    preprocess = ImagePreprocess(16, 24)
    first, _ = preprocess(FRAME)
    kept = first.copy()
    preprocess(255 - FRAME)
    np.testing.assert_array_equal(first, kept)


def test_a_letterbox_keeps_proportions_and_pads():
    tensor, place = ImagePreprocess(40, 40, resize="letterbox", pad=7, layout="NHWC")(FRAME)
    assert (tensor[0, :8] == 7).all()
    assert (tensor[0, 32:] == 7).all()
    assert place.offset_y == 8
    assert place.scale_x == pytest.approx(50 / 40)


@settings(deadline=None)
@given(
    st.integers(20, 700), st.integers(20, 700), st.integers(32, 320), st.integers(32, 320),
    st.sampled_from(["stretch", "letterbox"]), st.data(),
)  # fmt: skip
def test_a_box_drawn_in_the_frame_is_found_at_its_place(h, w, in_h, in_w, resize, data):
    """Map the frame's own corners and any box to the input and back."""
    preprocess = ImagePreprocess(in_h, in_w, resize=resize)
    _, place = preprocess(np.zeros((h, w, 3), np.uint8))
    x0 = data.draw(st.floats(0, w - 1))
    y0 = data.draw(st.floats(0, h - 1))
    box = np.array([[x0, y0, w, h]], np.float32)
    offset = np.array([place.offset_x, place.offset_y] * 2, np.float32)
    scale = np.array([place.scale_x, place.scale_y] * 2, np.float32)
    inside = box / scale + offset
    assert (inside >= -1e-3).all()
    assert (inside <= np.array([in_w, in_h] * 2) + 1e-2).all()
    np.testing.assert_allclose(place.to_frame(inside), box, atol=1e-2)


def test_boxes_are_cut_at_the_edges_of_the_frame():
    _, place = ImagePreprocess(10, 10)(FRAME)
    cut = place.to_frame(np.array([[-5, -5, 20, 20]], np.float32))
    np.testing.assert_array_equal(cut, [[0, 0, 50, 30]])


@pytest.mark.parametrize(
    ("frame", "received", "what_to_do"),
    [
        (np.zeros((4, 4), np.uint8), "grey picture, uint8 \\[4, 4\\]", "COLOR_GRAY2BGR"),
        (np.zeros((4, 4, 1), np.uint8), "grey picture", "COLOR_GRAY2BGR"),
        (np.zeros((4, 4, 4), np.uint8), "four channels", "COLOR_BGRA2BGR"),
        (np.zeros((4, 4, 3), np.float32), "float32 \\[4, 4, 3\\]", "astype"),
        (np.zeros((0, 4, 3), np.uint8), "empty frame", "no pixels"),
        (np.zeros((1, 4, 4, 3), np.uint8), "\\[1, 4, 4, 3\\]", "one frame at a time"),
        (np.zeros((3, 4, 4), np.uint8), "four channels|\\[3, 4, 4\\]", "COLOR|channels last"),
        ("frame.jpg", "str", "numpy.asarray"),
    ],
)
def test_what_is_no_frame_is_refused(frame, received, what_to_do):
    with pytest.raises(InputError, match=f"mine: expected a frame.*{received}.*({what_to_do})"):
        check_frame(frame, "mine")
    with pytest.raises(InputError, match="imageclassifier"):
        ImageClassifier()(frame)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        {},
        {"type": "audio", "sample_rate": 16000},
        {"size": [8]},
        {"size": ["a", 8]},
        {"size": [8, 8], "mean": 3},
        {"size": [8, 8], "resize": "crop"},
        {"size": [8, 0]},
        {"size": [8, 8], "std": [1, 0, 1], "dtype": "float32"},
        {"size": [8, 8], "mean": [1, 1, 1]},
    ],
)
def test_a_description_that_does_not_fit_is_refused(spec):
    with pytest.raises(ModelError, match="preprocess"):
        ImagePreprocess.parse(spec, model="model.onnx")
