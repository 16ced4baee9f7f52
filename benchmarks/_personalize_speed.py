"""How soon a head is ready: nearest means, and a linear one beside PyTorch."""

from __future__ import annotations

import functools
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from _report import Report, Row, compare

from edgeml.personalize import Learner, NearestMean, Softmax, Store

Array = np.ndarray[Any, Any]
WAYS, SIZE, STEPS = 5, 1280, 150
INT8 = "edgeml:efficientnet_lite0_int8.onnx"

_EXAMPLES = f"""
import numpy as np
rng = np.random.default_rng(0)
y = np.arange(500) % {WAYS}
x = (rng.normal(0, 1, ({WAYS}, {SIZE}))[y] + rng.normal(0, 1, (500, {SIZE}))).astype(np.float32)
"""
_OURS = _EXAMPLES + "from edgeml.personalize import Softmax\nSoftmax().fit(x, list(map(str, y)))"
_THEIRS = (
    _EXAMPLES
    + f"""
import torch
layer = torch.nn.Linear({SIZE}, {WAYS})
optimizer = torch.optim.Adam(layer.parameters(), 0.05)
data, number = torch.tensor(x), torch.tensor(y)
for _ in range({STEPS}):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(layer(data), number).backward()
    optimizer.step()
"""
)


def speed(report: Report, *, quick: bool) -> None:
    """Add the rows."""
    rounds = 5 if quick else 30
    _ready(report, rounds)
    x, y = examples(100)
    Softmax().fit(x, y)
    if importlib.util.find_spec("torch") is None:
        took = [milliseconds(lambda: Softmax().fit(x, y)) for _ in range(rounds)]
        report.add(_row("linear head on 500 examples, with its five-fold test", took, 1000.0))
        return
    peer = _peer(x, np.arange(500) % WAYS)
    peer()
    ours, theirs = _in_turns(lambda: Softmax().fit(x, y), peer, max(3, rounds // 3))
    report.add(_row("linear head on 500 examples, with its five-fold test", ours, 1000.0))
    compare(report, "linear head on 500 examples", "time, import not counted", "ms", ours, theirs,
            "PyTorch, the same steps without a test", better="lower",
            note="ours trains six heads at once: five are its test")  # fmt: skip
    ours, theirs = _in_turns(lambda: _process(_OURS), lambda: _process(_THEIRS),
                             2 if quick else 7)  # fmt: skip
    compare(report, "linear head on 500 examples", "time of a process, import counted", "ms", ours,
            theirs, "PyTorch, the same steps without a test", better="lower")  # fmt: skip


def _ready(report: Report, rounds: int) -> None:
    for shots, case in ((5, "25 examples"), (10, "50 examples")):
        x, y = examples(shots)
        fit = functools.partial(_as_model, x, y)
        fit()  # imports are not its time
        took = [milliseconds(fit) for _ in range(rounds)]
        report.add(_row(f"nearest mean of {case}, fitted, tested, as a model", took, 50.0))
    x, y = examples(5)
    took = []
    for _ in range(rounds):
        with (
            tempfile.TemporaryDirectory() as folder,
            Store(folder) as store,
            Learner(INT8, store=store, method="nearest-mean") as learner,
        ):
            for row, label in zip(x, y, strict=True):
                learner.add_features(label, row)
            took.append(milliseconds(lambda: learner.accept(learner.train())))
    report.add(_row("the same by a learner: train, accept, on disk, in use", took, 50.0))


def _as_model(x: Array, y: list[str]) -> None:
    NearestMean().fit(x, y).to_onnx()


def examples(shots: int) -> tuple[Array, list[str]]:
    """Return features (5 * shots, 1280) of five classes, and their labels."""
    rng = np.random.default_rng(0)
    y = np.arange(WAYS * shots) % WAYS
    x = rng.normal(0, 1, (WAYS, SIZE))[y] + rng.normal(0, 1, (len(y), SIZE))
    return x.astype(np.float32), [f"class {n}" for n in y]


def _peer(x: Array, y: Array) -> Callable[[], None]:
    import torch

    data, number = torch.tensor(x), torch.tensor(y)

    def train() -> None:
        layer = torch.nn.Linear(SIZE, WAYS)
        optimizer = torch.optim.Adam(layer.parameters(), 0.05)
        for _ in range(STEPS):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(layer(data), number).backward()
            optimizer.step()

    return train


def _process(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def _in_turns(
    ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int
) -> tuple[list[float], list[float]]:
    pairs = [(milliseconds(ours), milliseconds(theirs)) for _ in range(rounds)]
    return [a for a, _ in pairs], [b for _, b in pairs]


def milliseconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - start)


def _row(case: str, took: list[float], target: float) -> Row:
    quarters = statistics.quantiles(took, n=4)
    return Row(case, "time", "ms", "lower", ours=statistics.median(took), target=target,
               target_on="ours", n=len(took), spread=(quarters[0], quarters[2]))  # fmt: skip
