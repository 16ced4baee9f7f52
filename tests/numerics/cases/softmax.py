"""Cases of Softmax and the losses of classifiers."""

import numpy as np

rng = np.random.default_rng(0)
X = rng.standard_normal((3, 4, 5)).astype(np.float32)
ROWS = rng.standard_normal((6, 4)).astype(np.float32)
WEIGHTS = rng.uniform(0.5, 2.0, 4).astype(np.float32)
LABELS = rng.integers(0, 4, 6)
PIXELS = rng.integers(0, 4, (3, 5))
LOSSES = {"SoftmaxCrossEntropyLoss": "cross_entropy", "NegativeLogLikelihoodLoss": "nll_loss"}


def _loss(name, attrs, outputs=1):
    def run(torch, x, labels, weight=None):
        f = torch.nn.functional
        loss = getattr(f, name)(
            x, labels.long(), weight, reduction=attrs.get("reduction", "mean"),
            ignore_index=attrs.get("ignore_index", -100),
        )  # fmt: skip
        return (loss, torch.log_softmax(x, 1))[:outputs] if outputs > 1 else loss

    return run


def _losses():
    for op, name in LOSSES.items():
        for reduction in ("mean", "sum", "none"):
            for extra in ({}, {"ignore_index": 2}, {"ignore_index": -1}):
                attrs = {"reduction": reduction, **extra}
                for weights in ([], [WEIGHTS]):
                    for x, labels in ((ROWS, LABELS), (X, PIXELS)):
                        given = labels.copy()
                        if "ignore_index" in extra:
                            given.flat[:2] = extra["ignore_index"]
                        yield {"op": op, "inputs": [x, given, *weights], "attrs": attrs,
                               "wrt": [0], "torch": _loss(name, attrs)}  # fmt: skip


CASES = [
    *({"op": op, "inputs": [x], "attrs": attrs,
       "torch": lambda t, x, f=f, a=attrs: getattr(t, f)(x, a.get("axis", -1))}
      for op, f in [("Softmax", "softmax"), ("LogSoftmax", "log_softmax")]
      for x in (X, X * 40.0)
      for attrs in ({}, {"axis": 0}, {"axis": 1}, {"axis": -2}) if x is X or not attrs),
    *_losses(),
    {"op": "SoftmaxCrossEntropyLoss", "inputs": [ROWS, LABELS], "outputs": 2,
     "torch": _loss("cross_entropy", {}, 2)},
    {"op": "SoftmaxCrossEntropyLoss", "inputs": [ROWS, LABELS.astype(np.int32)],
     "torch": _loss("cross_entropy", {})},
]  # fmt: skip
for case in CASES:
    if np.abs(case["inputs"][0]).max() > 20:
        case["kink"] = True  # too steep for differences in float32
