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


AXES = [[0], [-1], [0, 2], [1, -1]]
CASES = [
    {"op": f"Reduce{op}", "inputs": [X, *axes], "attrs": {"keepdims": keep},
     "torch": _kept(name) if keep else _with(name)}
    for op, name in [("Sum", "sum"), ("Mean", "mean")]
    for axes in ([], *([np.array(a, np.int64)] for a in AXES))
    for keep in (0, 1)
]  # fmt: skip
