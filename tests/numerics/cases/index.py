"""Cases of the operators that pick and place by index."""

import numpy as np

rng = np.random.default_rng(0)
X = rng.standard_normal((5, 4, 3)).astype(np.float32)
U = rng.standard_normal((2, 4, 3)).astype(np.float32)
BIG = rng.standard_normal((600, 2)).astype(np.float32)


def _i(*values):
    return np.array(values, np.int64)


def _gather(axis):
    def run(torch, x, i):
        i = torch.where(i < 0, i + x.shape[axis], i)
        flat = x.index_select(axis, i.reshape(-1))
        return flat.reshape(*x.shape[:axis], *i.shape, *x.shape[axis + 1 :])

    return run


def _written(at):
    """Replace the steps `at` of the last axis but one."""
    return lambda torch, x, u, n=None: x.index_copy(2, torch.tensor(at), u)


FEW = np.abs(X[:, :2]) + 0.5
FEW[0, 0], FEW[1, :, 1], FEW[2] = 0, 0, 0  # none, one and two zeros that meet in a place
TWICE = np.zeros((5, 2, 3), np.int64) + np.arange(5)[:, None, None] % 4
ELEMENTS = rng.integers(0, 4, (5, 2, 3))
CASES = [
    {"op": "Gather", "inputs": [X, _i(0, 2, 2, -1)], "torch": _gather(0)},
    {"op": "Gather", "inputs": [X, np.array([[0, 1], [3, 3]])], "attrs": {"axis": 1},
     "torch": _gather(1)},
    {"op": "Gather", "inputs": [X, np.array(2)], "attrs": {"axis": -1}, "torch": _gather(2)},
    {"op": "Gather", "inputs": [BIG, _i(599, 3, 3, -1)], "torch": _gather(0)},
    {"op": "GatherElements", "inputs": [X, ELEMENTS], "attrs": {"axis": 1},
     "torch": lambda t, x, i: t.gather(x, 1, i)},
    {"op": "GatherND", "inputs": [X, np.array([[0, 1], [4, 3], [0, 1]])],
     "torch": lambda t, x, i: x[i[:, 0], i[:, 1]]},
    {"op": "GatherND", "inputs": [X, rng.integers(0, 4, (5, 2, 1))], "attrs": {"batch_dims": 1},
     "torch": lambda t, x, i: t.stack([x[n][i[n, :, 0]] for n in range(5)])},
    *({"op": "ScatterElements", "inputs": [X, np.array([[[0] * 3] * 4, [[3] * 3] * 4]), U],
       "attrs": {"axis": 0, "reduction": r},
       "torch": (lambda t, x, i, u: t.scatter(x, 0, i, u)) if r == "none" else
                (lambda t, x, i, u: t.scatter_add(x, 0, i, u))} for r in ("none", "add")),
    *({"op": "ScatterND", "inputs": [X, np.array([[1], [4]]), U], "attrs": {"reduction": r},
       "torch": (lambda t, x, i, u: x.index_copy(0, i[:, 0], u)) if r == "none" else
                (lambda t, x, i, u: x.index_add(0, i[:, 0], u))} for r in ("none", "add")),
    {"op": "TopK", "inputs": [X, _i(2)], "attrs": {"axis": 1}, "outputs": 2,
     "torch": lambda t, x, k: t.topk(x, 2, dim=1).values},
    {"op": "ReverseSequence", "inputs": [X, _i(1, 4, 2, 3)],
     "torch": lambda t, x, n: t.stack(
         [t.cat([x[:k, b].flip(0), x[k:, b]]) for b, k in enumerate((1, 4, 2, 3))], 1)},
    *({"op": "ScatterElements", "inputs": [x, ELEMENTS, u],
       "attrs": {"axis": 1, "reduction": r},
       "kink": kink, "torch": (lambda how: lambda t, x, i, u: x.scatter_reduce(1, i, u, how))(
           f"a{r}")}
      for r in ("max", "min") for x, u, kink in (
          (X, U[:1, :2].repeat(5, 0) + np.arange(5, dtype=np.float32)[:, None, None] / 9, False),
          (np.round(X), np.round(X[:, :2]), True))),
    *({"op": "ScatterND", "inputs": [X, np.array([[1], [4], [1]]), np.concatenate([U, -U[:1]])],
       "attrs": {"reduction": r},
       "torch": (lambda how: lambda t, x, i, u: x.scatter_reduce(
           0, i[:, :, None].expand_as(u), u, how))(f"a{r}")}
      for r in ("max", "min")),
    *({"op": "ScatterElements", "inputs": [X, i, FEW], "attrs": {"axis": 1, "reduction": "mul"},
       "kink": kink, "torch": lambda t, x, i, u: x.scatter_reduce(1, i, u, "prod")}
      for i, kink in ((ELEMENTS, False), (TWICE, True))),
    {"op": "ScatterND", "inputs": [X, np.array([[1], [4], [1]]), np.concatenate([U, -U[:1]])],
     "attrs": {"reduction": "mul"},
     "torch": lambda t, x, i, u: x.scatter_reduce(
         0, i[:, :, None].expand_as(u), u, "prod")},
    *({"op": "TensorScatter", "inputs": [X.transpose(1, 0, 2)[None], U.transpose(1, 0, 2)[None],
                                         *start], "opset": 24, "attrs": {"mode": mode},
       "torch": _written(at)}
      for mode, start, at in (("linear", [], (0, 1)), ("linear", [_i(3)], (3, 4)),
                              ("circular", [_i(4)], (4, 0)))),
    {"op": "TensorScatter", "inputs": [X, X[:, :2], _i(0, 1, 2, 1, 0)], "opset": 24,
     "attrs": {"axis": 1}},
]  # fmt: skip
