"""Figures of a pipeline, and what they mean in a sentence."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeml.streams._counters import Counters, Histogram, add_to
from edgeml.streams._edge import Edge
from edgeml.streams._nodes import SourceNode
from edgeml.streams._runner import Runner


@dataclass(frozen=True)
class Latency:
    """Percentiles of a duration, ms."""

    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, histogram: Histogram) -> Latency:
        """Return the percentiles of a histogram of ns."""
        p50, p95, p99 = (histogram.percentile(q) / 1e6 for q in (50, 95, 99))
        return cls(p50, p95, p99)


@dataclass(frozen=True)
class SourceStats:
    """Figures of one source.

    Attributes:
        state: ``"flowing"``, ``"reconnecting"`` …
        in_: Items that arrived.
        out: Items of this source that reached an end or left through a sink.
        dropped: Items lost by cause, in the driver (before they arrived) and in queues.
        fps: Mean arrivals a second.
        latency: From arrival to the end, ms.
        reconnects: How often the connection was lost.
    """

    state: str
    in_: int
    out: int
    dropped: Mapping[str, int]
    fps: float
    latency: Latency
    reconnects: int


@dataclass(frozen=True)
class StageStats:
    """The ledger of a stage: ``in_ == done + skipped + dropped + failed + in_flight``.

    Attributes:
        in_: Items that came in.
        done: Items that were processed.
        skipped: Items that ended here on purpose.
        dropped: Items that were lost here, by cause.
        failed: Items whose processing raised.
        in_flight: Items in work now.
        emitted: Items that went out.
        concurrency: Items that may be in work at once.
        mean_ms: Mean time of one item, ms.
        busy: Share of the run in which the stage worked, 0 to 1, of all its concurrency.
    """

    in_: int
    done: int
    skipped: int
    dropped: Mapping[str, int]
    failed: int
    in_flight: int
    emitted: int
    concurrency: int
    mean_ms: float
    busy: float


@dataclass(frozen=True)
class EdgeStats:
    """The ledger of a queue: ``put == got + dropped + queued``."""

    put: int
    got: int
    dropped: Mapping[str, int]
    queued: int
    capacity: int
    bytes: int


@dataclass(frozen=True)
class LoopLag:
    """How late the event loop was, ms, and the longest block by stage, ms."""

    p50: float
    p99: float
    blockers: Mapping[str, float]


@dataclass(frozen=True)
class Stats:
    """Figures of a pipeline, from its start to now or to its end.

    Attributes:
        elapsed: Seconds.
        sources: By name.
        stages: Stages, operators and sinks by name.
        edges: By the names of the steps on both sides.
        latency: From arrival to the end, all sources together, ms.
        loop_lag: None when the guard is off.
        events_lost: Events that listeners were too slow for.
    """

    elapsed: float
    sources: Mapping[str, SourceStats]
    stages: Mapping[str, StageStats]
    edges: Mapping[tuple[str, str], EdgeStats]
    latency: Latency
    loop_lag: LoopLag | None
    events_lost: int


def stats_of(runner: Runner, events_lost: int = 0) -> Stats:
    """Read the ledgers."""
    elapsed = runner.took if runner.took is not None else time.monotonic() - runner.began
    sources = {
        node.name: _source_stats(runner, node)
        for node in runner.nodes
        if isinstance(node, SourceNode)
    }
    stages = {
        counters.name: _stage_stats(counters, elapsed)
        for node in runner.nodes
        for counters in node.counters
    }
    edges = {(e.origin, e.target): _edge_stats(e) for e in runner.edges}
    lag = None
    if runner.lag is not None:
        p50, p99 = (runner.lag.lags.percentile(q) / 1e6 for q in (50, 99))
        lag = LoopLag(p50, p99, {k: v * 1e3 for k, v in runner.lag.blockers.items()})
    return Stats(elapsed, sources, stages, edges, Latency.of(runner.latency), lag, events_lost)


def _source_stats(runner: Runner, node: SourceNode) -> SourceStats:
    ledger = runner.sources[node.name]
    dropped = dict(ledger.dropped)
    for cause, n in node.source.dropped.items():
        add_to(dropped, cause, n)
    return SourceStats(
        state=node.source.state,
        in_=ledger.in_,
        out=ledger.out,
        dropped=dropped,
        fps=ledger.rate(),
        latency=Latency.of(ledger.latency),
        reconnects=node.source.reconnects,
    )


def _stage_stats(counters: Counters, elapsed: float) -> StageStats:
    calls = counters.done + counters.skipped + counters.failed
    return StageStats(
        in_=counters.in_,
        done=counters.done,
        skipped=counters.skipped,
        dropped=dict(counters.dropped),
        failed=counters.failed,
        in_flight=counters.in_flight,
        emitted=counters.emitted,
        concurrency=counters.concurrency,
        mean_ms=counters.busy / calls / 1e6 if calls else 0.0,
        busy=counters.busy / 1e9 / elapsed / counters.concurrency if elapsed else 0.0,
    )


def _edge_stats(edge: Edge) -> EdgeStats:
    return EdgeStats(edge.put_, edge.got, dict(edge.dropped), len(edge), edge.capacity, edge.bytes)


def explain(stats: Stats) -> str:
    """Name the bottleneck, what was lost and why, and what would help."""
    if not any(s.in_ for s in stats.sources.values()):
        waiting = ", ".join(f"{n} is {s.state}" for n, s in stats.sources.items())
        return f"Nothing has arrived yet: {waiting or 'there is no source'}."
    sentences = [_bottleneck(stats)]
    for name, source in stats.sources.items():
        # What was on its way when the pipeline was ended was not lost to load.
        lost = {c: n for c, n in source.dropped.items() if c not in ("ended", "cancelled")}
        if lost:
            causes = ", ".join(f"{n} {c}" for c, n in lost.items())
            # No share of those that arrived: the driver may have lost some before.
            total = sum(lost.values())
            sentences.append(f"{name} lost {total} ({causes}); {source.in_} arrived.")
        if source.state == "reconnecting":
            sentences.append(f"{name} is reconnecting.")
    for name, stage in stats.stages.items():
        if stage.failed:
            sentences.append(f"{name} failed with {stage.failed} of {stage.in_} items.")
    if stats.loop_lag is not None:
        for name, ms in stats.loop_lag.blockers.items():
            sentences.append(f"{name} has blocked the event loop for up to {ms:.0f} ms.")
    return " ".join(sentences)


def _bottleneck(stats: Stats) -> str:
    worked = {n: s for n, s in stats.stages.items() if s.done + s.failed + s.skipped}
    busiest = max(worked, key=lambda n: worked[n].busy, default=None)
    rates = ", ".join(f"{n} delivers {s.fps:.1f}/s" for n, s in stats.sources.items() if s.in_)
    if stuck := [n for n, s in stats.stages.items() if s.in_ and n not in worked]:
        return f"{', '.join(stuck)} took what came and finished none of it; {rates}."
    if busiest is None or worked[busiest].busy < 0.7:
        share = "" if busiest is None else f" ({busiest}, the busiest: {_share(worked, busiest)})"
        return f"The sources set the pace: {rates}; the stages keep up{share}."
    stage = worked[busiest]
    most = stage.concurrency / stage.mean_ms * 1e3 if stage.mean_ms else float("inf")
    how = f"{stage.mean_ms:.1f} ms an item"
    if stage.concurrency > 1:
        how += f", {stage.concurrency} at once"
    return (
        f"{busiest} is the bottleneck: {how}, so at most {most:.1f}/s, and it works "
        f"{_share(worked, busiest)} of the time; {rates}. A smaller or quantized model, less work "
        f"an item, or a larger concurrency= would help."
    )


def _share(stages: Mapping[str, Any], name: str) -> str:
    return f"{min(stages[name].busy, 1.0):.0%}"
