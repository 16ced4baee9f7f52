"""EfficientNet-Lite0 and NanoDet against ONNX Runtime's tool and NNCF."""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report, Row
from _shrink_baselines import nncf, runtime_default, runtime_flags
from _shrink_pictures import MAX_DROP, NETWORKS, Network, Pictures, load_pictures

from edgeml.evaluation import score_difference
from edgeml.platform import cores
from edgeml.quantize import optimize, save, set_metadata
from edgeml.quantize._judge import Judge, Scores
from edgeml.quantize._measure import Timing, side_by_side
from edgeml.quantize._model import load
from edgeml.quantize._samples import Samples
from edgeml.quantize._session import open_model

FASTER, LESS = 1.05, 2.0  # one of the two is asked: speed, or a disagreement this much smaller
SAME = 0.98  # of a speed, which noise is
SMALL = 0.29
MINUTES = 5.0


@dataclass
class Rival:
    """What somebody made of a network, and how it did."""

    name: str
    model: Any
    scores: Scores
    speed: float = 0.0  # of the float model's
    timing: Timing | None = None

    @property
    def disagreement(self) -> float:
        """Percent of the pictures' points in which it differs from the float model."""
        return self.scores.drop


def run(report: Report, args: argparse.Namespace) -> None:
    """Add the rows of both networks, of those whose files are there."""
    for network in NETWORKS.values():
        if args.only and args.only.lower() not in network.name.lower():
            continue
        source = args.networks[network.file]
        if not source.is_file():
            print(f"{network.name} left out: no {source} (see tools/README.md)", flush=True)
            continue
        counts = (60, 60) if args.quick else (200, 300)
        pictures = load_pictures(args.sources, network, *counts)
        with tempfile.TemporaryDirectory(prefix="edgeml-shrink-") as folder:
            _network(report, args, network, source, pictures, Path(folder))


def _network(
    report: Report, args: argparse.Namespace, network: Network, source: Path, pictures: Pictures,
    folder: Path,
) -> None:  # fmt: skip
    given = folder / network.file
    save(set_metadata(load(source), network.metadata), given)
    held_out = Samples(len(pictures.evaluation), lambda i: network.feed(pictures.evaluation[i]))
    judge = Judge(load(given), held_out, network.metric)
    ours = _ours(report, args, network, given, pictures.calibration, judge)
    rivals = _rivals(args, network, given, pictures.calibration, folder, judge)
    _time(ours, rivals, judge)
    _size(report, network, ours, given)
    for best in _hardest(ours, rivals):
        _against(report, network, ours, best)


def _ours(
    report: Report, args: argparse.Namespace, network: Network, given: Path, pictures: Any,
    judge: Judge,
) -> Rival:  # fmt: skip
    samples = Samples(len(pictures), lambda i: network.feed(pictures[i]))
    start = time.perf_counter()
    result = optimize(given, samples, metric=network.metric, max_drop=MAX_DROP)
    minutes = (time.perf_counter() - start) / 60
    chosen = result.report.to_dict()["chosen"]
    report.add(Row(
        f"{network.name}: optimize, {len(pictures)} pictures", "time", "min", "lower", minutes,
        target=None if args.quick else MINUTES, target_on="ours", threads=cores(),
        note=f"{result.verdict}: {chosen['name'] if chosen else result.report.to_dict()['why']}",
    ))  # fmt: skip
    return Rival("edgeml", result.model, _scores(judge, result.model))


def _scores(judge: Judge, model: Any) -> Scores:
    return judge.scores(model, np.arange(len(judge.samples)))


