"""Cases of the recurrent operators."""

import numpy as np

rng = np.random.default_rng(0)
STEPS, BATCH, FEATURES, UNITS = 5, 3, 2, 4
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _n(*shape):
    return (rng.standard_normal(shape) * 0.6).astype(np.float32)


# ONNX's order of gates, as places in PyTorch's.
ORDER = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}


def _cell(torch, op, act, lbr, x, h, c, w, r, b):
    """One step, written out; PyTorch differentiates it."""
    n = h.shape[-1]
    f, g, *rest = act
    bw, br = b[: b.shape[0] // 2], b[b.shape[0] // 2 :]
    if op == "RNN":
        return f(x @ w.T + h @ r.T + bw + br), c
    if op == "LSTM":
        i, o, ft, cell = (x @ w.T + h @ r.T + bw + br).split(n, -1)
        c = f(ft) * c + f(i) * g(cell)
        return f(o) * rest[0](c), c
    xz, xr, xh = (x @ w.T + bw).split(n, -1)
    hz, hr, hh = (h @ r.T + br).split(n, -1)
    z, reset = f(xz + hz), f(xr + hr)
    before = (reset * h) @ r[2 * n :].T + br[2 * n :]
    new = g(xh + (reset * hh if lbr else before))
    return (1 - z) * new + z * h, c


def _acts(torch, op, names):
    known = {
        "Sigmoid": torch.sigmoid, "Tanh": torch.tanh, "Relu": torch.relu,
        "HardSigmoid": lambda x: torch.clamp(x / 6 + 0.5, 0, 1),
        "Softsign": torch.nn.functional.softsign, "Elu": torch.nn.functional.elu,
        "LeakyRelu": lambda x: torch.nn.functional.leaky_relu(x, 0.1),
        "Softplus": torch.nn.functional.softplus, "Affine": lambda x: 0.8 * x + 0.1,
        "ScaledTanh": lambda x: 1.5 * torch.tanh(0.5 * x),
    }  # fmt: skip
    defaults = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
    found = [known[name] for name in (names or defaults[op])]
    return found if op != "RNN" else [found[0], None]


def _torch(op, attrs, outputs):
    def run(torch, x, w, r, b=None, lens=None, h0=None, c0=None):
        steps, batch, _ = x.shape
        way = attrs.get("direction", "forward")
        ways = {"forward": [0], "reverse": [1], "bidirectional": [0, 1]}[way]
        n = r.shape[-1]
        zero = torch.zeros(batch, n)
        ys, hs, cs = [], [], []
        names = attrs.get("activations")
        for d, reverse in enumerate(ways):
            each = len(names) // len(ways) if names else 0
            act = _acts(torch, op, names[d * each : (d + 1) * each] if names else None)
            h = h0[d] if h0 is not None else zero
            c = c0[d] if c0 is not None else zero
            bias = b[d] if b is not None else torch.zeros(2 * w.shape[1])
            made = [None] * steps
            for t in reversed(range(steps)) if reverse else range(steps):
                h2, c2 = _cell(torch, op, act, attrs.get("linear_before_reset"), x[t], h, c,
                               w[d], r[d], bias)  # fmt: skip
                on = torch.ones(batch, 1) if lens is None else (t < lens).float()[:, None]
                h, c = torch.where(on > 0, h2, h), torch.where(on > 0, c2, c)
                made[t] = h2 * on
            ys.append(torch.stack(made))
            hs.append(h)
            cs.append(c)
        y, h, c = torch.stack(ys, 1), torch.stack(hs), torch.stack(cs)
        return (y, h, c)[:outputs]

    return run


def case(op, *, bias=True, lens=None, h0=True, c0=True, outputs=None, steps=STEPS,
         batch=BATCH, **attrs):  # fmt: skip
    d = 2 if attrs.get("direction") == "bidirectional" else 1
    g = GATES[op]
    state = (d, batch, UNITS)
    inputs = [
        _n(steps, batch, FEATURES),
        _n(d, g * UNITS, FEATURES), _n(d, g * UNITS, UNITS),
        _n(d, 2 * g * UNITS) if bias else None,
        np.array(lens, np.int32) if lens else None, _n(*state) if h0 else None,
    ]  # fmt: skip
    if op == "LSTM":
        inputs.append(_n(*state) if c0 else None)
    while inputs[-1] is None:
        inputs.pop()
    outputs = outputs or (3 if op == "LSTM" else 2)
    return {
        "op": op, "inputs": inputs, "attrs": {"hidden_size": UNITS, **attrs}, "outputs": outputs,
        "torch": _torch(op, attrs, outputs),
    }  # fmt: skip


CASES = [
    *(case(op, direction=way, **extra)
      for op, more in [("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1}), ("RNN", {})]
      for way in ("forward", "reverse", "bidirectional")
      for extra in ({**more}, {**more, "lens": [5, 2, 3]})),
    *(case(op, **extra) for op in GATES for extra in [
        {"bias": False}, {"h0": False, "c0": False}, {"outputs": 1}, {"steps": 1},
        {"bias": False, "h0": False, "c0": False}, {"lens": [5, 5, 5]}, {"lens": [4, 4, 1]},
    ]),
    case("LSTM", activations=["HardSigmoid", "Softsign", "Elu"], activation_alpha=[1 / 6, 1.0],
         activation_beta=[0.5]),
    case("LSTM", activations=["Sigmoid", "ScaledTanh", "LeakyRelu"], activation_alpha=[1.5, 0.1],
         activation_beta=[0.5]),
    case("LSTM", direction="bidirectional", activations=["Sigmoid", "Tanh", "Tanh",
                                                         "Sigmoid", "Softsign", "Tanh"]),
    case("GRU", activations=["Sigmoid", "Affine"], activation_alpha=[0.8], activation_beta=[0.1]),
    case("GRU", activations=["Sigmoid", "Relu"], linear_before_reset=1) | {"kink": True},
    case("RNN", activations=["Relu"]) | {"kink": True},
    case("RNN", activations=["Softplus"]),
    *(case("RNN", batch=5, **extra) for extra in [
        {}, {"direction": "bidirectional"}, {"bias": False, "activations": ["Softsign"]},
    ]),
    *(case("LSTM", batch=5, **extra) for extra in [
        {}, {"direction": "reverse"}, {"direction": "bidirectional"}, {"bias": False},
        {"h0": False, "c0": False, "outputs": 1}, {"steps": 1}, {"lens": [5, 2, 3, 1, 4]},
    ]),
]  # fmt: skip
