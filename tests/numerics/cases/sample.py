"""Cases of sampling at computed places."""

import numpy as np

rng = np.random.default_rng(0)
_TORCH = {"linear": "bilinear", "cubic": "bicubic"}


def _grid(*shape, reach=1.0, size=5):
    """Places off the middles and the edges of pixels, where the gradient has a step."""
    cell = rng.integers(-1 if reach > 1 else 1, size + (reach > 1) - 1, shape)
    pixel = cell + rng.uniform(0.1, 0.4, shape)
    return ((2 * pixel + 1) / size - 1).astype(np.float32)


def _sample(mode, padding, aligned, x, grid, opset=20, oracle=True):
    attrs = {"mode": mode, "padding_mode": padding, "align_corners": int(aligned)}
    case = {"op": "GridSample", "inputs": [x, grid], "attrs": attrs, "opset": opset,
            "eps": 4e-3 if mode.endswith("cubic") else 1e-3}  # fmt: skip
    if oracle:
        case["torch"] = lambda t, x, grid: t.nn.functional.grid_sample(
            x, grid, _TORCH.get(mode, mode), padding, aligned)  # fmt: skip
    return case


X = rng.standard_normal((2, 3, 5, 5)).astype(np.float32)
CASES = [
    *(_sample(mode, padding, aligned, X, _grid(2, 3, 4, 2, reach=reach))
      for mode in ("linear", "nearest") for padding in ("zeros", "border", "reflection")
      for aligned in (False, True) for reach in (1.0, 2.0)),
    *(_sample("cubic", padding, aligned, X, _grid(2, 3, 4, 2, reach=2.0))
      for padding in ("zeros", "border", "reflection") for aligned in (False, True)),
    _sample("bilinear", "zeros", False, X, _grid(2, 3, 4, 2), opset=18),
    _sample("bicubic", "zeros", False, X, _grid(2, 3, 4, 2), opset=18),
    _sample("linear", "border", False, X[:, :, :, None], _grid(2, 3, 4, 2, 3)),
]  # fmt: skip
