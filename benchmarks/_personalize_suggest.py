"""What a label is worth when it is asked for: suggested pictures of digits against random ones."""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report, compare

from edgeml import ops
from edgeml.graph import Graph, to_onnx
from edgeml.personalize import Backbone, Learner, Suggestions, choose

Array = np.ndarray[Any, Any]
Labelled = tuple[Array, str]
FIRST, ROUNDS, EACH = 1, 2, 10  # pictures of each digit to begin with; rounds, and labels in each
SEEN, ASKED = 400, 600  # pictures that pass by, and those that are asked about


def suggestions(report: Report, *, quick: bool) -> None:
    """Add the row: accuracy after as many labels, suggested and random."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        print("left out: suggestions need scikit-learn", file=sys.stderr)
        return
    digits = load_digits()
    pictures = [(x.astype(np.float32), str(y))
                for x, y in zip(digits.data, digits.target, strict=True)]  # fmt: skip
    ours, peer, start = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        backbone = Backbone(pixels(Path(folder) / "pixels.onnx"))
        for seed in range(2 if quick else 20):
            rng = np.random.default_rng(seed)
            order = [pictures[i] for i in rng.permutation(len(pictures))]
            seen, asked = order[:SEEN], order[SEEN : SEEN + ASKED]
            before, after = labelled(backbone, seen, asked, None)
            start.append(before)
            ours.append(after)
            peer.append(labelled(backbone, seen, asked, rng)[1])
        backbone.close()
    case = f"{ROUNDS * EACH} labels more, where {FIRST} of each digit is known"
    compare(report, case, "accuracy", "", ours, peer, "as many random pictures",
            note=f"means {statistics.mean(ours):.3f} and {statistics.mean(peer):.3f}; "
            f"{statistics.mean(start):.3f} before; better in "
            f"{sum(a > b for a, b in zip(ours, peer, strict=True))} of {len(ours)}")  # fmt: skip


def pixels(file: Path) -> Path:
    """Write a backbone whose features are the pixels as they are."""
    graph = Graph()
    with graph:
        x = graph.input("pixels", np.float32, ("batch", 64))
        graph.outputs["features"] = ops.multiply(x, np.float32(1 / 16))
    file.write_bytes(to_onnx(graph).SerializeToString())
    return file


def labelled(
    backbone: Backbone, seen: list[Labelled], asked: list[Labelled], rng: Any
) -> tuple[float, float]:
    """Return the accuracy with the first labels, and with more; `rng` draws them, if given."""
    truth = {picture.tobytes(): label for picture, label in seen}
    with (
        tempfile.TemporaryDirectory() as folder,
        Learner(backbone, store=folder, duplicate=1.1) as learner,
    ):
        rest = []
        for picture, label in seen:
            if learner.counts().get(label, 0) < FIRST:
                learner.add(label, picture)
            else:
                rest.append((picture, label))
        before = after = accuracy(learner, asked)
        for _ in range(ROUNDS):
            if rng is None:
                pool = Suggestions(learner, size=len(rest), keep_samples=True)
                for picture, _ in rest:
                    pool(picture)
                for found in pool.suggest(EACH):
                    pool.label(found.id, truth[found.sample.tobytes()])
            else:
                for index in sorted(rng.choice(len(rest), EACH, replace=False), reverse=True):
                    picture, label = rest.pop(int(index))
                    learner.add(label, picture)
            after = accuracy(learner, asked)
        return before, after


def accuracy(learner: Learner, asked: list[Labelled]) -> float:
    """Return the share of right answers by a head that turns nothing away."""
    learner.accept(learner.train(), force=True)
    examples = learner.examples()
    head, _ = choose("auto", learner.counts())
    head.fit([e.features for e in examples], [e.label for e in examples])
    head.threshold = -1.0
    said = head.predict([learner.backbone(picture) for picture, _ in asked])
    return float(np.mean([a == label for a, (_, label) in zip(said, asked, strict=True)]))
