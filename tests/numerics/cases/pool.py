"""Cases of the pools."""

import numpy as np

rng = np.random.default_rng(0)


def _distinct(*shape):
    """Values far enough apart that a small step does not change which is the largest."""
    values = rng.permutation(int(np.prod(shape))).astype(np.float32)
    return (values.reshape(shape) - values.size / 2) * 0.1


def _few(*shape):
    """Many ties."""
    return rng.integers(0, 3, shape).astype(np.float32)


def _max(attrs):
    def run(torch, x):
        rank = x.ndim - 2
        pads = attrs.get("pads", [0] * 2 * rank)
        pairs = [p for i in reversed(range(rank)) for p in (pads[i], pads[i + rank])]
        return getattr(torch.nn.functional, f"max_pool{rank}d")(
            torch.nn.functional.pad(x, pairs, value=-np.inf), tuple(attrs["kernel_shape"]),
            stride=tuple(attrs.get("strides", [1] * rank)),
            dilation=tuple(attrs.get("dilations", [1] * rank)),
            ceil_mode=bool(attrs.get("ceil_mode", 0)))  # fmt: skip

    return run


def _max_cases(x, kernel, torch=True, **attrs):
    attrs = {"kernel_shape": kernel, **attrs}
    oracle = {"torch": _max(attrs)} if torch else {}
    return [
        {"op": "MaxPool", "inputs": [_distinct(*x)], "attrs": attrs, **oracle},
        *([{"op": "MaxPool", "inputs": [_few(*x)], "attrs": attrs, "kink": True, **oracle}]
          if torch else []),
    ]  # fmt: skip


def _average(attrs):
    def run(torch, x):
        rank = x.ndim - 2
        pads = attrs.get("pads", [0] * 2 * rank)
        return getattr(torch.nn.functional, f"avg_pool{rank}d")(
            x, tuple(attrs["kernel_shape"]), stride=tuple(attrs.get("strides", [1] * rank)),
            padding=tuple(pads[:rank]), ceil_mode=bool(attrs.get("ceil_mode", 0)),
            count_include_pad=bool(attrs.get("count_include_pad", 0)))  # fmt: skip

    return run


def _average_case(x, kernel, torch=True, **attrs):
    attrs = {"kernel_shape": kernel, **attrs}
    case = {"op": "AveragePool", "inputs": [_distinct(*x)], "attrs": attrs}
    return case | ({"torch": _average(attrs)} if torch else {})


def _lp(x, kernel, torch=False, **attrs):
    attrs = {"kernel_shape": kernel, **attrs}
    case = {"op": "LpPool", "inputs": [_distinct(*x) + 0.05], "attrs": attrs}
    p = float(attrs.get("p", 2))
    if torch:
        case["torch"] = lambda torch, x: torch.nn.functional.lp_pool2d(
            x.abs(), p, tuple(kernel), stride=tuple(attrs.get("strides", [1, 1])))  # fmt: skip
    return case


UNPOOLED = rng.permutation(2 * 3 * 16)[: 2 * 3 * 4].reshape(2, 3, 2, 2).astype(np.int64)

