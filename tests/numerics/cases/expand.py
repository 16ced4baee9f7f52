"""Cases of operators that the standard's own definition is the gradient of."""

import numpy as np

rng = np.random.default_rng(0)
X = rng.standard_normal((2, 6, 5)).astype(np.float32)
HEADS = rng.standard_normal((2, 4, 3, 8)).astype(np.float32)
ANGLES = rng.uniform(0, 3, (5, 4)).astype(np.float32)
THETA = rng.standard_normal((2, 2, 3)).astype(np.float32)


def _rotated(torch, x, cos, sin, at):
    c, s = cos[at][:, None], sin[at][:, None]
    first, second = x[..., :4], x[..., 4:]
    return torch.cat([c * first - s * second, s * first + c * second], -1)


CASES = [
    {"op": "CenterCropPad", "inputs": [X, np.array([4, 7])], "attrs": {"axes": [1, 2]},
     "torch": lambda t, x, _: t.nn.functional.pad(x[:, 1:5], (1, 1))},
    {"op": "CenterCropPad", "inputs": [X, np.array([2, 3, 5])],
     "torch": lambda t, x, _: x[:, 1:4]},
    {"op": "RotaryEmbedding",
     "inputs": [HEADS, np.cos(ANGLES), np.sin(ANGLES), np.array([[0, 1, 2], [1, 2, 4]])],
     "opset": 23, "torch": _rotated},
    *({"op": "AffineGrid", "inputs": [THETA, np.array([2, 3, 4, 5])], "opset": 20,
       "attrs": {"align_corners": int(aligned)},
       "torch": (lambda a: lambda t, x, n: t.nn.functional.affine_grid(x, n.tolist(), a))(aligned)}
      for aligned in (False, True)),
]  # fmt: skip
