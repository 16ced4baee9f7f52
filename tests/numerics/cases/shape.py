"""Cases of the operators that move values about."""

import numpy as np

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


def _ints(*values):
    return np.array(values, np.int64)


CASES = [
    {"op": "Reshape", "inputs": [X, _ints(4, -1)], "torch": lambda t, x, s: x.reshape(4, -1)},
    {"op": "Reshape", "inputs": [X, _ints(0, -1)], "torch": lambda t, x, s: x.reshape(2, -1)},
    {"op": "Flatten", "inputs": [X], "attrs": {"axis": 2},
     "torch": lambda t, x: x.reshape(6, 4)},
    {"op": "Squeeze", "inputs": [X[:, :1], _ints(1)], "torch": lambda t, x, a: x.squeeze(1)},
    {"op": "Unsqueeze", "inputs": [X, _ints(0, -1)],
     "torch": lambda t, x, a: x.unsqueeze(0).unsqueeze(-1)},
    {"op": "Transpose", "inputs": [X], "torch": lambda t, x: x.permute(2, 1, 0)},
    {"op": "Transpose", "inputs": [X], "attrs": {"perm": [1, 2, 0]},
     "torch": lambda t, x: x.permute(1, 2, 0)},
]  # fmt: skip
