"""What all benchmarks share: rows, rounds, and the report."""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Row:
    """One measured figure; `ratio` above 1 means that ours is better."""

    case: str
    metric: str
    unit: str
    better: str
    ours: float
    peer: float | None = None
    peer_name: str | None = None
    ratio: float | None = None
    target: float | None = None
    target_on: str = "ratio"
    met: bool | None = None
    n: int = 1
    spread: tuple[float, float] | None = None
    threads: int | None = None
    batch: int = 1
    note: str = ""


@dataclass
class Report:
    """Rows of one benchmark, printed as they come and written as JSON at the end."""

    name: str
    packages: Sequence[str]
    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> Row:
        """Work out `met`, keep the row and print it."""
        value = row.ratio if row.target_on == "ratio" else row.ours
        if row.target is not None and value is not None:
            upward = row.target_on == "ratio" or row.better == "higher"
            row.met = value >= row.target if upward else value <= row.target
        self.rows.append(row)
        against = f" vs {row.peer:.4g} {row.peer_name}" if row.peer is not None else ""
        ratio = f", ratio {row.ratio:.3f}" if row.ratio is not None else ""
        target = ""
        if row.target is not None:
            target = f" (target {row.target} on {row.target_on}: {'met' if row.met else 'MISSED'})"
        print(
            f"{row.case}: {row.metric} {row.ours:.4g} {row.unit}{against}{ratio}{target}"
            + (f"  [{row.note}]" if row.note else ""),
            flush=True,
        )
        return row

    def as_dict(self) -> dict[str, Any]:
        """Return the report with machine, date and versions."""
        return {
            "schema": 1,
            "name": self.name,
            "machine": machine(),
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "versions": {p: _version(p) for p in ("edgeml-runtime", *self.packages)},
            "rows": [asdict(row) for row in self.rows],
        }


def compare(
    report: Report,
    case: str,
    metric: str,
    unit: str,
    ours: Sequence[float],
    peer: Sequence[float],
    peer_name: str,
    *,
    better: str = "higher",
    target: float | None = None,
    **more: Any,
) -> Row:
    """Add a row for rounds that were measured in turn: the median of the paired ratios."""
    ratios = [o / p if better == "higher" else p / o for o, p in zip(ours, peer, strict=True)]
    quarters = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return report.add(
        Row(
            case, metric, unit, better,
            ours=statistics.median(ours),
            peer=statistics.median(peer),
            peer_name=peer_name,
            ratio=statistics.median(ratios),
            target=target,
            n=len(ratios),
            spread=(quarters[0], quarters[2]),
            **more,
        )
    )  # fmt: skip


def machine() -> str:
    """Describe this machine in one line."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "Model")):
                model = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Python {platform.python_version()}, {platform.system()}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main(
    name: str,
    packages: Sequence[str],
    run: Callable[[Report, argparse.Namespace], None],
    add_arguments: Callable[[argparse.ArgumentParser], object] | None = None,
) -> None:
    """Run a benchmark as a command: ``--quick``, ``--json FILE``."""
    parser = argparse.ArgumentParser(prog=f"benchmarks/{name}.py")
    parser.add_argument("--quick", action="store_true", help="under a minute, for a first look")
    parser.add_argument("--json", metavar="FILE", help="write the report there")
    if add_arguments is not None:
        add_arguments(parser)
    args = parser.parse_args()
    report = Report(name, packages)
    print(machine(), flush=True)
    run(report, args)
    if args.json:
        Path(args.json).write_text(json.dumps(report.as_dict(), indent=2) + "\n")
    missed = [row.case for row in report.rows if row.met is False]
    if missed:
        print("missed: " + "; ".join(missed), file=sys.stderr)
