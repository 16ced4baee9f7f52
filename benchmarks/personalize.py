"""Personalising: few-shot accuracy, time to ready, class after class, being killed.

    python benchmarks/personalize.py --sources DIR --float-model efficientnet_lite0.onnx

`--sources` holds what tools/_sources.py fetches (tuxpaint-stamps-default is needed; with aeon's
wheel unpacked in it there is one anomaly more);
`--float-model` is what tools/convert_efficientnet.py writes, with an output named features.
Without them the cases that need them are left out, and it says so.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _personalize_anomaly import anomalies
from _personalize_camera import camera
from _personalize_million import million
from _personalize_speed import speed
from _personalize_suggest import suggestions
from _personalize_wake import wake_word
from _personalize_watch import new_wearer
from _report import Report, Row, main

import edgeml
from edgeml.evaluation import score_difference
from edgeml.personalize import Backbone, Softmax, Store, choose

Array = np.ndarray[Any, Any]
CACHE = Path(__file__).resolve().parent.parent / ".cache" / "shrink"
INT8 = "edgeml:efficientnet_lite0_int8.onnx"
SHOTS, WAYS, MOST = 5, 5, 15  # examples, classes, and queries of a class


@dataclass(frozen=True)
class Stamps:
    """int8 and fp32 features of the same pictures, and their folders."""

    int8: Array
    fp32: Array
    labels: Array


def run(report: Report, args: argparse.Namespace) -> None:
    """Run the parts whose name holds what --only says."""
    quick = args.quick
    parts: dict[str, Callable[[], None]] = {
        "pictures": lambda: pictures(report, args),
        "speed": lambda: speed(report, quick=quick),
        "million": lambda: million(report, quick=quick),
        "anomalies": lambda: anomalies(report, args.sources, quick=quick),
        "suggestions": lambda: suggestions(report, quick=quick),
        "camera": lambda: camera(report, quick=quick),
        "wake": lambda: wake_word(report, args.sources, quick=quick),
        "wearer": lambda: new_wearer(report, quick=quick),
        "killed": lambda: killed(report, 5 if quick else 200),
    }
    for name, part in parts.items():
        if not args.only or name in args.only.split(","):
            part()


def pictures(report: Report, args: argparse.Namespace) -> None:
    """Few shots of tuxpaint's stamps, and class after class."""
    stamps = load_stamps(args)
    if stamps is not None:
        few_shots(report, stamps, 20 if args.quick else 100)
        one_after_another(report, stamps, 5 if args.quick else 30)


def load_stamps(args: argparse.Namespace) -> Stamps | None:
    if not (args.sources.is_dir() and args.float_model.is_file()):
        print("pictures left out: they need --sources and --float-model", file=sys.stderr)
        return None
    files: dict[str, list[Path]] = {}
    for file in sorted(args.sources.rglob("*.png")):
        folder = file.parent.as_posix().partition("/stamps/")[2]
        if not folder or folder.startswith("symbols"):
            continue
        if not file.stem.endswith(("_mirror", "_flip")):
            files.setdefault(folder, []).append(file)
    labels = [f for f, own in files.items() if len(own) > SHOTS + 5 for _ in own]
    pictures = [p for own in files.values() if len(own) > SHOTS + 5 for p in map(on_white, own)]
    spec = {"size": [224, 224], "color": "RGB", "dtype": "float32", "type": "image",
            "mean": [127.0] * 3, "std": [128.0] * 3}  # fmt: skip
    made = []
    for backbone in (Backbone(INT8), Backbone(args.float_model, features="features",
                                              preprocess=spec)):  # fmt: skip
        made.append(np.stack([backbone(picture) for picture in pictures]))
        backbone.close()
    return Stamps(made[0], made[1], np.array(labels))


