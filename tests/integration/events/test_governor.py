"""Steps of an app's governor as events: over a real broker, and to who listens in the program."""

from __future__ import annotations

import asyncio
import json
import threading

import pytest

from edgeml.app import load_app
from edgeml.events import schema

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

APP = """\
schema = 1
name = "porch"
[mqtt]
host = "127.0.0.1"
port = {port}
[governor]
root = "root"
limit = 85
interval = 0.01
dwell = 0.01
fps.watch = [500, 250]
[sources.watch]
type = "csv"
path = "walk.csv"
loop = true
"""


async def test_each_step_is_published_with_its_reason(
    tmp_path, monkeypatch, mosquitto, listen, until
) -> None:
    broker = mosquitto()
    heard = await listen(broker.port, "edgeml/porch/governor/#")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "walk.csv").write_text("t,x\n0.0,1\n0.1,2\n")
    zone = tmp_path / "root/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("84000\n")
    (tmp_path / "app.toml").write_text(APP.format(port=broker.port))
    app, seen, loop_thread = load_app("app.toml"), [], threading.get_ident()
    app.listen(
        lambda event: event.source == "governor" and seen.append((threading.get_ident(), event))
    )
    running = asyncio.create_task(app.run())
    await until(lambda: heard.of("edgeml/porch/governor/step"))
    (zone / "temp").write_text("50000\n")
    await until(lambda: len(heard.of("edgeml/porch/governor/step")) == 2)
    app.stop()
    await running

    events = [json.loads(payload) for payload in heard.of("edgeml/porch/governor/step")]
    for event in events:
        jsonschema.validate(event, schema())
    assert [event["data"] for event in events] == [
        {
            "level": 1, "old": 0, "reason": "cpu-thermal at 84.0 °C, throttles at 85 °C",
            "changes": ["watch: 500 -> 250 fps"],
        },
        {
            "level": 0, "old": 1, "reason": "cpu-thermal at 50.0 °C, throttles at 85 °C",
            "changes": ["watch: 250 -> 500 fps"],
        },
    ]  # fmt: skip
    assert [event.to_dict() for _, event in seen] == events
    assert loop_thread not in [thread for thread, _ in seen]  # a slow listener holds no loop
