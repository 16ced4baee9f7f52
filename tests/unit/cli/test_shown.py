"""What people see: lines, tables, the live view."""

from __future__ import annotations

import datetime
import logging
from typing import Any

import pytest
from rich.console import Console

from edgeml.cli._lines import describe, line_of
from edgeml.cli._output import human_bytes, print_table
from edgeml.cli._summary import causes, summary_of
from edgeml.cli._view import Rates, View
from edgeml.events import Event
from edgeml.streams import EdgeStats, Latency, SourceStats, StageStats, Stats

LATENCY = Latency(1.0, 2.0, 3.0)
STATS = Stats(
    elapsed=12.0,
    sources={"door": SourceStats("flowing", 120, 118, {"stale": 2}, 10.0, LATENCY, 0)},
    stages={"people": StageStats(118, 117, 0, {}, 1, 0, 117, 2, 31.0, 0.95)},
    edges={("door", "people"): EdgeStats(120, 118, {"stale": 2}, 3, 64, 0)},
    latency=LATENCY,
    loop_lag=None,
    events_lost=0,
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"count": 3, "counts": {"car": 1, "person": 2}, "detections": []}, "1 car, 2 person"),
        ({"count": 0, "counts": {}, "detections": []}, "nothing"),
        ({"label": "espresso", "score": 0.942, "top": []}, "espresso 94%"),
        ({"t": 21.53921, "open": True, "raw": [1, 2, 3, 4]}, "t 21.54, open yes, raw (4)"),
        (21.5, "21.5"),
        ("text", "text"),
    ],
)  # fmt: skip
def test_a_result_in_words(data: Any, words: str) -> None:
    assert describe(data) == words


def test_a_line_is_short_and_cannot_steer_the_terminal() -> None:
    time = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.UTC)
    assert line_of(Event("door", "people", time, 0, 1)) == "03:04:05.678  door people: 1"
    line = line_of(Event("door", "", time, 0, "\x1b[2J\n" + "x" * 200))
    assert line.startswith("03:04:05.678  door: ?[2J?xxx")
    assert len(line) == 100


def test_the_summary_has_the_documented_keys() -> None:
    assert summary_of(STATS) == {
        "type": "summary",
        "schema": 1,
        "sources": {
            "door": {
                "in": 120,
                "out": 118,
                "dropped": {"stale": 2},
                "fps": 10.0,
                "latency_ms": {"p50": 1.0, "p95": 2.0, "p99": 3.0},
            }
        },
    }
    assert summary_of(None)["sources"] == {}


def test_tables_and_sizes(capsys) -> None:
    print_table(("NAME", "N"), [("a", "5"), ("long", "123")])
    assert capsys.readouterr().out == "NAME    N\na       5\nlong  123\n"
    assert [human_bytes(n) for n in (12, 2048, 5 << 20, 3 << 40)] == [
        "12 B", "2.0 KiB", "5.0 MiB", "3072.0 GiB",
    ]  # fmt: skip
    assert causes({"stale": 2, "none": 0, "overflow": 1}) == "2 stale, 1 overflow"


def test_rates_are_those_of_the_last_moments() -> None:
    rates = Rates()
    assert rates.note("door", 0.0, 0) == 0.0
    assert rates.note("door", 1.0, 10) == 10.0
    for second in range(2, 10):
        rates.note("door", float(second), 10)
    assert rates.note("door", 10.0, 10) == 0.0


def test_the_view_shows_sources_steps_and_events() -> None:
    view = View("porch")
    view.events.append("03:04:05.678  door people: 1 person")
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(view.render(STATS))
    text = console.export_text()
    for expected in ("porch   12 s", "flowing", "2 stale", "3/64", "95%", "1 failed", "1 person"):
        assert expected in text


def test_the_log_goes_above_the_view_and_back(capsys) -> None:
    root = logging.getLogger()
    before = root.handlers
    with View("porch") as view:
        view.draw(STATS)
        logging.getLogger("edgeml.test").warning("the broker is away")
    assert root.handlers is before
    assert "WARNING edgeml.test: the broker is away" in capsys.readouterr().out
