"""Cases of the elementwise rules."""

import numpy as np

rng = np.random.default_rng(0)
X = (rng.uniform(0.2, 2.0, (3, 4)) * rng.choice([-1, 1], (3, 4))).astype(np.float32)
P = np.abs(X)
ROW = rng.uniform(0.5, 1.5, (4,)).astype(np.float32)

CASES = [
    *({"op": op, "inputs": [X], "torch": torch} for op, torch in [
        ("Neg", "neg"), ("Relu", "relu"), ("Sigmoid", "sigmoid"), ("Tanh", "tanh"),
        ("Exp", "exp"), ("Abs", "abs"),
    ]),
    {"op": "Identity", "inputs": [X], "torch": "clone"},
    {"op": "Log", "inputs": [P], "torch": "log"},
    {"op": "Sqrt", "inputs": [P], "torch": "sqrt"},
    *({"op": op, "inputs": inputs, "torch": torch}
      for op, torch in [("Add", "add"), ("Sub", "sub"), ("Mul", "mul"), ("Div", "div")]
      for inputs in ([X, P], [X, ROW], [ROW, P], [P, P[:1, :1]], [P[:0], P[:0]])),
    {"op": "Where", "inputs": [X > 0, X, ROW], "torch": "where"},
    {"op": "Cast", "inputs": [X], "attrs": {"to": 1}, "torch": "clone"},
]  # fmt: skip
