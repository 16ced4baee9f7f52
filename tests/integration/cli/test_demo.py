"""`edgeml demo`: all three sources at once, through real models, published and received."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import jsonschema

from edgeml.events import schema

COMMAND = [sys.executable, "-m", "edgeml", "demo"]


def test_the_demo_streams_all_three_and_publishes() -> None:
    ended = subprocess.run(
        [*COMMAND, "--seconds", "4", "--json"], capture_output=True, text=True, timeout=100
    )
    assert ended.returncode == 0, ended.stderr
    *events, summary = map(json.loads, ended.stdout.splitlines())
    for event in events:
        jsonschema.validate(event, schema())
    sources = summary["sources"]
    assert set(sources) == {"street", "room", "watch"}
    by_task = {event["task"] for event in events}
    assert {"people", "scene", "voice", "activity"} <= by_task
    assert all(figures["in"] > 0 and figures["out"] > 0 for figures in sources.values())
    assert sum(figures["out"] for figures in sources.values()) == len(events)
    # The second client has received what was published.
    published = int(re.search(r"(\d+) messages published", ended.stderr)[1])
    received = [int(n) for n in re.findall(r"(\d+) on edgeml/demo/", ended.stderr)]
    assert published == len(events)
    assert 0 < sum(received) <= published


def test_ctrl_c_ends_the_demo_with_its_summary() -> None:
    process = subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "street" in first or "room" in first or "watch" in first
    assert "P50 MS" in rest
    assert "messages published to mqtt://127.0.0.1" in rest
