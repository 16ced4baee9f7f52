"""Learned step sizes: the gradient of scales, as PyTorch has it, and what they learn."""

import math

import numpy as np
import pytest

import edgeml
from edgeml import ops

rng = np.random.default_rng(0)
X = rng.standard_normal((6, 40)).astype(np.float32)


@pytest.mark.parametrize(("dtype", "largest"), [(np.int8, 127), (np.uint8, 255)])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_gradient_of_a_learned_step_is_pytorchs(dtype, largest, axis):
    torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")
    scale = np.float32(0.01) if axis is None else np.full(X.shape[axis], 0.01, np.float32)
    weights = rng.standard_normal(X.shape).astype(np.float32)
    options = {"dtype": dtype} | ({} if axis is None else {"axis": axis})
    loss = edgeml.value_and_grad(
        lambda x, s: ops.sum(ops.learned_quant(x, s, **options) * weights), (0, 1)
    )
    value, (dx, ds) = loss(X, scale)
    x, s = torch.tensor(X, requires_grad=True), torch.tensor(np.atleast_1d(scale))
    s.requires_grad_()
    ends = (int(np.iinfo(dtype).min), largest, 1 / math.sqrt(X.size / scale.size * largest))
    zero = torch.zeros(s.shape)
    if axis is None:
        y = torch._fake_quantize_learnable_per_tensor_affine(x, s, zero, *ends)
    else:
        y = torch._fake_quantize_learnable_per_channel_affine(x, s, zero, axis, *ends)
    expected = (y * torch.tensor(weights)).sum()
    expected.backward()
    np.testing.assert_allclose(value, expected.item(), rtol=1e-4)
    np.testing.assert_allclose(dx, x.grad.numpy(), rtol=1e-5)
    np.testing.assert_allclose(np.atleast_1d(ds), s.grad.numpy(), rtol=1e-4, atol=1e-5)


def test_a_scale_learns_what_loses_least():
    x = rng.standard_normal(2000).astype(np.float32) ** 3  # few are large
    step = edgeml.value_and_grad(lambda s: ops.mean(ops.absolute(ops.learned_quant(x, s) - x)))
    widest = np.abs(x).max() / 127
    best = min(float(step(s)[0]) for s in np.linspace(0.05, 1, 40) * widest)
    scale = 0.1 * widest
    for _ in range(100):
        scale -= 5 * step(scale)[1]
    assert float(step(scale)[0]) < 1.03 * best < float(step(widest)[0])
