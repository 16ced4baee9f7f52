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


def _learned(scale, dtype, zero=None, axis=1, x=X, **more):
    """A pair that shares its scale, which is trained: PyTorch has it built in."""
    scale, info = np.asarray(scale, np.float32), np.iinfo(dtype)
    zeros = np.zeros(scale.shape, dtype) if zero is None else zero

    def emitted(x, s):
        q = emit("QuantizeLinear", x, s, zeros, axis=axis)
        return (emit("DequantizeLinear", q, s, zeros, axis=axis),)

    def run(torch, x, s):
        z, ends = torch.tensor(zeros).float(), (int(info.min), int(info.max), 1.0)
        if not s.ndim:
            return torch._fake_quantize_learnable_per_tensor_affine(x, s[None], z[None], *ends)
        return torch._fake_quantize_learnable_per_channel_affine(x, s, z, axis, *ends)

    return {"op": "QuantizeLinear", "inputs": [x, scale], "emit": emitted, "torch": run,
            "kink": True, **more}  # fmt: skip


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
    _learned(0.05, np.int8), _learned(0.04, np.uint8, np.array(100, np.uint8)),
    _learned(_scales(6), np.int8, _zeros(6)), _learned(_scales(4), np.int8, axis=0),
    # where all is cut off, what comes out is smooth in the scale
    _learned(0.05, np.int8, x=X + 20 * np.sign(X), wrt=[1], kink=False, torch=None),
    _learned(_scales(6), np.int8, x=X + 20 * np.sign(X), wrt=[1], kink=False, torch=None),
    # by hand, as some exporters write it
    {"op": "QuantizeLinear", "inputs": [X, _scales(6)], "attrs": {"axis": 1}, "kink": True,
     "emit": lambda x, s: ((emit("Cast", emit("QuantizeLinear", x, s, np.full(6, 9, np.uint8),
                                              axis=1), to=1) - 9.0) * s,),
     "torch": lambda t, x, s: t._fake_quantize_learnable_per_channel_affine(
         x, s, t.full((6,), 9.0), 1, 0, 255, 1.0)},
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
    if not case.get("torch"):
        del case["torch"]


def _dynamic(torch, x):
    held = x.detach()
    scale = (held.max().clamp(min=0) - held.min().clamp(max=0)) / 255
    zero = torch.round(-held.min() / scale).clamp(0, 255)
    q = (torch.round(held / scale) + zero).clamp(0, 255)
    return (q - zero) * scale + x - held
