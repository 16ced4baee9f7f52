"""Cases of the operators that move values about."""

import numpy as np

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)


BIG = np.random.default_rng(1).standard_normal((4, 7)).astype(np.float32)
D2S = np.random.default_rng(2).standard_normal((1, 8, 2, 3)).astype(np.float32)


def _padded(pads, mode):
    def run(torch, x, p):
        if mode == "constant":
            return torch.nn.functional.pad(x, (pads[1], pads[3], pads[0], pads[2]))
        kind = {"edge": "replicate"}.get(mode, mode)
        grown = torch.nn.functional.pad(x[None], (pads[1], pads[3]), mode=kind)[0]
        return torch.nn.functional.pad(grown.T[None], (pads[0], pads[2]), mode=kind)[0].T

    return run


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
    {"op": "Expand", "inputs": [X[:, :1], _ints(2, 2, 5, 4)],
     "torch": lambda t, x, s: x.expand(2, 2, 5, 4)},
    {"op": "Concat", "inputs": [X, X[:, :2] * 2, X], "attrs": {"axis": -2},
     "torch": lambda t, a, b, c: t.cat([a, b, c], 1)},
    {"op": "Concat", "inputs": [X], "attrs": {"axis": 0}, "torch": "clone"},
    {"op": "Split", "inputs": [X, _ints(1, 3)], "attrs": {"axis": -1}, "outputs": 2,
     "torch": lambda t, x, s: tuple(x.split([1, 3], -1))},
    *({"op": "Slice", "inputs": [BIG, *arguments], "torch": fn} for arguments, fn in [
        ([_ints(1), _ints(3)], lambda t, x, *_: x[1:3]),
        ([_ints(1, -3), _ints(9, -1), _ints(0, 1)], lambda t, x, *_: x[1:9, -3:-1]),
        ([_ints(0), _ints(7), _ints(1), _ints(2)], lambda t, x, *_: x[:, 0:7:2]),
        ([_ints(1), _ints(6), _ints(1), _ints(3)], lambda t, x, *_: x[:, 1:6:3]),
        ([_ints(-1), _ints(np.iinfo(np.int64).min), _ints(1), _ints(-1)],
         lambda t, x, *_: x.flip(1)),
        ([_ints(6), _ints(0), _ints(1), _ints(-2)], lambda t, x, *_: x[:, [6, 4, 2]]),
        ([_ints(3), _ints(3)], lambda t, x, *_: x[3:3]),
    ]),
    *({"op": "Pad", "inputs": [BIG, _ints(*pads)], "attrs": {"mode": mode},
       "torch": _padded(pads, mode)}
      for mode, pads in [("constant", (1, 2, 0, 3)), ("constant", (-1, 2, 0, -3)),
                         ("reflect", (1, 2, 0, 3)), ("edge", (2, 1, 1, 0))]),
    {"op": "Pad", "inputs": [BIG, _ints(1, 2), None, _ints(-1)],
     "torch": lambda t, x, *_: t.nn.functional.pad(x, (1, 2))},
    {"op": "Pad", "inputs": [BIG, _ints(0, 2, 0, 1)], "attrs": {"mode": "wrap"}, "opset": 19,
     "torch": lambda t, x, *_: t.nn.functional.pad(x[None], (2, 1), mode="circular")[0]},
    {"op": "Tile", "inputs": [X, _ints(2, 1, 3)], "torch": lambda t, x, r: x.repeat(2, 1, 3)},
    {"op": "DepthToSpace", "inputs": [D2S], "attrs": {"blocksize": 2, "mode": "CRD"},
     "torch": lambda t, x: t.nn.functional.pixel_shuffle(x, 2)},
    {"op": "DepthToSpace", "inputs": [D2S], "attrs": {"blocksize": 2},
     "torch": lambda t, x: x.reshape(1, 2, 2, 2, 2, 3).permute(0, 3, 4, 1, 5, 2).reshape(
         1, 2, 4, 6)},
    {"op": "SpaceToDepth", "inputs": [D2S], "attrs": {"blocksize": 1}, "torch": "clone"},
    {"op": "Trilu", "inputs": [X, np.array(1)], "torch": lambda t, x, k: x.triu(1)},
    {"op": "Trilu", "inputs": [X], "attrs": {"upper": 0}, "torch": "tril"},
]  # fmt: skip
