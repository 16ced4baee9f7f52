"""Cases of the reductions."""

import numpy as np

rng = np.random.default_rng(0)
X = rng.standard_normal((2, 3, 4)).astype(np.float32)


def _with(name):
    def run(torch, x, axes=None):
        return getattr(torch, name)(x) if axes is None else getattr(x, name)(tuple(axes.tolist()))

    return run


def _kept(name):
    def run(torch, x, axes=None):
        dims = tuple(range(x.ndim)) if axes is None else tuple(axes.tolist())
        return getattr(x, name)(dims, keepdim=True)

    return run


def _by(fn, keep):
    return lambda torch, x, axes: fn(torch, x, tuple(axes.tolist()), bool(keep))


P = np.abs(X) + 0.1
AXES = [[0], [-1], [0, 2], [1, -1]]
CASES = [
    {"op": f"Reduce{op}", "inputs": [X, *axes], "attrs": {"keepdims": keep},
     "torch": _kept(name) if keep else _with(name)}
    for op, name in [("Sum", "sum"), ("Mean", "mean")]
    for axes in ([], *([np.array(a, np.int64)] for a in AXES))
    for keep in (0, 1)
] + [
    {"op": f"Reduce{op}", "inputs": [P if op == "LogSum" else X, np.array(axes, np.int64)],
     "attrs": {"keepdims": keep}, "torch": _by(fn, keep)}
    for op, fn in [
        ("Max", lambda t, x, d, k: x.amax(d, k)),
        ("Min", lambda t, x, d, k: x.amin(d, k)),
        ("L1", lambda t, x, d, k: x.abs().sum(d, k)),
        ("L2", lambda t, x, d, k: (x * x).sum(d, k).sqrt()),
        ("LogSum", lambda t, x, d, k: x.sum(d, k).log()),
        ("LogSumExp", lambda t, x, d, k: x.logsumexp(d, k)),
        ("SumSquare", lambda t, x, d, k: (x * x).sum(d, k)),
    ]
    for axes in AXES
    for keep in (0, 1)
] + [
    {"op": "ReduceMax", "inputs": [np.float32([[1, 1, 0]]), np.array([1], np.int64)],
     "kink": True, "torch": lambda t, x, a: x.amax(1, True)},
    {"op": "ReduceProd", "inputs": [X, np.array([1], np.int64)],
     "torch": lambda t, x, a: x.prod(1, True)},
    {"op": "ReduceProd", "inputs": [np.float32([[1, 0, 3], [0, 0, 2]]), np.array([-1], np.int64)],
     "attrs": {"keepdims": 0}, "torch": lambda t, x, a: x.prod(-1)},
    {"op": "ReduceProd", "inputs": [X[0]], "attrs": {"keepdims": 0},
     "torch": lambda t, x: x.prod()},
    {"op": "CumSum", "inputs": [X, np.array(1, np.int64)], "torch": lambda t, x, a: x.cumsum(1)},
    {"op": "CumSum", "inputs": [X, np.array(-1, np.int64)], "attrs": {"reverse": 1},
     "torch": lambda t, x, a: x.flip(-1).cumsum(-1).flip(-1)},
    {"op": "CumSum", "inputs": [X, np.array(0, np.int64)], "attrs": {"exclusive": 1},
     "torch": lambda t, x, a: x.cumsum(0) - x},
    *({"op": "CumProd", "inputs": [x, np.array(axis, np.int64)], "opset": 26,
       "attrs": {"exclusive": exclusive, "reverse": back},
       **({} if exclusive or back else {"torch": lambda t, x, n: t.cumprod(x, int(n))})}
      for exclusive in (0, 1) for back in (0, 1)
      for x, axis in ((X, 1), (X, -1), (np.float32([2, 0, 3, 0]), 0))),
]  # fmt: skip
