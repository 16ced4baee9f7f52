"""Cases of the matrix products."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _gemm(attrs):
    def run(torch, a, b, c=None):
        a = a.T if attrs.get("transA") else a
        b = b.T if attrs.get("transB") else b
        y = attrs.get("alpha", 1.0) * (a @ b)
        return y if c is None else y + attrs.get("beta", 1.0) * c

    return run


CASES = [
    *({"op": "MatMul", "inputs": [_n(*a), _n(*b)], "torch": "matmul"} for a, b in [
        ((3, 4), (4, 2)), ((2, 3, 4), (4, 2)), ((2, 3, 4), (2, 4, 2)), ((2, 3, 4), (1, 4, 2)),
        ((5, 1, 3, 4), (2, 4, 2)), ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)), ((2, 3, 4), (4,)),
        ((4,), (2, 4, 3)), ((0, 4), (4, 2)),
    ]),
    *({"op": "Gemm",
       "inputs": [_n(*((4, 3) if attrs.get("transA") else (3, 4))),
                  _n(*((2, 4) if attrs.get("transB") else (4, 2))), *bias],
       "attrs": attrs, "torch": _gemm(attrs)}
      for attrs in [{}, {"transA": 1}, {"transB": 1}, {"transA": 1, "transB": 1},
                    {"alpha": 0.5, "beta": 2.0}]
      for bias in ([], [_n(2)], [_n(3, 2)], [_n(1)])),
    *({"op": "Det", "inputs": [x], "torch": lambda t, x: t.linalg.det(x)}
      for x in (_n(1, 1), _n(2, 2), _n(3, 2, 4, 4), _n(0, 3, 3))),
    # PyTorch has no gradient of singular matrices
    {"op": "Det", "inputs": [np.outer(_n(3), _n(3)).astype(np.float32)]},
]  # fmt: skip
