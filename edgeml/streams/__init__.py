"""Node's streams in asyncio's words: sources, stages and sinks in a pipeline."""

from edgeml.streams._backoff import Backoff
from edgeml.streams._blocking import BlockingSource
from edgeml.streams._chain import Chain, Composable
from edgeml.streams._join import join, merge
from edgeml.streams._operators import (
    Context,
    Operator,
    batch,
    debounce,
    filter,
    flat_map,
    map,
    take,
    tee,
    throttle,
    window,
)
from edgeml.streams._pipeline import Pipeline
from edgeml.streams._runner import Drop, StateChange
from edgeml.streams._sample import Clock, Sample
from edgeml.streams._sink import Sink
from edgeml.streams._source import Source
from edgeml.streams._stage import SKIP, Retry, Stage, stage
from edgeml.streams._stats import EdgeStats, Latency, LoopLag, SourceStats, StageStats, Stats
from edgeml.streams._workers import Workers

__all__ = [
    "SKIP",
    "Backoff",
    "BlockingSource",
    "Chain",
    "Clock",
    "Composable",
    "Context",
    "Drop",
    "EdgeStats",
    "Latency",
    "LoopLag",
    "Operator",
    "Pipeline",
    "Retry",
    "Sample",
    "Sink",
    "Source",
    "SourceStats",
    "Stage",
    "StageStats",
    "StateChange",
    "Stats",
    "Workers",
    "batch",
    "debounce",
    "filter",
    "flat_map",
    "join",
    "map",
    "merge",
    "stage",
    "take",
    "tee",
    "throttle",
    "window",
]
