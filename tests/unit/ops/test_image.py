"""Images: sampling and regions against PyTorch and SciPy's conventions, and their gradients."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.graph import Function
from edgeml.testing import check_gradient

rng = np.random.default_rng(0)
X = rng.standard_normal((2, 3, 5, 6)).astype(np.float32)
THETA = np.float32([[[0.9, 0.3, 0.05], [-0.2, 1.1, 0.1]], [[1.3, 0, -0.2], [0.1, 0.7, 0]]])
GRID = rng.uniform(-1.1, 1.1, (2, 4, 3, 2)).astype(np.float32)


def _torch():
    return pytest.importorskip("torch", reason="the oracles are not installed: make oracles")


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_sampling_is_pytorchs(mode, opset):
    torch = _torch()
    names = {"linear": "bilinear", "cubic": "bicubic"}
    for padding, aligned in (("zeros", False), ("border", True), ("reflection", False)):
        options = {"mode": mode, "padding_mode": padding, "align_corners": aligned}
        run = Function(lambda x, g, o=options: ops.grid_sample(x, g, **o), opset=opset)
        expected = torch.nn.functional.grid_sample(
            torch.tensor(X), torch.tensor(GRID), names.get(mode, mode), padding, aligned
        )
        np.testing.assert_allclose(run(X, GRID), expected, atol=1e-5)


@pytest.mark.parametrize("size", [None, (4, 7)])
def test_affine_transform_is_pytorchs(size):
    torch = _torch()
    shape = [2, 3, *(size or X.shape[2:])]
    grid = torch.nn.functional.affine_grid(torch.tensor(THETA), shape, False)
    expected = torch.nn.functional.grid_sample(torch.tensor(X), grid, align_corners=False)
    received = edgeml.function(lambda x, t: ops.affine_transform(x, t, size))(X, THETA)
    np.testing.assert_allclose(received, expected, atol=1e-5)
    check_gradient(lambda x: ops.affine_transform(x, THETA, size), X)


def test_rotation_is_numpys_by_right_angles():
    square = X[..., :5].copy()
    for turns in range(4):
        run = edgeml.function(lambda x, n=turns: ops.rotate(x, np.full(2, n * np.pi / 2)))
        np.testing.assert_allclose(run(square), np.rot90(square, turns, (2, 3)), atol=1e-5)
    half = edgeml.function(lambda x: ops.rotate(x, np.float32([np.pi, 0])))(X)
    np.testing.assert_allclose(half[0], np.rot90(X[0], 2, (1, 2)), atol=1e-5)
    np.testing.assert_allclose(half[1], X[1], atol=1e-5)


def test_regions_of_whole_pixels_are_slices():
    boxes = np.float32([[1 / 4, 2 / 5, 3 / 4, 1], [0, 0, 1, 1], [0.5, 0.6, 0.5, 0.6]])
    images = np.array([1, 0, 1])
    run = edgeml.function(lambda x, b, i: ops.crop_and_resize(x, b, i, (3, 4)))
    found = run(X, boxes, images)
    np.testing.assert_allclose(found[0], X[1, :, 1:4, 2:6], atol=1e-5)
    np.testing.assert_allclose(found[2], np.broadcast_to(X[1, :, 2:3, 3:4], (3, 3, 4)), atol=1e-5)
    middle = edgeml.function(lambda x: ops.crop_and_resize(x, boxes[1:2], images[1:2], (1, 1)))(X)
    np.testing.assert_allclose(middle[0, :, 0, 0], X[0, :, 2, 2:4].mean(-1), atol=1e-5)
    check_gradient(lambda x, b: ops.crop_and_resize(x, b, images[:1], (2, 2)), X,
                   np.float32([[0.11, 0.09, 0.83, 0.71]]), eps=3e-3)  # fmt: skip


def test_the_best_boxes_are_kept():
    boxes = np.float32([[0, 0, 2, 2], [0, 0, 2, 1.9], [0, 1, 2, 3], [5, 5, 6, 6]])
    scores = np.float32([0.8, 0.9, 0.7, 0.1])

    def kept(*arguments):
        return edgeml.function(lambda b, s: ops.non_max_suppression(b, s, *arguments))(
            boxes, scores).tolist()  # fmt: skip

    assert kept(9) == [1, 2, 3]
    assert kept(2) == [1, 2]
    assert kept(9, 0.2) == [1, 3]
    assert kept(9, 1.0) == [1, 0, 2, 3]
    assert kept(9, 0.5, 0.5) == [1, 2]
    assert kept(9, 0.5, 0.95) == []


def test_colours_and_blocks():
    grey = edgeml.function(ops.rgb_to_grayscale)(X)
    np.testing.assert_allclose(grey[:, 0], np.tensordot(X, [0.2989, 0.587, 0.114], (1, 0)),
                               atol=1e-6)  # fmt: skip
    blocks = X[:, :, :4, :4].repeat(4, 1)
    there = edgeml.function(lambda x: ops.space_to_depth(x, 2))(blocks)
    assert there.shape == (2, 48, 2, 2)
    back = edgeml.function(lambda x: ops.depth_to_space(x, 2))(there)
    np.testing.assert_array_equal(back, blocks)
    check_gradient(lambda x: ops.depth_to_space(x, 2), blocks)


def test_local_response():
    torch = _torch()
    x = rng.standard_normal((2, 7, 3, 2)).astype(np.float32)
    run = edgeml.function(lambda x: ops.local_response_norm(x, 2, 1.5, 0.3, 0.6))
    expected = torch.nn.functional.local_response_norm(torch.tensor(x), 5, 0.3 * 5, 0.6, 1.5)
    np.testing.assert_allclose(run(x), expected, rtol=1e-5)
