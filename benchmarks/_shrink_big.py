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
from _shrink_pictures import LITE0, MAX_DROP, NETWORKS, Network, Pictures, load_pictures

from edgeml.platform import cores
from edgeml.quantize import optimize, save, set_metadata
from edgeml.quantize._judge import Judge, Scores
from edgeml.quantize._measure import Timing, side_by_side
from edgeml.quantize._model import load
from edgeml.quantize._samples import Samples
from edgeml.quantize._session import open_model

FASTER, LESS = 1.05, 2.0  # one of the two is asked: speed, or a disagreement this much smaller
ROUNDS = 25
SMALL = 0.29
MINUTES = 5.0


@dataclass
class Rival:
    """What somebody made of a network, and how it did."""

    name: str
    model: Any
    scores: Scores
    speed: float = 0.0  # of the float model's

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
        # A classifier says one thing of a picture, a detector several: to tell rivals apart it
        # takes more pictures.
        judging = 1000 if network is LITE0 else 300
        counts = (60, 60) if args.quick else (200, judging)
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
        _against(report, network, ours, best, judge)


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
    timings = _in_turns([judge.session, *(open_model(r.model) for r in everyone)], judge)
    for rival, timing in zip(everyone, timings[1:], strict=True):
        rival.speed = timing.ratio


def _in_turns(sessions: list[Any], judge: Judge) -> list[Timing]:
    return side_by_side(sessions, list(judge.samples.feeds(range(8))), rounds=ROUNDS)


def _hardest(ours: Rival, rivals: dict[str, list[Rival]]) -> list[tuple[str, Rival]]:
    """Return the model of each tool that is the hardest for ours to beat."""
    return [
        (name, min(group, key=lambda r: max(_margins(ours, r, ours.speed / r.speed, True))))
        for name, group in rivals.items()
    ]


def _margins(ours: Rival, rival: Rival, ratio: float, as_fast: bool) -> tuple[float, float]:
    """Return how far above what is asked ours is, by speed and by disagreement; 1 is met."""
    no_worse = ours.disagreement <= rival.disagreement
    return ratio / FASTER if no_worse else 0.0, _less(ours, rival) / LESS if as_fast else 0.0


def _less(ours: Rival, rival: Rival) -> float:
    return rival.disagreement / max(ours.disagreement, 0.1)  # a tenth of a point stands for none


def _against(
    report: Report, network: Network, ours: Rival, best: tuple[str, Rival], judge: Judge
) -> None:
    """Add speed and disagreement; the target is on that by which ours is to be better."""
    tool, rival = best
    theirs, mine = _in_turns([open_model(rival.model), open_model(ours.model)], judge)
    by_speed, by_less = _margins(ours, rival, mine.ratio, mine.high >= 1)  # or noise at most
    gain = Scores(ours.scores.ours, rival.scores.ours, 0.0).difference()
    case, peer = f"{network.name} against {tool}", f"{tool} ({rival.name})"
    report.add(Row(
        case, "latency", "ms", "lower", mine.median, theirs.median, peer, mine.ratio,
        target=FASTER if by_speed >= 1 or by_less < 1 else None,
        n=ROUNDS, spread=(mine.low, mine.high), threads=cores(),
        note=f"{ours.speed:.2f} and {rival.speed:.2f} times as fast as float32",
    ))  # fmt: skip
    report.add(Row(
        case, "disagreement with float32", "%", "lower", ours.disagreement, rival.disagreement,
        peer, _less(ours, rival), target=LESS if by_less >= 1 or by_speed < 1 else None,
        n=len(ours.scores.ours),
        note=f"asked: half of it at the same speed, or no more at {FASTER} times the speed; ours "
        f"agrees {gain.value:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}] points more",
    ))  # fmt: skip


def _size(report: Report, network: Network, ours: Rival, given: Path) -> None:
    report.add(Row(
        f"{network.name}: size of the float32 file's", "size", "x", "lower",
        ours.model.ByteSize() / given.stat().st_size, target=SMALL, target_on="ours",
        note=f"{ours.model.ByteSize() / 1e6:.2f} MB",
    ))  # fmt: skip