CASES = [
    # windows next to each other
    *_max_cases((2, 3, 8), [2], strides=[2]),
    *_max_cases((2, 3, 6, 8), [2, 2], strides=[2, 2]),
    *_max_cases((1, 3, 7, 9), [2, 2], strides=[2, 2]),
    *_max_cases((2, 3, 7, 9), [2, 2], strides=[2, 2], ceil_mode=1),
    *_max_cases((2, 3, 7, 9), [2, 3], strides=[3, 3], pads=[0, 1, 1, 1]),
    *_max_cases((1, 2, 4, 4, 6), [2, 2, 2], strides=[2, 2, 2]),
    *_max_cases((2, 3, 6, 8), [1, 1], strides=[2, 2]),
    *_max_cases((2, 3, 3, 5), [3, 5]),
    # overlapping
    *_max_cases((2, 3, 8), [3]),
    *_max_cases((2, 3, 7, 9), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    *_max_cases((2, 3, 8, 8), [3, 3], strides=[2, 2], ceil_mode=1),
    *_max_cases((1, 2, 6, 7), [3, 3], pads=[1, 1, 1, 1]),
    *_max_cases((2, 3, 6, 7), [3, 2], strides=[1, 2]),
    *_max_cases((2, 2, 9, 9), [5, 5], strides=[2, 3], pads=[2, 2, 2, 2]),
    *_max_cases((2, 2, 9, 9), [2, 3], dilations=[2, 2], strides=[2, 1]),
    *_max_cases((1, 2, 5, 5, 5), [3, 3, 3], strides=[2, 2, 2], pads=[1] * 6),
    *_max_cases((2, 3, 7, 9), [3, 3], False, strides=[2, 2], auto_pad="SAME_UPPER"),
    *_max_cases((2, 3, 7, 9), [3, 2], False, strides=[2, 2], auto_pad="SAME_LOWER"),
    *_max_cases((2, 3, 7, 9), [3, 2], strides=[2, 2], storage_order=1),
    {"op": "MaxUnpool", "inputs": [_distinct(2, 3, 2, 2), UNPOOLED],
     "attrs": {"kernel_shape": [2, 2], "strides": [2, 2]},
     "torch": lambda torch, x, i: torch.zeros(96).index_put((i.flatten(),), x.flatten())
     .reshape(2, 3, 4, 4)},
    # averages
    _average_case((2, 3, 8), [2], strides=[2]),
    _average_case((2, 3, 9), [3], pads=[1, 1]),
    _average_case((2, 3, 6, 8), [2, 2], strides=[2, 2]),
    _average_case((2, 3, 6, 8), [3, 1]),
    _average_case((1, 3, 7, 9), [2, 2], strides=[2, 2]),
    *(_average_case((2, 3, 7, 8), [3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=ceil,
                    count_include_pad=include) for ceil in (0, 1) for include in (0, 1)),
    *(_average_case((2, 3, 8, 8), [3, 3], strides=[2, 2], ceil_mode=1, count_include_pad=include)
      for include in (0, 1)),
    *(_average_case((2, 3, 7, 8), [3, 2], False, strides=[2, 2], auto_pad=auto,
                    count_include_pad=include)
      for auto in ("SAME_UPPER", "SAME_LOWER", "VALID") for include in (0, 1)),
    *(_average_case((2, 3, 7, 8), [3, 2], False, pads=[1, 0, 2, 1], count_include_pad=include)
      for include in (0, 1)),
    {"op": "AveragePool", "inputs": [_distinct(2, 3, 9, 8)], "opset": 19, "kink": True,
     "attrs": {"kernel_shape": [3, 2], "dilations": [2, 3], "strides": [1, 2],
               "pads": [1, 1, 1, 1], "count_include_pad": 1},
     "torch": lambda torch, x: torch.nn.functional.conv2d(
         x, torch.full((3, 1, 3, 2), 1 / 6), None, (1, 2), 1, (2, 3), 3)},
    _average_case((1, 2, 4, 5, 6), [2, 3, 2], strides=[2, 1, 2], pads=[0, 1, 1, 0, 1, 1],
                  count_include_pad=1),
    # norms
    *(_lp((2, 3, 6, 7), [2, 3], True, strides=[2, 2], p=p) for p in (1, 2, 3)),
    _lp((2, 3, 7), [3], pads=[1, 1]),
    _lp((2, 3, 7, 7), [3, 3], pads=[1, 1, 0, 1], strides=[2, 1]),
    _lp((2, 3, 7, 7), [3, 3], auto_pad="SAME_UPPER", strides=[2, 1]),
    # whole images
    {"op": "GlobalAveragePool", "inputs": [_distinct(2, 3, 4, 5)],
     "torch": lambda torch, x: x.mean((2, 3), keepdim=True)},
    {"op": "GlobalAveragePool", "inputs": [_distinct(2, 3, 4)],
     "torch": lambda torch, x: x.mean(2, keepdim=True)},
    {"op": "GlobalAveragePool", "inputs": [_distinct(1, 3, 2, 4, 5)],
     "torch": lambda torch, x: x.mean((2, 3, 4), keepdim=True)},
    {"op": "GlobalMaxPool", "inputs": [_distinct(2, 3, 4, 5)],
     "torch": lambda torch, x: torch.nn.functional.adaptive_max_pool2d(x, 1)},
    {"op": "GlobalMaxPool", "inputs": [_few(2, 3, 4, 5)], "kink": True,
     "torch": lambda torch, x: torch.nn.functional.adaptive_max_pool2d(x, 1)},
    {"op": "GlobalMaxPool", "inputs": [_distinct(2, 3, 7)],
     "torch": lambda torch, x: torch.nn.functional.adaptive_max_pool1d(x, 1)},
    *({"op": "GlobalLpPool", "inputs": [_distinct(2, 3, 4, 5) + 0.05], "attrs": {"p": p},
       "torch": lambda torch, x, p=p: x.abs().pow(p).sum((2, 3), keepdim=True).pow(1 / p)}
      for p in (1, 2, 3)),
]  # fmt: skip
