"""Cases of normalizations."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _p(*shape):
    return rng.uniform(0.5, 1.5, shape).astype(np.float32)


def _frozen(torch, x, s, b, m, v):
    shape = [1, -1, *[1] * (x.ndim - 2)]
    s, b, m, v = (value.reshape(shape) for value in (s, b, m, v))
    return (x - m) / (v + 1e-5).sqrt() * s + b


def _trained(momentum=0.9):
    """Running statistics pass no gradient, so differences do not apply."""

    def run(torch, x, s, b, m, v):
        axes = [0, *range(2, x.ndim)]
        y = torch.nn.functional.batch_norm(x, None, None, s, b, training=True, eps=1e-5)
        found = x.detach()
        m = m.detach() * momentum + found.mean(axes) * (1 - momentum)
        v = v.detach() * momentum + found.var(axes, unbiased=False) * (1 - momentum)
        return (y, m.requires_grad_(), v.requires_grad_())

    return run


def _layer(axis):
    def run(torch, x, s, b=None):
        shape = x.shape[axis:]
        b = torch.zeros(shape) if b is None else b.expand(shape)
        return torch.nn.functional.layer_norm(x, shape, s.expand(shape), b, 1e-5)

    return run


def _group(groups):
    def run(torch, x, s, b):
        each = x.shape[1] // s.shape[0]
        s, b = s.repeat_interleave(each), b.repeat_interleave(each)
        return torch.nn.functional.group_norm(x, groups, s, b, 1e-5)

    return run


def _lp(p, axis):
    return lambda torch, x: torch.nn.functional.normalize(x, p, axis)


def _mvn(axes):
    def run(torch, x):
        return (x - x.mean(axes, keepdim=True)) / x.std(axes, keepdim=True, unbiased=False)

    return run


def _lrn(size, alpha, beta, bias):
    def run(torch, x):
        square = x * x
        lo, hi = (size - 1) // 2, size // 2
        sums = [square[:, max(0, c - lo) : c + hi + 1].sum(1) for c in range(x.shape[1])]
        return x / (bias + alpha / size * torch.stack(sums, 1)) ** beta

    return run


def _batch(*shape):
    c = shape[1]
    return [_n(*shape), _p(c), _n(c), _n(c), _p(c)]


SHAPES = [(4, 3), (2, 3, 5), (2, 3, 4, 5), (2, 2, 3, 2, 4)]
CASES = [
    *({"op": "BatchNormalization", "inputs": _batch(*s), "torch": _frozen} for s in SHAPES),
    *({"op": "BatchNormalization", "inputs": _batch(*s), "outputs": 3, "wrt": [0, 1, 2],
       "attrs": {"training_mode": 1}, "torch": _trained(), "kink": True} for s in SHAPES),
    {"op": "BatchNormalization", "inputs": [_n(2, 3, 4, 5) + 30.0, *_batch(2, 3)[1:]],
     "wrt": [0, 1, 2], "outputs": 3, "attrs": {"training_mode": 1}, "torch": _trained(),
     "kink": True},
    {"op": "BatchNormalization", "inputs": _batch(2, 3, 4), "wrt": [0, 1, 2], "outputs": 3,
     "attrs": {"training_mode": 1, "momentum": 0.7}, "kink": True, "torch": _trained(0.7)},
    {"op": "LayerNormalization", "inputs": [_n(2, 3, 4), _p(4), _n(4)], "outputs": 3,
     "torch": lambda t, x, w, b: (
         t.nn.functional.layer_norm(x, (4,), w, b), x.mean(-1, keepdim=True),
         1 / (x.var(-1, correction=0, keepdim=True) + 1e-5).sqrt())},
    *({"op": "LayerNormalization", "inputs": [_n(2, 3, 4), _p(*s), *bias], "attrs": attrs,
       "torch": _layer(attrs.get("axis", -1))}
      for s, attrs in [((4,), {}), ((3, 4), {"axis": 1}), ((3, 4), {"axis": -2}),
                       ((2, 3, 4), {"axis": 0})]
      for bias in ([], [_n(*s)])),
    *({"op": "RMSNormalization", "inputs": [_n(2, 3, 4), _p(*s)], "attrs": attrs, "opset": 23,
       "kink": True, "torch": lambda t, x, w: t.nn.functional.rms_norm(x, w.shape, w, 1e-5)}
      for s, attrs in [((4,), {}), ((3, 4), {"axis": 1})]),
    *({"op": "GroupNormalization", "inputs": [_n(2, 6, *rest), _p(s), _n(s)], "opset": opset,
       "attrs": {"num_groups": 3}, "kink": opset > 18, "torch": _group(3)}
      for rest in [(5,), (3, 4)] for opset, s in [(18, 3), (21, 6)]),
    *({"op": "InstanceNormalization", "inputs": [_n(2, 3, *rest), _p(3), _n(3)],
       "torch": lambda t, x, s, b: t.nn.functional.instance_norm(x, weight=s, bias=b)}
      for rest in [(5,), (3, 4), (2, 3, 2)]),
    *({"op": "LpNormalization", "inputs": [_n(3, 4, 2)], "attrs": {"p": p, "axis": axis},
       "torch": _lp(p, axis)} for p in (1, 2) for axis in (-1, 0, 1)),
    {"op": "LpNormalization", "inputs": [np.zeros((2, 3), np.float32)], "kink": True},
    {"op": "MeanVarianceNormalization", "inputs": [_n(2, 3, 4, 2)], "torch": _mvn([0, 2, 3])},
    {"op": "MeanVarianceNormalization", "inputs": [_n(2, 3, 4, 2)], "attrs": {"axes": [1]},
     "torch": _mvn([1])},
    *({"op": "LRN", "inputs": [_n(2, 6, 3, 2)],
       "attrs": {"size": size, "alpha": 0.3, "beta": 0.6, "bias": 1.2},
       "torch": _lrn(size, 0.3, 0.6, 1.2)} for size in (1, 3, 5, 9)),
]  # fmt: skip
