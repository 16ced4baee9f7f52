"""Every test of the streams checks the ledgers, and that no thread is left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgeml.streams import Pipeline, Stats


def assert_balanced(stats: Stats) -> None:
    for name, s in stats.stages.items():
        total = s.done + s.skipped + sum(s.dropped.values()) + s.failed + s.in_flight
        assert s.in_ == total, f"stage {name}: {s}"
    for name, e in stats.edges.items():
        assert e.put == e.got + sum(e.dropped.values()) + e.queued, f"edge {name}: {e}"


@pytest.fixture(autouse=True)
def ledgers_balance(monkeypatch: pytest.MonkeyPatch, no_thread_left: None) -> Iterator[None]:
    built: list[Pipeline] = []
    build = Pipeline._build

    def remember(self: Pipeline):
        built.append(self)
        return build(self)

    monkeypatch.setattr(Pipeline, "_build", remember)
    yield
    for pipeline in built:
        if pipeline._runner is not None:
            assert_balanced(pipeline.stats())
