"""EfficientNet-Lite0 in the training benchmark: head, last block, building, memory."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _report import Report, Row, compare
from torch import nn

import edgeml
from edgeml.callbacks import Callback
from edgeml.platform import cores
from edgeml.training import Trainer

Array = np.ndarray[Any, Any]
SHIPPED = Path(edgeml.__file__).parent / "models" / "efficientnet_lite0_int8.onnx"
# kernel, stride, expansion, channels, repeats; Tan and Le, 2019, without squeeze-excite
_STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3),
           (5, 1, 6, 112, 3), (5, 2, 6, 192, 4), (3, 1, 6, 320, 1))  # fmt: skip
CLASSES = 1000


class Block(nn.Module):
    """An inverted residual, batch normalization folded."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        wide = inputs * factor
        self.expand = nn.Conv2d(inputs, wide, 1) if factor > 1 else None
        self.depthwise = nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.skip = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        y = x if self.expand is None else nn.functional.relu6(self.expand(x))
        return self.tail(y) + (x if self.skip else 0)

    def tail(self, y: torch.Tensor) -> torch.Tensor:
        """Return what comes after the expansion."""
        return self.project(nn.functional.relu6(self.depthwise(y)))


class Lite0(nn.Module):
    """EfficientNet-Lite0, of which depthwise and pointwise of the last block and after train."""

    def __init__(self) -> None:
        super().__init__()
        blocks, channels = [], 32
        for kernel, stride, factor, outputs, repeats in _STAGES:
            for i in range(repeats):
                blocks.append(Block(channels, outputs, kernel, stride if i == 0 else 1, factor))
                channels = outputs
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.blocks, self.last = nn.Sequential(*blocks[:-1]), blocks[-1]
        self.head = nn.Conv2d(channels, 1280, 1)
        self.fc = nn.Linear(1280, CLASSES)
        for part in (self.stem, self.blocks, self.last.expand):
            part.requires_grad_(False)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the trained part takes, (batch, 1152, 7, 7)."""
        with torch.no_grad():
            y = self.blocks(nn.functional.relu6(self.stem(x)))
            return nn.functional.relu6(self.last.expand(y))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Return the logits, from features."""
        y = nn.functional.relu6(self.head(self.last.tail(maps)))
        return self.fc(y.mean((2, 3)))


class EpochTimes(Callback):
    """Keeps how long each epoch takes, in seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Stop it."""
        self.found.append(time.perf_counter() - self._start)


def pictures(count: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 255, (count, 3, 224, 224)).astype(np.uint8)
    return x, rng.integers(0, CLASSES, count)


def on_features(
    report: Report, trainable: str, case: str, peer: Callable[[], None], rounds: int, target: float
) -> None:
    """Time epochs of two steps on cached features, in turn with the peer's two steps."""
    x, y = pictures(64)
    trainer = Trainer(
        SHIPPED, loss="sparse_categorical_crossentropy", trainable=trainable, cache_features=True,
        from_logits=False,
    )  # fmt: skip
    mine, theirs = [], []
    for _ in range(rounds):
        times = EpochTimes()
        trainer.fit(x, y, batch_size=32, epochs=trainer.epoch + 6, verbose=0, callbacks=[times])
        mine.append(float(np.median(times.found[1:])) / 2 * 1e3)
        start = time.perf_counter()
        for _ in range(5):
            peer()
        theirs.append((time.perf_counter() - start) / 10 * 1e3)
    compare(report, case, "training step", "ms", mine, theirs, "PyTorch eager", better="lower",
            target=target, threads=cores(), batch=32)  # fmt: skip


def run(
    report: Report, args: argparse.Namespace,
    torch_steps: Callable[[nn.Module, Array, Array], Callable[[], None]],
) -> None:  # fmt: skip
    """Add the rows; `torch_steps` makes the peer's two steps of 32."""
    rng = np.random.default_rng(0)
    rounds = 3 if args.quick else 9
    y = rng.integers(0, CLASSES, 64)

    x1, y1 = pictures(1)
    start = time.perf_counter()
    Trainer(SHIPPED, loss="sparse_categorical_crossentropy", trainable="all").step(x1, y1)
    report.add(Row("EfficientNet-Lite0, all layers", "graph, session and first step", "s", "lower",
                   time.perf_counter() - start, target=3.0, target_on="ours",
                   threads=cores()))  # fmt: skip

    features = rng.standard_normal((64, 1280)).astype(np.float32)
    on_features(report, "head", "EfficientNet-Lite0, head on cached features, batch 32",
                torch_steps(nn.Linear(1280, CLASSES), features, y), rounds, 2.0)  # fmt: skip
    maps = np.abs(rng.standard_normal((64, 1152, 7, 7))).astype(np.float32)
    on_features(report, "last:4", "EfficientNet-Lite0, last block on cached features, batch 32",
                torch_steps(Lite0(), maps, y), rounds, 0.7)  # fmt: skip
