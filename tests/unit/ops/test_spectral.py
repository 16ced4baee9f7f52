"""Fourier transforms against NumPy, and their gradients."""

import numpy as np
import pytest

import edgeml
from edgeml import ops
from edgeml.graph import Function
from edgeml.testing import check_gradient

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(8,), (3, 7), (2, 1, 6), (2, 3, 4, 5)])
@pytest.mark.parametrize(("fn", "theirs"), [(ops.fft, np.fft.fft), (ops.ifft, np.fft.ifft)])
def test_of_complex_numbers(fn, theirs, shape):
    x, y = _n(*shape), _n(*shape)
    expected = theirs(x + 1j * y)
    real, imaginary = edgeml.function(lambda x, y: fn((x, y)))(x, y)
    np.testing.assert_allclose(real, expected.real, atol=1e-5)
    np.testing.assert_allclose(imaginary, expected.imag, atol=1e-5)
    check_gradient(lambda x, y: fn((x, y)), x, y)


@pytest.mark.parametrize("size", [None, 4, 7, 12])
@pytest.mark.parametrize("shape", [(8,), (3, 7), (2, 3, 2, 6)])
def test_of_real_numbers(shape, size):
    x = _n(*shape)
    expected = np.fft.rfft(x, size)
    real, imaginary = edgeml.function(lambda x: ops.rfft(x, size))(x)
    np.testing.assert_allclose(real, expected.real, atol=1e-5)
    np.testing.assert_allclose(imaginary, expected.imag, atol=1e-5)
    check_gradient(lambda x: ops.rfft(x, size), x)


@pytest.mark.parametrize("opset", [18, 20])
@pytest.mark.parametrize("size", [None, 4, 7, 12])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 2, 6)])
def test_back_to_real_numbers(shape, size, opset):
    x, y = _n(*shape), _n(*shape)
    run = Function(lambda x, y: ops.irfft((x, y), size), opset=opset)
    np.testing.assert_allclose(run(x, y), np.fft.irfft(x + 1j * y, size), atol=1e-5)
    check_gradient(lambda x, y: ops.irfft((x, y), size), x, y)
