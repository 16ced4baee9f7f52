"""Which recipe to take for a shape: measured rules.

Measured on two cores of an AVX-512 server with ONNX Runtime's CPU provider, two threads, each
recipe alone, 3x3 kernels; sizes count float32 values. Weights are inputs while training: the
runtime's blocked convolutions, which want constants, are out of reach.
"""

from __future__ import annotations

import math

from edgeml.graph._recipes_window import Window


def use_flipped_conv(batch: int, channels: int, filters: int, group: int, window: Window) -> bool:
    """Return whether a convolution's input gradient is a Conv with flipped weights.

    Depthwise it took 0.46-1.02 of ConvTranspose's time (32x48x48 at batch 32: 2.3 ms for 4.3).
    Else it reads `filters` images and writes `channels`: with as many it wins once there is enough
    to do (32 channels 28x28 at batch 32: 2.1 ms for 3.1; 16x14x14: 0.26 for 0.36), and loses
    with few channels (8 to 16, 0.32 for 0.22) or few places (64x7x7: 1.5 for 1.3).
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


def use_col2im(batch: int, channels: int, window: Window) -> bool:
    """Return whether an input gradient is one product and a Col2Im, instead of ConvTranspose.

    ConvTranspose goes image by image: at batch 32, 32 to 64 channels 14x14, 1.65 ms for 0.97;
    at batch 8, 0.43 for 0.40; alone there is no difference. The columns are held at once: not
    more than 16 MB, from where on it wins nothing (32 channels 56x56 at batch 8: 3.3 for 3.7).
    """
    return batch >= 4 and batch * channels * window.taps * math.prod(window.small) <= 4 << 20


def use_taps(batch: int, channels: int, group: int, window: Window) -> bool:
    """Return whether a weight gradient is one product for each tap, instead of one for all.

    Large columns cost more to write than products: 64 channels 28x28 at batch 32 13.0 ms for
    10.1, 16 to 16 2.1 for 1.7. Small ones do not: 16 to 32 14x14 at batch 32 0.67 for 0.78; nor
    do few channels, 3 to 16 56x56 1.7 for 3.0. It needs a ninth of the memory.
    """
    columns = batch * channels * window.taps * math.prod(window.small)
    return window.taps > 1 and channels // group >= 16 and columns >= 1_500_000


def use_merged_batch(channels: int, filters: int, group: int, window: Window) -> bool:
    """Return whether a weight gradient is one product over all images, instead of one for each.

    The products of the images are summed, or else the images are transposed: what is smaller
    wins. 256 channels 7x7 at batch 8: 7.5 ms summed, 3.4 transposed; 64 channels 14x14 at batch
    16: 2.0 summed, 2.5 transposed; 320 to 1280 pointwise 7x7 at batch 32: 9.6 and 4.3.
    """
    weights = filters * channels // group * window.taps
    return group == 1 and weights > 4 * (channels + filters) * math.prod(window.small)


def use_banded(window: Window) -> bool:
    """Return whether a depthwise weight gradient is a product along rows, of which bands count.

    A product of whole rows computes (width / taps) times too much, and takes half the time of
    shifting, multiplying and adding: 384x14x14 at batch 16 4.5 ms for 7.3, 32x48x48 at batch 32
    7.0 for 12.5, 576x14x14 with 5x5 7.7 for 26.8; at a width of 112 it is 5.7 for 6.4.
    """
    return window.large[-1] * window.small[-1] <= 16384


def use_matrices(batch: int, channels: int, window: Window) -> bool:
    """Return whether a depthwise convolution is trained as one matrix over all places a channel.

    The runtime convolves image by image and channel by channel. On small images a matrix product
    computes many zeros, and all three products of a step are faster together: 960x7x7 at batch 32
    5.2 ms for 10.6 (PyTorch 5.3), 1152x7x7 with 5x5 7.3 for 27 (19), at batch 8 6.4 for 17;
    256x6x6 1.5 for 4.3 (0.6), 128x12x12 with stride 2 1.7 for 2.9. Making the matrices costs as
    much for one image as for many: 128x12x12 6.4 for 4.7, 1152x7x7 alone 1.9 for 1.2. They are
    limited to 32 MB.
    """
    size = math.prod(window.large) * math.prod(window.small)
    return channels * size <= 8 << 20 and 16 * size <= (batch * window.taps) ** 2
