"""Cases of what reads an image at computed places: regions, deformable convolutions."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _distinct(*shape):
    values = rng.permutation(int(np.prod(shape))).astype(np.float32)
    return (values.reshape(shape) - values.size / 2) * 0.1


ROIS = np.float32([[0, 0, 6, 5], [1.3, 2.1, 7.7, 6.4], [2, 1, 3, 2], [-2, 3, 12, 9]])
IMAGES = np.array([0, 1, 1, 0])
WHOLE = np.float32([[0, 0, 0, 6, 5], [1, 1, 2, 7, 6], [1, 2, 1, 3, 2], [0, 2, 3, 5, 9]])


def _max_bins(scale):
    """Bins are cut at whole places, as in Fast R-CNN; an empty one is 0."""

    def run(torch, x, rois):
        made = []
        for image, *corners in rois.tolist():
            x0, y0, x1, y1 = (int(np.floor(c * scale + 0.5)) for c in corners)
            high, wide = max(y1 - y0 + 1, 1) / 2, max(x1 - x0 + 1, 1) / 3
            for i, j in np.ndindex(2, 3):
                rows = slice(*(min(max(n + y0, 0), 8) for n in (
                    int(np.floor(i * high)), int(np.ceil((i + 1) * high)))))  # fmt: skip
                columns = slice(*(min(max(n + x0, 0), 9) for n in (
                    int(np.floor(j * wide)), int(np.ceil((j + 1) * wide)))))  # fmt: skip
                part = x[int(image), :, rows, columns].flatten(1)
                made.append(part.max(1).values if part.shape[1] else x.new_zeros(x.shape[1]))
        return torch.stack(made).reshape(len(rois), 2, 3, -1).permute(0, 3, 1, 2)

    return run


def _deform(x, w, offset, mask=True, bias=True, parts=1, **attrs):
    """Offsets keep off whole numbers, where the slope has a step."""
    small, taps = offset, w[2] * w[3]
    places = rng.integers(-2, 2, (x[0], 2 * parts * taps, *small)) + rng.uniform(
        0.2, 0.8, (x[0], 2 * parts * taps, *small))  # fmt: skip
    inputs = [_n(*x), _n(*w), places.astype(np.float32)]
    inputs.append(_n(w[0]) if bias else None)
    if mask:
        inputs.append(rng.uniform(0.2, 1, (x[0], parts * taps, *small)).astype(np.float32))
    attrs = {"kernel_shape": list(w[2:]), "offset_group": parts, **attrs}
    return {"op": "DeformConv", "inputs": inputs, "attrs": attrs, "opset": 19, "eps": 4e-3}


CASES = [
    *({"op": "RoiAlign", "inputs": [_n(2, 3, 8, 9), ROIS, IMAGES], "wrt": [0],
       "attrs": {"output_height": 2, "output_width": 3, **attrs}}
      for attrs in ({}, {"sampling_ratio": 2}, {"spatial_scale": 0.5, "sampling_ratio": 1},
                    {"coordinate_transformation_mode": "output_half_pixel"})),
    *({"op": "MaxRoiPool", "inputs": [_distinct(2, 3, 8, 9), WHOLE], "wrt": [0],
       "attrs": {"pooled_shape": [2, 3], "spatial_scale": scale}, "torch": _max_bins(scale)}
      for scale in (1.0, 0.5)),
    _deform((2, 3, 6, 7), (4, 3, 3, 3), (6, 7), pads=[1, 1, 1, 1]),
    _deform((1, 4, 7, 8), (4, 2, 3, 2), (3, 7), bias=False, parts=2, group=2, strides=[2, 1]),
    _deform((2, 2, 7, 7), (3, 2, 2, 2), (6, 6), mask=False, dilations=[3, 2], pads=[1, 0, 1, 1]),
]  # fmt: skip