def on_white(file: Path) -> Array:
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image.dtype == np.uint16:
        image = (image // 257).astype(np.uint8)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 4:
        alpha = image[:, :, 3:] / 255
        image = (image[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    found: Array = image
    return found


def episodes(labels: Array, count: int) -> Iterator[tuple[Array, Array]]:
    """Yield indices of examples and of queries of five classes."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        chosen = rng.choice(np.unique(labels), WAYS, replace=False)
        rows = [rng.permutation(np.flatnonzero(labels == label)) for label in chosen]
        yield (np.concatenate([r[:SHOTS] for r in rows]),
               np.concatenate([r[SHOTS : SHOTS + MOST] for r in rows]))  # fmt: skip


def few_shots(report: Report, stamps: Stamps, count: int) -> None:
    from sklearn.linear_model import LogisticRegression

    ours, theirs = [], []
    for own, asked in episodes(stamps.labels, count):
        y, truth = stamps.labels[own], stamps.labels[asked]
        head, _ = choose("auto", {str(label): SHOTS for label in y})
        head.fit(stamps.int8[own], y)
        head.threshold = -1.0  # the peer turns nothing away, either
        ours.append(np.mean(np.array(head.predict(stamps.int8[asked])) == truth))
        peer = LogisticRegression(max_iter=1000).fit(stamps.fp32[own], y)
        theirs.append(np.mean(peer.predict(stamps.fp32[asked]) == truth))
    gap = score_difference(100 * np.array(ours), 100 * np.array(theirs))
    report.add(Row(
        "5-way 5-shot, tuxpaint, int8 features", "lower end of the gain over fp32", "points",
        "higher", ours=gap.low if gap.low is not None else gap.value,
        target=-1.0 if count >= 100 else None,  # fewer episodes show nothing so small
        target_on="ours", n=count,
        note=f"{np.mean(ours):.4f}, nothing turned away, against scikit-learn's logistic "
        f"regression on fp32 features {np.mean(theirs):.4f}; gain {gap} points",
    ))  # fmt: skip


def one_after_another(report: Report, stamps: Stamps, count: int) -> None:
    apart, together, most = [], [], 0
    budget = 1 << 19
    for own, asked in episodes(stamps.labels, count):
        x, y, truth = stamps.int8[own], stamps.labels[own], stamps.labels[asked]
        with tempfile.TemporaryDirectory() as folder, Store(folder, budget=budget) as store:
            for start in range(0, len(y), SHOTS):
                for row, label in zip(x[start : start + SHOTS], y[start:], strict=False):
                    store.add(label, row)
                kept = store.examples()
                if start:
                    head = Softmax().fit([e.features for e in kept], [e.label for e in kept])
                    if start + SHOTS < len(y):
                        store.accept(head.to_onnx().SerializeToString(), {})
            most = max(most, sum(p.stat().st_size for p in Path(folder).iterdir()))
        head.threshold = -1.0
        apart.append(np.mean(np.array(head.predict(stamps.int8[asked])) == truth))
        head = Softmax().fit(x, y)
        head.threshold = -1.0
        together.append(np.mean(np.array(head.predict(stamps.int8[asked])) == truth))
    gap = score_difference(100 * np.array(apart), 100 * np.array(together))
    report.add(Row(
        "five classes one after another", "gain over all at once, lower end", "points", "higher",
        ours=gap.low if gap.low is not None else gap.value, target=-2.0, target_on="ours",
        n=count, note=f"{np.mean(apart):.4f} against {np.mean(together):.4f}",
    ))  # fmt: skip
    report.add(Row("five classes one after another", "bytes of the store", "bytes", "lower",
                   ours=float(most), target=float(budget), target_on="ours", n=count))  # fmt: skip


def killed(report: Report, kills: int) -> None:
    """Kill a learner at random moments; count what was lost or broken."""
    rng, lost, broken, added = random.Random(0), 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        said: list[str] = []
        for _ in range(kills):
            said += killed_after(folder, rng.randrange(1, 14), rng.random() * 0.05)
            expected = {int(line.split()[1]) for line in said if line.startswith("added")}
            learned = any(line.startswith("accepted") for line in said)
            with Store(folder) as store:
                try:
                    store.check()
                except edgeml.EdgeMLError:
                    broken += 1
                lost += len(expected - {e.id for e in store.examples()})
                current = store.current()
                works = current is not None and hashlib.sha256(current[1]).hexdigest() == current[0]
                broken += learned and not works
            added = len(expected)
    report.add(Row("kill -9 while adding, training, accepting", "examples lost", "examples",
                   "lower", ours=lost, target=0, target_on="ours", n=kills,
                   note=f"of {added}"))  # fmt: skip
    report.add(Row("kill -9 while adding, training, accepting", "stores broken", "stores",
                   "lower", ours=broken, target=0, target_on="ours", n=kills))  # fmt: skip


def killed_after(folder: str, lines: int, seconds: float) -> list[str]:
    command = [sys.executable, str(Path(__file__).with_name("_personalize_killed.py")), folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        head = [process.stdout.readline() for _ in range(lines)]
        select.select([], [], [], seconds)
        process.kill()
        rest = process.communicate()[0]
    return (b"".join(head) + rest).decode().rpartition("\n")[0].splitlines()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", metavar="PART[,PART…]", help="such as pictures,wake,wearer")
    parser.add_argument("--sources", type=Path, default=CACHE / "sources", metavar="DIR",
                        help="packages with pictures and sounds")  # fmt: skip
    parser.add_argument("--float-model", type=Path, default=CACHE / "efficientnet_lite0.onnx",
                        metavar="FILE", help="EfficientNet-Lite0, fp32")  # fmt: skip


if __name__ == "__main__":
    main("personalize", ("onnxruntime", "numpy", "scikit-learn", "torch"), run, add_arguments)
