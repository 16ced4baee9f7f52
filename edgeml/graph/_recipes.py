"""Which recipe to take for a shape: measured rules.

Measured on two cores of an AVX-512 server with ONNX Runtime's CPU provider, two threads, each
recipe alone, 3x3 kernels; sizes count float32 values. Only stretches in which no other process
ran count: times are medians of five. The thresholds lie between measured shapes, not at their
exact best. Weights are inputs while training: the runtime's blocked convolutions, which want
constants, are out of reach.
"""

from __future__ import annotations

import math

from edgeml.graph._recipes_window import Window


def use_flipped_conv(batch: int, channels: int, filters: int, group: int, window: Window) -> bool:
    """Return whether a convolution's input gradient is a Conv with flipped weights.

    Depthwise it takes half of ConvTranspose's time (32x48x48 at batch 32: 2.0 ms for 4.0). Else
    it reads `filters` images and writes `channels`: with as many it wins once there is enough to
    do (32 channels 28x28 at batch 32: 1.9 ms for 3.0; 16x14x14: 0.23 for 0.34), and loses with
    few places (64x7x7: 1.47 for 1.31) or for one image (32 to 64 14x14: 0.11 for 0.05).
    """
    if window.pointwise:
        return True
    if not window.dense or any(n < 0 for n in _flipped_pads(window)):
        return False
    if group == channels == filters:
        return True
    places = batch * math.prod(window.small)
    return filters <= channels and channels // group >= 16 and places >= 6000


def _flipped_pads(window: Window) -> list[int]:
    return [
        k - 1 - n
        for k, before, after in zip(window.kernel, window.before, window.after, strict=True)
        for n in (before, after)
    ]


def use_stretched(window: Window) -> bool:
    """Return whether a depthwise input gradient is a flipped Conv of the stretched gradient.

    Where Col2Im would be taken: its columns are as many as the taps, and so are the products. A
    step of the benchmark's depthwise network at batch 8 takes 7.8 ms for 8.7.
    """
    return (
        len(window.kernel) == 2 and max(window.strides) > 1 and set(window.dilations) == {1}
        and min(stretched_pads(window)) >= 0
    )  # fmt: skip


def stretched_pads(window: Window) -> list[int]:
    """Return how a gradient with zeros between its values is padded for a flipped Conv."""
    first = [k - 1 - n for k, n in zip(window.kernel, window.before, strict=True)]
    last = [
        large - small * stride - before + k - 1
        for large, small, stride, before, k in zip(
            window.large, window.small, window.strides, first, window.kernel, strict=True
        )
    ]
    return [*first, *last]


def use_col2im(batch: int, channels: int, window: Window) -> bool:
    """Return whether an input gradient is one product and a Col2Im, instead of ConvTranspose.

    ConvTranspose goes image by image: 32 to 64 channels 14x14 take 1.59 ms for 0.90 at batch 32,
    0.44 for 0.27 at batch 8, and 0.05 for 0.06 alone. The columns are held at once: not more
    than 16 MB; beyond, it can lose (32 channels 56x56 at batch 8: 2.3 for 2.7).
    """
    return batch >= 4 and batch * channels * window.taps * math.prod(window.small) <= 4 << 20


def use_columns(batch: int, channels: int, filters: int, group: int, window: Window) -> bool:
    """Return whether a convolution is trained as one product with columns that are kept.

    The runtime makes the columns inside, and the weight gradient needs them again: 16 to 32
    channels 14x14 at batch 32 take 0.47 ms as Conv and 0.22 as a product, 1 to 16 28x28 0.19 and
    0.08. They are limited to 4 MB, since they stay until the gradient is taken.
    """
    if group > 1 or window.taps == 1 or len(window.kernel) > 2:
        return False
    if use_flipped_conv(batch, channels, filters, group, window):
        return False
    size = batch * channels * window.taps * math.prod(window.small)
    return batch >= 4 and size <= 1 << 20


def use_taps(batch: int, channels: int, group: int, window: Window) -> bool:
    """Return whether a weight gradient is one product for each tap, instead of one for all.

    Large columns cost more to write than products: 64 channels 28x28 at batch 32 13.4 ms for 9.1,
    16 to 16 1.96 for 1.45. Small ones do not: 16 to 32 14x14 at batch 32 0.64 for 0.76; nor do
    few channels, 3 to 16 56x56 1.3 for 2.3. It needs a ninth of the memory.
    """
    columns = batch * channels * window.taps * math.prod(window.small)
    return window.taps > 1 and channels // group >= 16 and columns >= 1_500_000


def use_merged_batch(channels: int, filters: int, group: int, window: Window) -> bool:
    """Return whether a weight gradient is one product over all images, instead of one for each.

    The products of the images are summed, or else the images are transposed: 256 channels 7x7 at
    batch 8 take 4.3 ms summed and 2.1 transposed, 320 to 1280 pointwise 7x7 at batch 32 10.0 and
    3.3. Where both are about as large there is little in it (64 channels 14x14 at batch 16: 1.8
    and 1.6).
    """
    weights = filters * channels // group * window.taps
    return group == 1 and weights > 4 * (channels + filters) * math.prod(window.small)


def use_banded(window: Window) -> bool:
    """Return whether a depthwise weight gradient is a product along rows, of which bands count.

    A product of whole rows computes (width / taps) times too much, and still takes less time than
    shifting, multiplying and adding: 384x14x14 at batch 16 2.3 ms for 5.3, 32x48x48 at batch 32
    6.3 for 16.5, 576x14x14 with 5x5 8.5 for 33; at a width of 112 it is 5.6 for 6.4.
    """
    return window.large[-1] * window.small[-1] <= 16384


def use_matrices(batch: int, channels: int, window: Window) -> bool:
    """Return whether a depthwise convolution is trained as one matrix over all places a channel.

    The runtime convolves image by image and channel by channel. On small images a matrix product
    computes many zeros, and the three products of a step are faster together: 960x7x7 at batch 32
    4.9 ms for 11.0, 1152x7x7 with 5x5 6.8 for 27.9 and at batch 8 2.6 for 7.4, 256x6x6 0.7 for
    2.5, 128x12x12 with stride 2 0.9 for 2.1. Making the matrices costs as much for one image as
    for many: 128x12x12 3.2 for 2.5, 1152x7x7 alone 0.9 for 0.7. They are limited to 32 MB.
    """
    size = math.prod(window.large) * math.prod(window.small)
    return channels * size <= 8 << 20 and 16 * size <= (batch * window.taps) ** 2


def use_enlarged(window: Window) -> bool:
    """Return whether a maximum's gradient is found by enlarging the maxima to the input's size.

    The runtime's MaxPool takes long to tell where its maxima are: 2x2 of 16x28x28 at batch 32
    0.06 ms without and 0.94 with indices. Windows that tile one or two axes need none: the pass
    over enlarged values takes 0.35.
    """
    exact = all(k * n == size for k, n, size in zip(
        window.kernel, window.small, window.large, strict=True))  # fmt: skip
    tiles = exact and window.kernel == window.strides and set(window.dilations) == {1}
    return tiles and len(window.kernel) <= 2
