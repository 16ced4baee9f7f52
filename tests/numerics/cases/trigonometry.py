"""Cases of the trigonometric and hyperbolic functions."""

import numpy as np

X = np.random.default_rng(0).uniform(-0.8, 0.8, (3, 4)).astype(np.float32)

CASES = [
    *({"op": op, "inputs": [X], "torch": op.lower()} for op in
      ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Atanh")),
    {"op": "Acosh", "inputs": [X + 2.5], "torch": "acosh"},
]  # fmt: skip
