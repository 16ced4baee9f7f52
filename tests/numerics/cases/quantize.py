"""Cases of quantization: straight through inside the range, nothing outside."""

import numpy as np

from edgeml.graph import emit

rng = np.random.default_rng(0)
X = rng.uniform(-8, 8, (4, 6)).astype(np.float32)


def _pair(scale, zero, attrs):
    def then(q):
        return (emit("DequantizeLinear", q, scale, zero, **attrs),)

    return then


def _axes(value, axis, block):
    if value.ndim == 0:
        return value
    if block:
        return value.repeat_interleave(block, axis)
    return value.reshape([-1 if i == axis % 2 else 1 for i in range(2)])


def _fake(attrs, low, high):
    """PyTorch's straight-through estimator, written with detach."""

    def run(torch, x, s, z=None):
        axis, block = attrs.get("axis", 1), attrs.get("block_size", 0)
        s = _axes(s.detach(), axis, block)
        z = torch.tensor(0.0) if z is None else _axes(z.float(), axis, block)
        q = torch.clamp(torch.round(x / s) + z, low, high)
        inside = (x >= s * (low - 0.5 - z)) & (x <= s * (high + 0.5 - z))
        through = torch.where(inside, x, x.detach())
        return ((q - z) * s).detach() + through - through.detach()

    return run


def _case(scale, zero=None, *, opset=18, **attrs):
    scale = np.asarray(scale, np.float32)
    info = np.iinfo(zero.dtype if zero is not None else np.uint8)
    return {
        "op": "QuantizeLinear", "inputs": [X, scale, *([] if zero is None else [zero])],
        "attrs": attrs, "opset": opset, "wrt": [0], "kink": True,
        "then": _pair(scale, zero, attrs), "torch": _fake(attrs, info.min, info.max),
    }  # fmt: skip


def _dequantize(attrs):
    def run(torch, q, s, z=None):
        axis = attrs.get("axis", 1)
        block = attrs.get("block_size", 0)
        z = torch.tensor(0.0) if z is None else _axes(z.float(), axis, block)
        return (q.float() - z) * _axes(s, axis, block)

    return run


def _ints(*shape, dtype=np.int8):
    return rng.integers(0, 100, shape).astype(dtype)


def _zeros(*shape, dtype=np.int8):
    return rng.integers(0, 20, shape).astype(dtype)


def _scales(*shape):
    return rng.uniform(0.02, 0.06, shape).astype(np.float32)


CASES = [
    _case(0.05), _case(0.04, np.array(5, np.int8)), _case(0.04, np.array(128, np.uint8)),
    _case(0.001, np.array(7, np.int16), opset=21),
    _case(_scales(6), _zeros(6)), _case(_scales(4), _zeros(4), axis=0),
    _case(_scales(6), _zeros(6), axis=-1),
    _case(_scales(4, 3), _zeros(4, 3), axis=1, block_size=2, opset=21),
    _case(_scales(2, 6), _zeros(2, 6), axis=0, block_size=2, opset=21),
    *({"op": "DequantizeLinear", "inputs": [_ints(4, 6), scale, *zero], "attrs": attrs,
       "torch": _dequantize(attrs), "opset": 21 if "block_size" in attrs else 18,
       "kink": "block_size" in attrs}
      for scale, zero, attrs in [
          (np.array(0.1, np.float32), [], {}), (np.array(0.1, np.float32), [_zeros()[()]], {}),
          (_scales(6), [_zeros(6)], {}), (_scales(4), [_zeros(4)], {"axis": 0}),
          (_scales(4, 3), [_zeros(4, 3)], {"block_size": 2}),
      ]),
    {"op": "DynamicQuantizeLinear", "inputs": [X], "outputs": 3, "kink": True,
     "then": lambda q, s, z: (emit("DequantizeLinear", q, s, z),),
     "torch": lambda t, x: _dynamic(t, x)},
]  # fmt: skip
for case in CASES:
    case["inputs"] = [np.asarray(a) for a in case["inputs"]]


def _dynamic(torch, x):
    held = x.detach()
    scale = (held.max().clamp(min=0) - held.min().clamp(max=0)) / 255
    zero = torch.round(-held.min() / scale).clamp(0, 255)
    q = (torch.round(held / scale) + zero).clamp(0, 255)
    return (q - zero) * scale + x - held
