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
    {"op": "Reciprocal", "inputs": [P], "torch": "reciprocal"},
    *({"op": "Pow", "inputs": [P, e], "torch": "pow", "wrt": [0]} for e in
      (np.float32(2), np.float32(3.5), np.float32(-1), np.float32(1))),
    {"op": "Pow", "inputs": [P, ROW], "torch": "pow"},
    {"op": "Erf", "inputs": [X], "torch": "erf"},
    {"op": "LeakyRelu", "inputs": [X], "attrs": {"alpha": 0.1},
     "torch": lambda t, x: t.nn.functional.leaky_relu(x, 0.1)},
    {"op": "PRelu", "inputs": [X, ROW], "torch": lambda t, x, a: t.where(x > 0, x, a * x)},
    {"op": "ThresholdedRelu", "inputs": [X], "attrs": {"alpha": 0.5},
     "torch": lambda t, x: t.nn.functional.threshold(x, 0.5, 0.0)},
    *({"op": op, "inputs": [X], "attrs": attrs, "torch": fn} for op, attrs, fn in [
        ("Elu", {"alpha": 1.5}, lambda t, x: t.nn.functional.elu(x, 1.5)),
        ("Selu", {}, "selu"),
        ("Celu", {"alpha": 2.0}, lambda t, x: t.nn.functional.celu(x, 2.0)),
        ("HardSigmoid", {}, lambda t, x: (0.2 * x + 0.5).clamp(0, 1)),
        ("HardSwish", {}, lambda t, x: t.nn.functional.hardswish(x)),
        ("Softplus", {}, lambda t, x: t.nn.functional.softplus(x)),
        ("Softsign", {}, lambda t, x: t.nn.functional.softsign(x)),
        ("Mish", {}, lambda t, x: t.nn.functional.mish(x)),
        ("Shrink", {"lambd": 0.6, "bias": 0.6}, lambda t, x: t.nn.functional.softshrink(x, 0.6)),
    ]),
    *({"op": "Gelu", "inputs": [X], "attrs": {"approximate": kind}, "opset": 20,
       "torch": (lambda k: lambda t, x: t.nn.functional.gelu(x, approximate=k))(kind)}
      for kind in ("none", "tanh")),
    *({"op": "Swish", "inputs": [X], "attrs": {"alpha": a}, "opset": 24,
       "torch": (lambda k: lambda t, x: x * t.sigmoid(k * x))(a)} for a in (1.0, 1.5)),
    {"op": "Clip", "inputs": [X, np.float32(-0.5), np.float32(1)], "wrt": [0],
     "torch": lambda t, x, a, b: x.clamp(-0.5, 1)},
    {"op": "Clip", "inputs": [X, None, np.float32(0.5)], "wrt": [0],
     "torch": lambda t, x, a, b: x.clamp(max=0.5)},
    {"op": "Clip", "inputs": [np.float32([-1, 0, 1]), np.float32(0), np.float32(1)], "wrt": [0],
     "kink": True, "torch": lambda t, x, a, b: x.clamp(0, 1)},
    *({"op": op, "inputs": [X, P - 0.3], "torch": torch}
      for op, torch in [("Max", "maximum"), ("Min", "minimum")]),
    {"op": "Max", "inputs": [X, ROW, X * 0.5 + 0.1],
     "torch": lambda t, a, b, c: t.maximum(t.maximum(a, b), c)},
    {"op": "Max", "inputs": [np.float32([1, 2]), np.float32([1, 0])], "kink": True,
     "torch": "maximum"},
    {"op": "Max", "inputs": [X], "torch": "clone"},
    {"op": "Sum", "inputs": [X, ROW, P], "torch": lambda t, a, b, c: a + b + c},
    {"op": "Mean", "inputs": [X, ROW, P], "torch": lambda t, a, b, c: (a + b + c) / 3},
    {"op": "Mod", "inputs": [np.float32([1.3, -2.4, 3.6]), np.float32([1, 1.1, 0.8])],
     "attrs": {"fmod": 1}, "torch": "fmod"},
    {"op": "CastLike", "inputs": [X, ROW], "torch": lambda t, a, b: a.clone()},
    {"op": "Dropout", "inputs": [X], "torch": "clone"},
    {"op": "Cast", "inputs": [X], "attrs": {"to": 1}, "torch": "clone"},
]  # fmt: skip
