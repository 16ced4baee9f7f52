"""The figures of a run: one JSON line for programs, a table for people."""

from __future__ import annotations

from typing import Any

from edgeml.cli._output import print_table
from edgeml.streams import Latency, Stats

SCHEMA = 1


def summary_of(stats: Stats | None) -> dict[str, Any]:
    """Return the summary line of a run; without stats, of one that ended before it began."""
    sources: dict[str, Any] = {}
    for name, source in (stats.sources if stats is not None else {}).items():
        sources[name] = {
            "in": source.in_,
            "out": source.out,
            "dropped": dict(source.dropped),
            "fps": round(source.fps, 3),
            "latency_ms": _percentiles(source.latency),
        }
    return {"type": "summary", "schema": SCHEMA, "sources": sources}


def _percentiles(latency: Latency) -> dict[str, float]:
    return {
        "p50": round(latency.p50, 3), "p95": round(latency.p95, 3), "p99": round(latency.p99, 3),
    }  # fmt: skip


def print_summary(stats: Stats, explained: str) -> None:
    """Print the figures of a run as a table, and what `Pipeline.explain` says of them."""
    print(f"\n{stats.elapsed:.1f} s")
    print_table(
        ("SOURCE", "IN", "OUT", "PER SECOND", "P50 MS", "P95 MS", "P99 MS", "DROPPED"),
        [
            (
                name, str(s.in_), str(s.out), f"{s.fps:.1f}", f"{s.latency.p50:.1f}",
                f"{s.latency.p95:.1f}", f"{s.latency.p99:.1f}", causes(s.dropped) or "none",
            )
            for name, s in stats.sources.items()
        ],
    )  # fmt: skip
    failed = {name: stage.failed for name, stage in stats.stages.items() if stage.failed}
    for name, n in failed.items():
        print(f"{name} failed with {n} item{'' if n == 1 else 's'}")
    print(f"\n{explained}")


def causes(dropped: Any) -> str:
    """Return counts by cause in words, such as ``"3 stale, 1 overflow"``."""
    return ", ".join(f"{n} {cause}" for cause, n in dropped.items() if n)
