"""Histograms that stream, ranges from them, and the integers of a range."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from edgeml.errors import InputError
from edgeml.quantize._calibrate import calibrate
from edgeml.quantize._index import Index
from edgeml.quantize._plan import ranges_by
from edgeml.quantize._qdq import activation_params, weight_params
from edgeml.quantize._ranges import (
    BINS,
    METHODS,
    Histogram,
    entropy,
    minmax,
    mse,
    narrowed_below,
    percentile,
)

FLOATS = st.floats(-1e6, 1e6, width=32, allow_subnormal=False)
VALUES = arrays(np.float32, array_shapes(max_dims=2, max_side=30), elements=FLOATS)


def histogram(*parts):
    found = Histogram()
    for part in parts:
        found.add(np.asarray(part))
    return found


@given(st.lists(VALUES, min_size=1, max_size=5), st.randoms(use_true_random=False))
def test_order_does_not_matter(parts, random):
    shuffled = list(parts)
    random.shuffle(shuffled)
    once, again = histogram(*parts), histogram(*shuffled)
    whole = histogram(np.concatenate([part.ravel() for part in parts]))
    for other in (again, whole):
        assert (once.low, once.high, once.radius) == (other.low, other.high, other.radius)
        np.testing.assert_array_equal(once.counts, other.counts)


@given(VALUES)
def test_each_value_is_counted_in_its_bin(values):
    found = histogram(values)
    assert found.counts.sum() == values.size
    assert minmax(found) == (values.min(), values.max())
    edges = (np.arange(BINS + 1) - BINS / 2) * (2 * found.radius / BINS)
    np.testing.assert_array_equal(found.counts, np.histogram(values, edges)[0])


def test_what_is_counted_of_large_arrays_is_a_sample_and_extremes_are_not():
    values = np.random.default_rng(0).standard_normal(2_000_000).astype(np.float32)
    values[7] = 50
    found = histogram(values)
    assert found.high == 50
    assert 60_000 < found.counts.sum() < 200_000
    low, high = percentile(found, 0.99)
    assert (low, high) == pytest.approx((-2.576, 2.576), abs=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused(bad):
    with pytest.raises(InputError, match="NaN or infinity"):
        histogram([1.0, bad])


@given(VALUES, st.lists(st.floats(0.5, 1), min_size=2, max_size=4))
def test_percentiles_are_nested(values, shares):
    found = histogram(values)
    ranges = [percentile(found, share) for share in sorted(shares)]
    for (low, high), (wider_low, wider_high) in pairwise(ranges):
        assert wider_low <= low <= high <= wider_high
    assert percentile(found, 1.0) == minmax(found)


@given(VALUES)
def test_a_range_never_leaves_what_was_seen_and_zero(values):
    found = histogram(values)
    for method in METHODS.values():
        low, high = method(found)
        assert min(found.low, 0) <= low <= high <= max(found.high, 0)


def test_an_outlier_is_cut_off():
    values = np.random.default_rng(0).standard_normal(100_000).astype(np.float32)
    found = histogram(values, [60.0])
    for method in (percentile, entropy):
        assert method(found)[1] < 30, method
    seen = np.append(values, np.float32(60))
    errors = {
        name: ((quantized(seen, *method(found)) - seen) ** 2).sum()
        for name, method in METHODS.items()
    }
    assert errors["mse"] == min(errors.values())
    assert errors["mse"] < 0.9 * errors["minmax"]


def quantized(values, low, high):
    params = activation_params(low, high)
    return params.dequantize(params.quantize(values))


def test_a_peak_at_zero_costs_no_range():
    """Activations of ReLU6, two thirds of them zero."""
    rng = np.random.default_rng(0)
    found = Histogram()
    found.add(np.clip(rng.normal(-1.0, 2.0, 100_000), 0, 6).astype(np.float32))
    assert entropy(found)[1] > 5.5


@pytest.mark.parametrize("value", [0.0, 3.0, -2.5])
def test_constant_data_have_a_range(value):
    found = histogram(np.full(100, value))
    for method in METHODS.values():
        params = activation_params(*method(found))
        one = np.array([value], np.float32)
        assert params.dequantize(params.quantize(one)) == pytest.approx(value, abs=0.02)


def test_a_tensor_that_is_always_empty_has_one_too():
    found = histogram(np.empty((0, 4)))
    for method in METHODS.values():
        assert activation_params(*method(found)).scale == 1.0


@given(VALUES, st.sampled_from(["uint8", "int8"]), st.booleans())
def test_rounding_errs_by_half_a_step_at_most(values, dtype, symmetric):
    params = activation_params(values.min(), values.max(), dtype, symmetric=symmetric)
    back = params.dequantize(params.quantize(values))
    assert (abs(back.astype(np.float64) - values) <= params.scale * 0.501).all()
    assert params.quantize(np.zeros(1)) == params.zero_point
    if symmetric:
        assert params.zero_point == (128 if dtype == "uint8" else 0)


@given(arrays(np.float32, (3, 4, 5), elements=FLOATS), st.sampled_from([0, 1, 2]),
       st.sampled_from([7, 8]), st.booleans())  # fmt: skip
def test_weights_err_by_half_a_step_of_their_channel(weights, axis, bits, per_channel):
    params = weight_params(weights, axis, bits=bits, per_channel=per_channel)
    integers = params.quantize(weights)
    assert abs(integers.astype(int)).max(initial=0) <= 2 ** (bits - 1) - 1
    assert params.scale.shape == ((weights.shape[axis],) if per_channel else ())
    scale = params.scale.reshape([-1 if i == axis else 1 for i in range(3)])
    scale = scale if per_channel else params.scale
    assert (abs(params.dequantize(integers) - weights) <= scale * 0.501).all()


@given(st.integers(0, 100), st.floats(0.0, 0.9))
def test_what_is_made_small_next_gives_up_steps(seed, slope):
    """The error behind a LeakyRelu is no greater than with the whole range."""
    x = np.random.default_rng(seed).normal(-1, 2, 5000).astype(np.float32)
    seen = histogram(x)
    low, high = narrowed_below(seen, minmax(seen), slope)
    assert high == seen.high
    assert seen.low <= low <= 0

    def error(low):
        gap = quantized(x, low, high) - x
        return float(np.square(np.where(x < 0, slope, 1) * gap, dtype=np.float64).sum())

    assert error(low) <= 1.05 * error(seen.low)  # the histogram is coarse


def test_nothing_is_given_up_where_there_is_nothing_below():
    seen = histogram(np.linspace(0, 3, 100, dtype=np.float32))
    assert narrowed_below(seen, (0.0, 3.0), 0.1) == (0.0, 3.0)


def test_what_goes_out_keeps_its_extremes(net):
    """A score in ten thousand is what a detector is asked for."""
    made = net(4)
    hidden = made.gemm("x", 4, 4)
    model = made.model(made.add("Sigmoid", made.gemm(hidden, 4, 4)))
    x = np.zeros((20_000, 4), np.float32)
    x[0] = 50
    index = Index(model)
    seen = calibrate(model, [{"x": x}], [hidden, *index.outputs])
    ranges = ranges_by("percentile", seen, index)
    (output,) = index.outputs
    assert ranges[output] == minmax(seen[output])
    assert ranges[hidden] == percentile(seen[hidden]) != minmax(seen[hidden])


def test_what_is_joined_has_one_range_where_alike(net):
    made = net(4, 6, 6)
    first, second = made.conv("x", 4, 4), made.conv("x", 4, 4)
    both = made.add("Concat", first, second, axis=1)
    third = made.add("Concat", both, made.conv("x", 4, 4), axis=1)
    model = made.model(made.add("Concat", third, made.conv("x", 4, 4), axis=1))
    index = Index(model)
    *joined, far = [name for name in index.producer if name.startswith("conv")]
    seen = {name: histogram(np.array([-1.0, 1.0])) for name in (both, third)}
    for k, name in enumerate(joined):
        seen[name] = histogram(np.array([-1.0, 1.0 + k / 4]))
    seen[far] = histogram(np.array([-0.1, 0.1]))
    ranges = ranges_by("mse", seen, index)
    shared = {ranges[name] for name in (*joined, both, third)}
    assert len(shared) == 1
    assert ranges[far] == mse(seen[far]) not in shared
