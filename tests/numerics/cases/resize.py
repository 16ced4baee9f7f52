"""Cases of resizing."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _resize(x, scales=None, sizes=None, torch=None, **attrs):
    given = None if scales is None else np.array(scales, np.float32)
    target = None if sizes is None else np.array(sizes, np.int64)
    roi = attrs.pop("roi", None)
    inputs = [_n(*x), None if roi is None else np.array(roi, np.float32), given, target]
    while inputs[-1] is None:
        inputs.pop()
    case = {"op": "Resize", "inputs": inputs, "attrs": attrs, "wrt": [0]}
    return case if torch is None else {**case, "torch": torch}


def _interpolated(**kwargs):
    return lambda torch, x, *_: torch.nn.functional.interpolate(x, **kwargs)


MODES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
NEAREST = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]

CASES = [
    *(_resize((2, 3, 4, 5), sizes=size, mode=mode, coordinate_transformation_mode=coordinate)
      for mode in ("nearest", "linear", "cubic") for coordinate in MODES
      for size in ([2, 3, 7, 10], [2, 3, 3, 2])),
    *(_resize((2, 3, 4, 5), scales=[1, 1, f, 2.0], mode="nearest", nearest_mode=nearest,
              coordinate_transformation_mode=coordinate)
      for coordinate in MODES for nearest in NEAREST for f in (2.0, 3.0, 1.5, 0.6)),
    *(_resize((1, 2, 5, 4), scales=[1, 1, 1.7, 0.7], mode=mode) for mode in ("linear", "cubic")),
    _resize((2, 3, 4, 5), scales=[1, 1, 2, 2], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
            torch=_interpolated(scale_factor=2, mode="nearest")),
    _resize((2, 3, 4, 5), sizes=[2, 3, 9, 7], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
            torch=_interpolated(size=(9, 7), mode="nearest")),
    _resize((2, 3, 4, 5), scales=[1, 1, 2, 2], mode="linear",
            coordinate_transformation_mode="pytorch_half_pixel",
            torch=_interpolated(scale_factor=2, mode="bilinear")),
    _resize((2, 3, 4, 5), sizes=[2, 3, 8, 3], mode="linear",
            coordinate_transformation_mode="align_corners",
            torch=_interpolated(size=(8, 3), mode="bilinear", align_corners=True)),
    _resize((2, 3, 5, 6), sizes=[2, 3, 8, 4], mode="cubic", cubic_coeff_a=-0.75,
            coordinate_transformation_mode="pytorch_half_pixel",
            torch=_interpolated(size=(8, 4), mode="bicubic")),
    # The runtime's filters differ from PyTorch's at the borders.
    _resize((2, 3, 8, 9), sizes=[2, 3, 4, 5], mode="linear", antialias=1),
    _resize((2, 3, 8, 9), sizes=[2, 3, 4, 5], mode="cubic", antialias=1, cubic_coeff_a=-0.5,
            exclude_outside=1),
    _resize((2, 3, 5, 6), sizes=[2, 3, 8, 4], mode="cubic", exclude_outside=1),
    # other ranks, other axes
    _resize((2, 3, 5), scales=[1, 1, 2], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
            torch=_interpolated(scale_factor=2, mode="nearest")),
    _resize((2, 3, 5), sizes=[2, 3, 8], mode="linear",
            torch=_interpolated(size=8, mode="linear")),
    _resize((1, 2, 3, 4, 3), scales=[1, 1, 2, 1, 2], mode="nearest", nearest_mode="floor",
            coordinate_transformation_mode="asymmetric"),
    _resize((1, 2, 3, 4, 3), sizes=[1, 2, 5, 4, 6], mode="linear",
            torch=_interpolated(size=(5, 4, 6), mode="trilinear")),
    _resize((4, 5), sizes=[6, 3], mode="linear"),
    _resize((4, 5), sizes=[6, 3], mode="cubic"),
    _resize((2, 3, 4, 5), sizes=[4, 3, 8, 5], mode="nearest"),
    _resize((1, 3, 4, 5), sizes=[8, 3], axes=[2, 3], mode="linear"),
    _resize((1, 3, 4, 5), scales=[1.5, 2.0], axes=[3, 2], mode="linear"),
    _resize((1, 3, 4, 5), sizes=[8, 8], axes=[2, 3], mode="linear",
            keep_aspect_ratio_policy="not_larger"),
    _resize((1, 3, 4, 5), sizes=[8, 8], axes=[2, 3], mode="nearest",
            keep_aspect_ratio_policy="not_smaller"),
    _resize((1, 2, 6, 7), sizes=[1, 2, 4, 5], mode="linear", extrapolation_value=3.0,
            roi=[0, 0, 0.2, -0.1, 1, 1, 0.9, 1.2],
            coordinate_transformation_mode="tf_crop_and_resize"),
    _resize((2, 3, 4, 5), sizes=[2, 3, 4, 5], mode="linear"),
]  # fmt: skip
