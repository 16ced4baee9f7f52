"""Time and memory of training steps, against PyTorch eager with its fused optimizer.

    python benchmarks/training.py [--quick] [--json FILE] [--only NAME] [--efficientnet FILE]

Both sides do the whole step: forward, backward, Adam, and reading the loss. Rounds are
interleaved; each is some tens of steps on the same data. Needs PyTorch: ``make oracles``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import Report, Row, compare, main
from _training_models import CASES, CLASSES, Case
from torch import nn

import edgeml
from edgeml.platform import cores
from edgeml.training import Trainer

Array = np.ndarray[Any, Any]
HERE = Path(__file__).resolve().parent
LOSS = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
SHIPPED = HERE.parent / "edgeml" / "models" / "efficientnet_lite0_int8.onnx"


def data_for(case: Case, count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, CLASSES, count)
    if case.integers:
        return rng.integers(0, case.integers, (count, *case.shape)), y
    return rng.standard_normal((count, *case.shape)).astype(np.float32), y


def our_steps(model: edgeml.Model, x: Array, y: Array, batch: int) -> Callable[[], None]:
    model.compile(edgeml.optimizers.Adam(1e-3), LOSS)
    model.fit(x, y, batch_size=batch, verbose=0, shuffle=False)  # compiles the step
    return lambda: model.fit(x, y, batch_size=batch, verbose=0, shuffle=False) and None


def torch_steps(
    model: nn.Module, x: Array, y: Array, batch: int, channels: bool
) -> Callable[[], None]:
    if channels:
        x = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, 1e-3, eps=1e-7, fused=True)

    def run() -> None:
        total = 0.0
        for at in range(0, len(tx), batch):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(tx[at : at + batch]), ty[at : at + batch])
            loss.backward()
            optimizer.step()
            total += loss.item()

    run()
    return run


def timed(run: Callable[[], None], steps: int) -> float:
    start = time.perf_counter()
    run()
    return (time.perf_counter() - start) / steps * 1e3


def pair(
    report: Report, name: str, ours: Callable[[], None], theirs: Callable[[], None], steps: int,
    rounds: int, batch: int, target: float | None, note: str = "",
) -> None:  # fmt: skip
    mine, peer = [], []
    for _ in range(rounds):
        mine.append(timed(ours, steps))
        peer.append(timed(theirs, steps))
    compare(
        report, f"{name}, batch {batch}", "training step", "ms", mine, peer, "PyTorch eager",
        better="lower", target=target, threads=cores(), batch=batch, note=note,
    )  # fmt: skip


def step_times(report: Report, args: argparse.Namespace) -> None:
    rounds = 5 if args.quick else 15
    for case in CASES:
        if args.only and args.only.lower() not in case.name.lower():
            continue
        for batch in (1, 8, 32):
            model = case.theirs()
            x, y = data_for(case, batch)
            once = timed(torch_steps(model, x, y, batch, case.channels), 1)
            steps = max(4, min(200, int((40 if args.quick else 200) / max(once, 0.05))))
            x, y = data_for(case, batch * steps)
            pair(
                report, case.name, our_steps(case.ours(), x, y, batch),
                torch_steps(case.theirs(), x, y, batch, case.channels), steps, rounds, batch,
                case.targets.get(batch),
            )  # fmt: skip


class TorchLite0Tail(nn.Module):
    """The last block of EfficientNet-Lite0 as Trainer trains it: last:4."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(1152, 1152, 3, padding=1, groups=1152)
        self.project = nn.Conv2d(1152, 320, 1)
        self.head = nn.Conv2d(320, 1280, 1)
        self.fc = nn.Linear(1280, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        y = self.project(nn.functional.relu6(self.depthwise(x)))
        return self.fc(nn.functional.relu6(self.head(y)).mean((2, 3)))


def efficientnet(report: Report, args: argparse.Namespace) -> None:
    """The head on cached features, and the last block, of EfficientNet-Lite0."""
    if args.only and args.only.lower() not in "efficientnet":
        return
    rng = np.random.default_rng(0)
    rounds = 3 if args.quick else 9
    path = args.efficientnet or SHIPPED
    integers = path == SHIPPED
    count = 32
    pictures = rng.integers(0, 255, (count, 3, 224, 224)).astype(np.uint8)
    x = pictures if integers else (pictures.astype(np.float32) - 127.0) / 128.0
    y = rng.integers(0, 1000, count)

    start = time.perf_counter()
    trainer = Trainer(path, loss="sparse_categorical_crossentropy", trainable="all")
    trainer.step(x[:1], y[:1])
    built = time.perf_counter() - start
    report.add(Row("EfficientNet-Lite0, all layers", "graph, session and first step", "s", "lower",
                   built, target=3.0, target_on="ours", threads=cores()))  # fmt: skip

    head = Trainer(path, loss="sparse_categorical_crossentropy", trainable="head",
                   cache_features=True)  # fmt: skip
    head.fit(x, y, batch_size=32, verbose=0)
    features = rng.standard_normal((32 * 20, 1280)).astype(np.float32)
    labels = rng.integers(0, 1000, len(features))
    batches = [(features[i : i + 32], labels[i : i + 32]) for i in range(0, len(features), 32)]
    fc = torch_steps(nn.Linear(1280, 1000), features, labels, 32, False)
    name = head._engine_names()[0]

    def ours() -> None:
        for part, label in batches:
            head._engine.train(({name: part}, [label], None))  # type: ignore[union-attr]

    pair(report, "EfficientNet-Lite0 head on cached features", ours, fc, len(batches), rounds, 32,
         2.0)  # fmt: skip

    tail = Trainer(path, loss="sparse_categorical_crossentropy", trainable="last:4",
                   cache_features=True)  # fmt: skip
    tail.fit(x, y, batch_size=32, verbose=0)
    name = tail._engine_names()[0]
    maps = np.abs(rng.standard_normal((64, 1152, 7, 7))).astype(np.float32)
    many = rng.integers(0, 1000, len(maps))

    def last_block() -> None:
        for i in range(0, len(maps), 32):
            tail._engine.train(({name: maps[i : i + 32]}, [many[i : i + 32]], None))  # type: ignore[union-attr]

    pair(report, "EfficientNet-Lite0 last block, features cached", last_block,
         torch_steps(TorchLite0Tail(1000), maps, many, 32, False), 2, rounds, 32, 0.7)  # fmt: skip


_MEMORY = """
import json, resource, sys
def rss():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
sys.path.insert(0, {here!r})
import numpy as np
{imports}
start = rss()
{work}
print(json.dumps([rss(), rss() - start]))
"""

_OURS = """
from edgeml.training import Trainer
import onnxruntime, onnx
"""
_OURS_WORK = """
t = Trainer({path!r}, loss="sparse_categorical_crossentropy", trainable="last:4")
rng = np.random.default_rng(0)
x = rng.integers(0, 255, (32, 3, 224, 224)).astype({kind!r})
for _ in range(3): t.step(x, rng.integers(0, 1000, 32))
"""


def memory(report: Report, args: argparse.Namespace) -> None:
    """Peak memory of a process that trains the MLP, on both sides."""
    if args.only and args.only.lower() not in "memory":
        return
    mine = child(
        "import edgeml, onnx, onnxruntime",
        "from edgeml import layers\n"
        "m = edgeml.Sequential([edgeml.Input((64,)), layers.Dense(128, activation='relu'), "
        "layers.Dense(128, activation='relu'), layers.Dense(10)])\n"
        "m.compile('adam', edgeml.losses.SparseCategoricalCrossentropy(from_logits=True))\n"
        "m.fit(np.ones((640, 64), 'f4'), np.arange(640) % 10, verbose=0)",
    )
    peer = child(
        "import torch; torch.set_num_threads(2)",
        "m = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, "
        "128), torch.nn.ReLU(), torch.nn.Linear(128, 10))\n"
        "o = torch.optim.Adam(m.parameters(), fused=True)\n"
        "x, y = torch.ones(32, 64), torch.arange(32) % 10\n"
        "for _ in range(20):\n"
        "    o.zero_grad(); l = torch.nn.functional.cross_entropy(m(x), y); l.backward(); o.step()",
    )
    compare(report, "MLP, whole process", "peak memory", "MB", [mine[0]], [peer[0]],
            "PyTorch eager", better="lower", target=2.0,
            note="peak resident memory, imports included")  # fmt: skip


def child(imports: str, work: str) -> tuple[float, float]:
    """Return peak memory in MB of a process of its own: whole, and from after the imports."""
    code = _MEMORY.format(here=str(HERE), imports=imports, work=work)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    whole, net = json.loads(done.stdout.splitlines()[-1])
    return whole, net


def run(report: Report, args: argparse.Namespace) -> None:
    torch.set_num_threads(cores())
    step_times(report, args)
    efficientnet(report, args)
    memory(report, args)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", help="cases whose name holds this")
    parser.add_argument("--efficientnet", type=Path, help="a float EfficientNet-Lite0 to train")


if __name__ == "__main__":
    main("training", ("onnxruntime", "onnx", "torch", "numpy"), run, add_arguments)
