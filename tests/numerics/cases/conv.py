"""Cases of the convolutions."""

import numpy as np

rng = np.random.default_rng(0)


def _n(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def _padded(torch, x, pads):
    """Pad zeros as ONNX says: all starts, then all ends."""
    rank = len(pads) // 2
    pairs = [p for i in reversed(range(rank)) for p in (pads[i], pads[i + rank])]
    return torch.nn.functional.pad(x, pairs)


def _same(x, k, attrs):
    """Pads of auto_pad, written out."""
    rank = len(k)
    strides, dilations = attrs.get("strides", [1] * rank), attrs.get("dilations", [1] * rank)
    totals = [
        max((-(-n // s) - 1) * s + d * (m - 1) + 1 - n, 0)
        for n, m, s, d in zip(x, k, strides, dilations, strict=True)
    ]
    if attrs["auto_pad"] == "VALID":
        return [0] * 2 * rank
    if attrs["auto_pad"] == "SAME_UPPER":
        return [n // 2 for n in totals] + [n - n // 2 for n in totals]
    return [n - n // 2 for n in totals] + [n // 2 for n in totals]


def _conv(attrs):
    def run(torch, x, w, b=None):
        rank = x.ndim - 2
        fn = getattr(torch.nn.functional, f"conv{rank}d")
        if attrs.get("auto_pad", "NOTSET") != "NOTSET":
            pads = _same(x.shape[2:], w.shape[2:], attrs)
        else:
            pads = attrs.get("pads", [0] * 2 * rank)
        return fn(_padded(torch, x, pads), w, b, stride=tuple(attrs.get("strides", [1] * rank)),
                  dilation=tuple(attrs.get("dilations", [1] * rank)),
                  groups=attrs.get("group", 1))  # fmt: skip

    return run


def _conv_case(x, w, bias=True, **attrs):
    inputs = [_n(*x), _n(*w), *([_n(w[0])] if bias else [])]
    return {"op": "Conv", "inputs": inputs, "attrs": attrs, "torch": _conv(attrs)}


def _large_case(x, w, bias=True, **attrs):
    """Long sums: smaller numbers, and a step that is not lost in them (it is linear)."""
    case = _conv_case(x, w, bias, **attrs)
    return {**case, "inputs": [0.25 * a for a in case["inputs"]], "eps": 1.0}


def _transposed(attrs):
    def run(torch, x, w, b=None):
        rank = x.ndim - 2
        fn = getattr(torch.nn.functional, f"conv_transpose{rank}d")
        strides = attrs.get("strides", [1] * rank)
        dilations = attrs.get("dilations", [1] * rank)
        extra = attrs.get("output_padding", [0] * rank)
        pads = attrs.get("pads", [0] * 2 * rank)
        # What goes beyond the last window is the bias alone.
        full = fn(x, w, None, stride=tuple(strides), dilation=tuple(dilations),
                  groups=attrs.get("group", 1))  # fmt: skip
        sizes = full.shape[2:]
        if "output_shape" in attrs or attrs.get("auto_pad", "NOTSET").startswith("SAME"):
            out = attrs.get("output_shape") or [
                n * s for n, s in zip(x.shape[2:], strides, strict=True)
            ]
            totals = [n + e - o for n, e, o in zip(sizes, extra, out, strict=True)]
            small, large = [n // 2 for n in totals], [n - n // 2 for n in totals]
            upper = attrs.get("auto_pad") == "SAME_UPPER"
            pads = small + large if upper else large + small
        full = _padded(torch, full, [0] * rank + list(extra))
        for i in range(rank):
            full = full.narrow(i + 2, pads[i], full.shape[i + 2] - pads[i] - pads[i + rank])
        return full if b is None else full + b.reshape(1, -1, *[1] * rank)

    return run


def _transposed_case(x, w, bias=True, **attrs):
    filters = w[1] * attrs.get("group", 1)
    inputs = [_n(*x), _n(*w), *([_n(filters)] if bias else [])]
    return {"op": "ConvTranspose", "inputs": inputs, "attrs": attrs, "torch": _transposed(attrs)}


CASES = [
    # one axis
    _conv_case((2, 3, 9), (4, 3, 3)),
    _conv_case((2, 3, 10), (4, 3, 3), False, strides=[2], pads=[1, 1]),
    _conv_case((1, 4, 11), (6, 2, 3), group=2, dilations=[2], pads=[2, 0]),
    _conv_case((2, 4, 9), (4, 1, 3), group=4, pads=[1, 1]),
    _conv_case((2, 3, 9), (4, 3, 1)),
    _conv_case((2, 3, 9), (4, 3, 4), auto_pad="SAME_UPPER", strides=[2]),
    _conv_case((2, 3, 9), (4, 3, 4), auto_pad="SAME_LOWER"),
    # batches of four and more have recipes of their own
    _conv_case((4, 2, 6, 7), (3, 2, 3, 3), pads=[1, 1, 1, 1]),
    _conv_case((4, 2, 7, 6), (3, 2, 3, 2), False, strides=[2, 1], pads=[0, 0, 1, 1]),
    _conv_case((4, 2, 9), (3, 2, 3), dilations=[2], pads=[2, 1]),
    _conv_case((4, 2, 9, 9), (2, 1, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv_case((4, 2, 10, 9), (2, 1, 3, 3), group=2, strides=[2, 3], pads=[0, 1, 1, 1]),
    _conv_case((4, 2, 9), (2, 1, 3), group=2, strides=[2], pads=[1, 1]),
    _conv_case((4, 2, 9, 9), (2, 1, 3, 3), group=2, dilations=[2, 2], strides=[1, 2]),
    # two axes
    _conv_case((2, 3, 6, 7), (4, 3, 3, 3), pads=[1, 1, 1, 1]),
    _conv_case((2, 3, 6, 7), (4, 3, 3, 3), False),
    _conv_case((1, 3, 6, 7), (4, 3, 3, 3), pads=[1, 1, 1, 1]),
    _conv_case((2, 1, 6, 7), (4, 1, 3, 3), pads=[1, 1, 1, 1]),
    _conv_case((2, 3, 6, 7), (4, 3, 1, 1)),
    _conv_case((2, 3, 6, 7), (4, 3, 1, 1), strides=[2, 2]),
    _conv_case((2, 3, 6, 7), (4, 3, 1, 1), pads=[1, 0, 0, 1]),
    _conv_case((2, 4, 6, 7), (6, 2, 1, 1), group=2),
    _conv_case((2, 3, 8, 8), (4, 3, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv_case((2, 3, 8, 7), (4, 3, 3, 3), strides=[3, 2], pads=[0, 1, 2, 0]),
    _conv_case((2, 3, 9, 8), (4, 3, 2, 3), strides=[4, 3]),
    _conv_case((2, 3, 9, 8), (4, 3, 3, 2), dilations=[2, 3], pads=[2, 3, 2, 0]),
    _conv_case((2, 3, 9, 8), (4, 3, 3, 2), dilations=[2, 1], strides=[2, 3], pads=[1, 1, 1, 1]),
    _conv_case((2, 4, 6, 7), (6, 2, 3, 3), group=2, pads=[1, 1, 1, 1]),
    _conv_case((2, 4, 7, 7), (6, 2, 3, 3), False, group=2, strides=[2, 2]),
    _conv_case((2, 2, 9, 9), (3, 2, 5, 5), pads=[2, 2, 2, 2]),
    _conv_case((1, 2, 12, 12), (3, 2, 7, 7), pads=[3, 3, 3, 3], strides=[2, 2]),
    _conv_case((2, 2, 4, 5), (3, 2, 4, 5)),
    _conv_case((2, 2, 3, 3), (3, 2, 3, 3), pads=[2, 2, 2, 2]),
    _conv_case((2, 3, 6, 7), (4, 3, 3, 3), auto_pad="SAME_UPPER"),
    _conv_case((2, 3, 6, 7), (4, 3, 3, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    _conv_case((2, 3, 6, 7), (4, 3, 4, 2), auto_pad="SAME_LOWER", strides=[2, 2]),
    _conv_case((2, 3, 6, 7), (4, 3, 1, 1), auto_pad="SAME_UPPER", strides=[3, 3]),
    _conv_case((2, 3, 6, 7), (4, 3, 3, 3), auto_pad="VALID", strides=[2, 2]),
    # depthwise
    _conv_case((2, 4, 6, 7), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    _conv_case((1, 4, 6, 7), (4, 1, 3, 3), False, group=4, pads=[1, 1, 1, 1]),
    _conv_case((2, 4, 8, 7), (4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    _conv_case((2, 4, 8, 7), (4, 1, 3, 3), group=4, strides=[2, 2], pads=[0, 0, 1, 1]),
    _conv_case((2, 4, 9, 9), (4, 1, 5, 5), group=4, pads=[2, 2, 2, 2]),
    _conv_case((2, 4, 9, 9), (4, 1, 3, 3), group=4, dilations=[2, 2], pads=[2, 2, 2, 2]),
    _conv_case((2, 4, 9, 9), (8, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    _conv_case((2, 4, 9, 9), (4, 1, 3, 3), group=4, auto_pad="SAME_UPPER", strides=[2, 2]),
    # three axes
    _conv_case((2, 2, 4, 5, 5), (3, 2, 3, 3, 3), pads=[1] * 6),
    _conv_case((1, 2, 5, 5, 6), (3, 2, 2, 3, 2), False, strides=[2, 1, 2], pads=[0, 1, 0, 1, 1, 0]),
    _conv_case((2, 4, 4, 5, 5), (4, 2, 2, 2, 2), group=2, dilations=[1, 2, 1]),
    _conv_case((2, 4, 4, 5, 5), (4, 1, 3, 3, 3), group=4, pads=[1] * 6),
    _conv_case((2, 2, 4, 5, 5), (3, 2, 1, 1, 1)),
    # transposed
    _transposed_case((2, 3, 6), (3, 4, 3)),
    _transposed_case((2, 3, 6), (3, 4, 4), False, strides=[2], pads=[1, 1]),
    _transposed_case((2, 4, 6), (4, 2, 3), group=2, strides=[2], output_padding=[1], pads=[1, 0]),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 3)),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 3), pads=[1, 1, 1, 1]),
    _transposed_case((1, 3, 4, 5), (3, 4, 2, 2), strides=[2, 2]),
    _transposed_case((2, 3, 4, 5), (3, 4, 4, 4), False, strides=[2, 2], pads=[1, 1, 1, 1]),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 3), strides=[2, 2], pads=[1, 1, 1, 1],
                     output_padding=[1, 1]),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 2), strides=[3, 2], pads=[0, 1, 2, 0],
                     output_padding=[2, 0]),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 3), dilations=[2, 1], pads=[1, 0, 0, 1]),
    _transposed_case((2, 3, 4, 5), (3, 4, 1, 1)),
    _transposed_case((2, 3, 4, 5), (3, 4, 1, 1), strides=[2, 2]),
    _transposed_case((2, 4, 4, 5), (4, 3, 3, 3), group=2, strides=[2, 2]),
    _transposed_case((2, 4, 4, 5), (4, 1, 3, 3), group=4, strides=[2, 2], pads=[1, 1, 1, 1]),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER"),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 3), strides=[2, 2], auto_pad="SAME_LOWER"),
    _transposed_case((2, 3, 4, 5), (3, 4, 3, 3), strides=[2, 2], output_shape=[8, 9]),
    # each recipe of the input's and of the weights' gradient
    _large_case((8, 16, 28, 28), (16, 16, 3, 3), pads=[1, 1, 1, 1]),
    _large_case((8, 32, 28, 28), (32, 16, 3, 3), False, group=2, pads=[0, 1, 2, 1]),
    _large_case((4, 4, 7, 7), (6, 4, 3, 3), pads=[1, 1, 1, 1]),
    _large_case((4, 4, 9, 8), (6, 2, 3, 2), group=2, strides=[2, 1], dilations=[1, 2],
               pads=[0, 1, 2, 0]),
    _large_case((8, 16, 30, 30), (4, 16, 5, 5), strides=[2, 2], pads=[2, 2, 2, 2]),
    _large_case((2, 32, 3, 3), (32, 32, 3, 3), pads=[1, 1, 1, 1]),
    _large_case((2, 2, 200), (2, 1, 5), group=2, pads=[2, 2]),
    _large_case((2, 3, 5, 5), (4, 3, 3, 3), pads=[3, 3, 3, 3]),
    _large_case((2, 3, 5, 5), (3, 1, 3, 3), group=3, pads=[3, 0, 0, 3]),
    _large_case((16, 4, 5, 6), (4, 1, 3, 3), group=4, pads=[1, 1, 1, 1]),
    _large_case((16, 4, 5, 6), (4, 1, 5, 3), False, group=4, strides=[2, 1], pads=[2, 0, 1, 2]),
    _large_case((16, 4, 5, 6), (4, 1, 3, 3), group=4, strides=[2, 1], auto_pad="SAME_UPPER"),
    _large_case((12, 3, 7), (3, 1, 5), group=3, strides=[2], pads=[2, 2]),
    _large_case((9, 2, 3, 3, 4), (2, 1, 3, 3, 3), group=2, pads=[1] * 6),
    *({"op": "Col2Im",
       "inputs": [_n(2, 3 * 6, n), np.array([7, 8], np.int64), np.array([2, 3], np.int64)],
       "attrs": {"strides": list(stride), "dilations": [1, 2], "pads": [1, 0, 1, 0]},
       "torch": lambda torch, x, size, block, stride=stride: torch.nn.functional.fold(
           x, (7, 8), (2, 3), (1, 2), (1, 0), stride)}
      for stride, n in [((1, 1), 32), ((2, 3), 8)]),
    _transposed_case((1, 2, 3, 4, 3), (2, 3, 2, 3, 2), strides=[2, 1, 2], pads=[0, 1, 0, 0, 1, 1]),
]  # fmt: skip