def _rivals(
    args: argparse.Namespace, network: Network, given: Path, pictures: Any, folder: Path,
    judge: Judge,
) -> dict[str, list[Rival]]:  # fmt: skip
    """Return what each tool made; a file is read and judged as soon as it is there."""

    def judged(name: str, file: Path) -> Rival:
        model = load(file)
        rival = Rival(name, model, _scores(judge, model))
        print(f"  {network.name}, {name}: {rival.disagreement:.2f} points lost", flush=True)
        return rival

    default = folder / "default.onnx"
    runtime_default(network, given, pictures, default)
    methods = 1 if args.quick else 4
    flags = runtime_flags(network, given, pictures, folder, methods=methods)
    found = {
        "ONNX Runtime's default": [judged("quantize_static, no options", default)],
        "ONNX Runtime's best flags": [judged(*made) for made in flags],
    }
    if not args.quick:
        others = [judged(*made) for made in nncf(given, pictures, folder)]
        if others:
            found["NNCF"] = others
    return found


def _time(ours: Rival, rivals: dict[str, list[Rival]], judge: Judge) -> None:
    """Time all in turns in this process: first the float model, which ratios are to."""
    everyone = [ours, *(rival for group in rivals.values() for rival in group)]
    sessions = [judge.session, *(open_model(rival.model) for rival in everyone)]
    timings = side_by_side(sessions, list(judge.samples.feeds(range(8))), rounds=25)
    for rival, timing in zip(everyone, timings[1:], strict=True):
        rival.speed, rival.timing = timing.ratio, timing


def _hardest(ours: Rival, rivals: dict[str, list[Rival]]) -> list[tuple[str, Rival]]:
    """Return the model of each tool that is the hardest for ours to beat."""
    return [
        (name, min(group, key=lambda rival: max(_margins(ours, rival))))
        for name, group in rivals.items()
    ]


def _margins(ours: Rival, rival: Rival) -> tuple[float, float]:
    """Return how far above what is asked ours is, by speed and by disagreement; 1 is met."""
    speed, less = _speed(ours, rival)[0], _less(ours, rival)
    no_worse = ours.disagreement <= rival.disagreement
    return speed / FASTER if no_worse else 0.0, less / LESS if speed >= SAME else 0.0


def _speed(ours: Rival, rival: Rival) -> tuple[float, float, float]:
    """Return how many times as fast ours is, round by round: median and quartiles."""
    assert ours.timing is not None
    assert rival.timing is not None
    ratios = np.divide(rival.timing.milliseconds, ours.timing.milliseconds)
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return float(middle), float(low), float(high)


def _less(ours: Rival, rival: Rival) -> float:
    return rival.disagreement / max(ours.disagreement, 1e-3)


def _against(report: Report, network: Network, ours: Rival, best: tuple[str, Rival]) -> None:
    """Add speed and disagreement; the target is on that by which ours is to be better."""
    tool, rival = best
    by_speed, by_less = _margins(ours, rival)
    gain = score_difference(ours.scores.ours * 100, rival.scores.ours * 100)
    interval = f"ours agrees {gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] points more"
    peer = f"{tool} ({rival.name})"
    ratio, low, high = _speed(ours, rival)
    assert ours.timing is not None
    assert rival.timing is not None
    report.add(Row(
        f"{network.name} against {tool}", "latency", "ms", "lower", ours.timing.median,
        rival.timing.median, peer, ratio,
        target=FASTER if by_speed >= 1 or by_less < 1 else None,
        n=len(ours.timing.milliseconds), spread=(low, high), threads=cores(),
        note=f"{ours.speed:.2f} and {rival.speed:.2f} times as fast as float32; {interval}",
    ))  # fmt: skip
    report.add(Row(
        f"{network.name} against {tool}", "disagreement with float32", "%", "lower",
        ours.disagreement, rival.disagreement, peer, _less(ours, rival),
        target=LESS if by_less >= 1 or by_speed < 1 else None, n=len(ours.scores.ours),
        note="half is asked at the same speed, or no more at 1.05 times the speed",
    ))  # fmt: skip


def _size(report: Report, network: Network, ours: Rival, given: Path) -> None:
    report.add(Row(
        f"{network.name}: size of the float32 file's", "size", "x", "lower",
        ours.model.ByteSize() / given.stat().st_size, target=SMALL, target_on="ours",
        note=f"{ours.model.ByteSize() / 1e6:.2f} MB",
    ))  # fmt: skip
