"""Convolutions, pools, and what changes the size of pictures."""

import numpy as np

SERIES, PICTURES = [((2, 9, 4),), ((3, 8, 6),)], [((2, 7, 6, 4),), ((1, 8, 9, 2),)]
VOLUMES = [((1, 5, 4, 6, 2),), ((2, 4, 5, 4, 4),)]
BY_RANK = {1: SERIES, 2: PICTURES, 3: VOLUMES}
ACTIVATIONS = [None, "relu", "tanh", "softmax", "gelu"]


def _fits(a, shapes, call):
    """Keras refuses strides together with dilation, and windows larger than pictures."""
    window = max(np.atleast_1d(a["kernel_size"]) - 1) * a["dilation_rate"] + 1
    small = a["padding"] == "valid" and window > min(shapes[0][1:-1])
    return (a["strides"] == 1 or a["dilation_rate"] == 1) and not small


def _conv(rank, **more):
    return {
        "shapes": BY_RANK[rank], "valid": _fits,
        "arguments": {
            "filters": [2, 4, 6], "kernel_size": [1, 2, 3, *([(2, 3)] if rank == 2 else [])],
            "strides": [1, 2], "padding": ["valid", "same", *(["causal"] if rank == 1 else [])],
            "dilation_rate": [1, 1, 2], "groups": [1, 2], "activation": ACTIVATIONS,
            "use_bias": [True, False], **more,
        },
    }  # fmt: skip


def _transposed(rank):
    return {
        "shapes": BY_RANK[rank],
        "arguments": {
            "filters": [2, 3], "kernel_size": [1, 2, 3, 4], "strides": [1, 2, 3],
            "padding": ["valid", "same"], "activation": ACTIVATIONS, "use_bias": [True, False],
        },
    }  # fmt: skip


def _depthwise(rank):
    return {
        "shapes": BY_RANK[rank], "valid": _fits,
        "arguments": {
            "kernel_size": [1, 2, 3], "strides": [1, 2], "padding": ["valid", "same"],
            "depth_multiplier": [1, 2], "dilation_rate": [1, 1, 2], "activation": ACTIVATIONS,
            "use_bias": [True, False],
        },
    }  # fmt: skip


def _separable(rank):
    space = _depthwise(rank)
    return {**space, "arguments": {"filters": [3, 5], **space["arguments"]}}


def _pool(rank, paddings):
    return {
        "shapes": BY_RANK[rank],
        "arguments": {
            "pool_size": [1, 2, 3, *([(2, 3)] if rank == 2 else [])], "strides": [None, 1, 2],
            "padding": paddings,
        },
    }  # fmt: skip


RANKS = (1, 2, 3)
PADDING = {1: [0, 1, (1, 2)], 2: [1, (1, 2), ((1, 0), (2, 3))], 3: [1, ((1, 0), (0, 2), (1, 1))]}
CROPPING = {1: [0, 1, (1, 2)], 2: [1, (2, 0), ((1, 0), (0, 1))], 3: [1, ((1, 0), (0, 2), (1, 1))]}
SPACES = {
    **{f"Conv{r}D": _conv(r) for r in RANKS},
    **{f"Conv{r}DTranspose": _transposed(r) for r in RANKS},
    **{f"DepthwiseConv{r}D": _depthwise(r) for r in (1, 2)},
    **{f"SeparableConv{r}D": _separable(r) for r in (1, 2)},
    **{f"MaxPooling{r}D": _pool(r, ["valid", "same"]) for r in RANKS},
    # Keras on PyTorch counts the padding in means; on TensorFlow it does not, nor do we.
    **{f"AveragePooling{r}D": _pool(r, ["valid"]) for r in RANKS},
    **{f"Adaptive{kind}Pooling{r}D": {"shapes": BY_RANK[r], "arguments": {
        "output_size": [1, 2, 3, 4, *([(2, 3)] if r == 2 else [])]}}
       for kind in ("Average", "Max") for r in RANKS},
    **{f"Global{kind}Pooling{r}D": {"shapes": BY_RANK[r], "arguments": {"keepdims": [False, True]}}
       for kind in ("Average", "Max") for r in RANKS},
    **{f"ZeroPadding{r}D": {"shapes": BY_RANK[r], "arguments": {"padding": PADDING[r]}}
       for r in RANKS},
    **{f"Cropping{r}D": {"shapes": BY_RANK[r], "arguments": {"cropping": CROPPING[r]}}
       for r in RANKS},
    "UpSampling1D": {"shapes": SERIES, "arguments": {"size": [1, 2, 3]}},
    "UpSampling2D": {"shapes": PICTURES, "arguments": {
        # "bicubic" of Keras on PyTorch is PyTorch's; ours is TensorFlow's, in tests/unit/layers.
        "size": [2, 3, (2, 3)], "interpolation": ["nearest", "bilinear"]}},
    "UpSampling3D": {"shapes": VOLUMES, "arguments": {"size": [1, 2, (2, 1, 3)]}},
}  # fmt: skip
