"""Anomalies of sensors, learned from normal readings alone, against scikit-learn's detectors.

All see the same windows. The peers get the readings as they are, and as a second chance the
features that ours makes of them. What tells is the area under the ROC curve, because the peers
have no threshold in alarms a day; ours is then tried at its own.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report, Row, compare

from edgeml.personalize import learn_normal
from edgeml.personalize._alarms import Timeline
from edgeml.personalize._normal import Scale
from edgeml.tasks import AnomalyDetector

Array = np.ndarray[Any, Any]
RATE, WINDOW, HOP = 50, 2.0, 1.0
PRESSURE = "135_UCR_Anomaly_InternalBleeding16"  # with aeon's package: an artery's pressure
BEATS = 80  # readings of a window there, about a beat


def anomalies(report: Report, sources: Path | None, *, quick: bool) -> None:
    """Add the rows of the watch, of the artery and of noise without anomalies."""
    watch(report, folds=1 if quick else 10)
    pressure(report, sources)
    false_alarms(report, rounds=2 if quick else 20)


def watch(report: Report, folds: int) -> None:
    """One exercise of nine people is normal; the tenth does it, and the others."""
    package = find_spec("seglearn")
    if package is None or package.origin is None:
        print("left out: anomalies on a watch need seglearn", file=sys.stderr)
        return
    # The file is a pickle; it comes from the package that was installed.
    data = np.load(Path(package.origin).parent / "data" / "watch_dataset.npy",
                   allow_pickle=True).item()  # fmt: skip
    people, exercises = sorted(set(data["subject"])), sorted(set(data["y"]))
    ours, peers = [], {}
    took = []
    for person in people[:folds]:
        for exercise in exercises:
            normal = [x for x, y, who in zip(data["X"], data["y"], data["subject"], strict=True)
                      if y == exercise and who != person]  # fmt: skip
            asked = [(x, y != exercise)
                     for x, y, who in zip(data["X"], data["y"], data["subject"], strict=True)
                     if who == person]  # fmt: skip
            start = time.perf_counter()
            model = learn_normal(normal, rate=RATE, window=WINDOW, hop=HOP)
            took.append(time.perf_counter() - start)
            x = np.concatenate([cut(r, 100, 50) for r in normal])
            windows = np.concatenate([cut(r, 100, 50) for r, _ in asked])
            truth = np.concatenate([np.full(len(cut(r, 100, 50)), odd) for r, odd in asked])
            ours.append(area(truth, scores_of(model, windows)))
            for name, scores in others(x, windows).items():
                peers.setdefault(name, []).append(area(truth, scores))
    best = max(peers, key=lambda name: np.mean(peers[name]))
    raw = max((n for n in peers if "readings" in n), key=lambda name: np.mean(peers[name]))
    case = "anomaly: another exercise, of somebody new"
    for name in dict.fromkeys((raw, best)):
        compare(report, case, "area under ROC, mean", "", ours, peers[name], name,
                note=f"means: ours {np.mean(ours):.4f}, "
                + ", ".join(f"{n} {np.mean(v):.4f}" for n, v in peers.items()))  # fmt: skip
    report.add(Row(case, "learning normal, with its test", "s", "lower",
                   ours=statistics.median(took), n=len(took)))  # fmt: skip


def pressure(report: Report, sources: Path | None) -> None:
    """A recording with one anomaly, labelled; the part before is said to be normal."""
    found = {} if sources is None else {
        part: next(sources.rglob(f"{PRESSURE}_{part}.csv"), None) for part in ("TRAIN", "TEST")
    }  # fmt: skip
    if None in found.values() or not found:
        print(f"left out: {PRESSURE}.csv is not in --sources (PyPI: aeon)", file=sys.stderr)
        return
    train, test = (np.loadtxt(file, delimiter=",", skiprows=1) for file in found.values() if file)
    test = test[len(train) :]  # the file repeats what is normal
    hop = 4
    model = learn_normal(train[:, 1], rate=1.0, window=BEATS, hop=hop, alarms_per_day=24)
    windows, truth = cut(test[:, 1:2], BEATS, hop), cut(test[:, 2:], BEATS, hop).max((1, 2)) > 0
    scores = scores_of(model, windows)
    ours = area(truth, scores)
    peers = {name: area(truth, s)
             for name, s in others(cut(train[:, 1:2], BEATS, hop), windows).items()}  # fmt: skip
    best = max(peers, key=lambda name: peers[name])
    line = Timeline(np.where(truth, -1.0, scores), np.arange(len(scores)) * float(hop),
                    np.zeros(len(scores)), hop, BEATS)  # fmt: skip
    hit = scores[truth].max() > model.report.threshold
    report.add(Row("anomaly: an artery's pressure, labelled", "area under ROC", "", "higher",
                   ours=ours, peer=peers[best], peer_name=best, ratio=ours / peers[best],
                   n=len(windows),
                   note=f"{'found' if hit else 'MISSED'} at its own threshold, with "
                   f"{len(line.peaks(model.report.threshold))} false alarms; "
                   + ", ".join(f"{n} {v:.3f}" for n, v in peers.items())))  # fmt: skip


def false_alarms(report: Report, rounds: int) -> None:
    """Learn from an hour of noise with a memory; count alarms in four more."""
    from scipy.signal import lfilter

    asked, rate, found = 48.0, 10, []
    for seed in range(rounds):
        noise = np.random.default_rng(seed).standard_t(4, (rate * 3600 * 5, 2))
        values = lfilter([1.0], [1.0, -0.8], noise, axis=0)
        model = learn_normal(values[: rate * 3600], rate=rate, window=2.0, alarms_per_day=asked)
        scores = scores_of(model, cut(values[rate * 3600 :], 2 * rate, rate))
        line = Timeline(scores, np.arange(float(len(scores))), np.zeros(len(scores)), 1.0, 2.0)
        found.append(len(line.peaks(model.report.threshold)) * 86400 / line.seconds)
    quarters = statistics.quantiles(found, n=4)
    report.add(Row("anomaly: nothing but noise, heavy-tailed", f"alarms a day, {asked:g} asked",
                   "alarms", "lower", ours=float(np.mean(found)), target=1.5 * asked,
                   target_on="ours", n=rounds, spread=(quarters[0], quarters[2]),
                   note="learned from one hour, counted in four others"))  # fmt: skip


def cut(values: Array, length: int, hop: int) -> Array:
    """Return windows (n, readings, channels)."""
    view = np.lib.stride_tricks.sliding_window_view(values, length, axis=0)[::hop]
    return np.ascontiguousarray(view.transpose(0, 2, 1), np.float32)


def scores_of(model: Any, windows: Array) -> Array:
    detector = AnomalyDetector(model)
    detector.open()
    parts = [windows[i : i + 1000] for i in range(0, len(windows), 1000)]
    scores = [detector.session.run({"readings": part})["score"] for part in parts]
    detector.aclose()
    return np.concatenate(scores)


def others(normal: Array, asked: Array) -> dict[str, Array]:
    """Return the scores of scikit-learn's detectors."""
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor

    scale = Scale.of(normal)
    kinds: Sequence[tuple[str, Array, Array]] = (
        ("readings", normal, asked), ("our features", scale(normal), scale(asked)),
    )  # fmt: skip
    found = {}
    for kind, x, y in kinds:
        a, b = x.reshape(len(x), -1), y.reshape(len(y), -1)
        found[f"IsolationForest, {kind}"] = -IsolationForest(random_state=0).fit(a).score_samples(b)
        found[f"LocalOutlierFactor, {kind}"] = -LocalOutlierFactor(novelty=True).fit(
            a).score_samples(b)  # fmt: skip
    return found


def area(truth: Array, scores: Array) -> float:
    """Return the area under the ROC curve."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(truth, scores))
