"""Apps run: on recorded sensor data, with the user's Python, stopped from outside."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgeml.app import App, load_app
from edgeml.errors import ConfigError, MediaError, StageFailed
from edgeml.events import Event, schema

WALK = "t,x,y\n" + "".join(f"{i / 100},{i},{-i}\n" for i in range(20))
RULES = """\
from edgeml import SKIP, Stage

def even(sample):
    return sample if sample.seq % 2 == 0 else SKIP

def total(sample):
    return {"total": sample.data["x"] + sample.data["y"]}

class Count(Stage):
    n = 0

    def __call__(self, sample):
        self.n += 1
        return self.n

def broken(sample):
    raise ValueError("I am broken")

not_callable = 3
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "walk.csv").write_text(WALK)
    (tmp_path / "rules.py").write_text(RULES)
    return tmp_path


def make(folder: Path, text: str) -> tuple[App, list[Event]]:
    file = folder / "app.toml"
    file.write_text("schema = 1\n" + text)
    app = load_app(file)
    seen: list[Event] = []
    app.listen(seen.append)
    return app, seen


WATCH = '[sources.watch]\ntype = "csv"\npath = "walk.csv"\n'


def python(name: str, source: str, function: str) -> str:
    return f'[tasks.{name}]\ntype = "python"\nsource = "{source}"\nfunction = "rules:{function}"\n'


async def test_a_source_without_a_task_reports_its_readings(folder, no_thread_left) -> None:
    app, seen = make(folder, WATCH)
    assert app.stats() is None
    assert app.explain() == ""
    await app.run()
    assert [event.data for event in seen[:2]] == [{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": -1.0}]
    assert {(event.source, event.task) for event in seen} == {("watch", "")}
    for event in seen:
        jsonschema.validate(event.to_dict(), schema())
    stats = app.stats()
    assert stats is not None
    assert (stats.sources["watch"].in_, stats.sources["watch"].out) == (20, 20)
    assert "watch delivers" in app.explain()


async def test_one_source_feeds_several_tasks_and_tasks_feed_tasks(folder) -> None:
    text = WATCH + python("even", "watch", "even") + python("sum", "even", "total")
    app, seen = make(folder, text + python("count", "watch", "Count"))
    await app.run()
    by_task: dict[str, list[Any]] = {}
    for event in seen:
        by_task.setdefault(event.task, []).append(event.data)
    assert by_task["even"] == [{"x": float(i), "y": float(-i)} for i in range(0, 20, 2)]
    assert by_task["sum"] == [{"total": 0.0}] * 10
    assert by_task["count"] == list(range(1, 21))
    assert "" not in by_task
    assert {event.source for event in seen} == {"watch"}


async def test_only_changes_are_reported_when_asked(folder) -> None:
    (folder / "rules.py").write_text("def half(sample): return sample.seq // 5 % 2 == 1")
    text = WATCH + python("half", "watch", "half") + "changes = true\n"
    app, seen = make(folder, text)
    await app.run()
    assert [event.data for event in seen] == [False, True, False, True]
    app, seen = make(folder, text + "heartbeat = 0.03\n")
    await app.run()
    assert len(seen) == 8
    app, _ = make(folder, text + "heartbeat = -1.0\n")
    with pytest.raises(ConfigError, match=r":10: tasks\.half\.heartbeat: .*heartbeat must be"):
        app.build()


async def test_stop_ends_a_run_from_any_thread(folder, no_thread_left) -> None:
    app, seen = make(folder, WATCH.replace("csv", "csv", 1) + 'pace = "realtime"\nloop = true\n')
    first = asyncio.Event()
    loop = asyncio.get_running_loop()
    app.listen(lambda event: loop.call_soon_threadsafe(first.set))
    running = asyncio.create_task(app.run())
    await asyncio.wait_for(first.wait(), 20)
    stopper = threading.Thread(target=app.stop)
    stopper.start()
    await asyncio.wait_for(running, 20)
    stopper.join()
    stats = app.stats()
    assert stats is not None
    watch = stats.sources["watch"]
    assert watch.in_ == watch.out == len(seen)
    assert watch.state == "closed"
    app.stop()


async def test_stop_before_the_run_is_remembered(folder) -> None:
    app, seen = make(folder, WATCH + "loop = true\n")
    app.stop()
    await asyncio.wait_for(app.run(), 20)
    assert seen == []


async def test_to_stop_an_app_that_ends_by_itself_is_no_error(folder) -> None:
    problems: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))

    class Beside:
        """What is still up when the pipeline has ended, as the broker of its own is."""

        def __init__(self, app: App) -> None:
            self.app = app

        async def __aenter__(self) -> None:
            pass

        async def __aexit__(self, *exc_info: object) -> None:
            self.app.stop()
            for _ in range(5):
                await asyncio.sleep(0)

    app, seen = make(folder, WATCH)
    app._embedded = Beside(app)  # type: ignore[assignment]
    await app.run()
    del app
    gc.collect()
    assert seen
    assert problems == []


async def test_a_failing_stage_ends_the_app_with_its_error(folder) -> None:
    app, _ = make(folder, WATCH + python("bad", "watch", "broken"))
    with pytest.raises(StageFailed, match=r"bad.*I am broken"):
        await app.run()


async def test_a_file_that_is_not_what_it_should_be_ends_the_app(folder) -> None:
    (folder / "walk.csv").write_text("a,b\n")
    app, _ = make(folder, WATCH)
    with pytest.raises(MediaError, match=r"walk\.csv has no column 't'"):
        await app.run()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WATCH + 'rate = -1.0\n', r"app\.toml:5: sources\.watch\.rate: .*rate must be positive"),
        (WATCH + "max_age = 0.0\n", r"app\.toml:5: sources\.watch\.max_age: max_age must be"),
        (WATCH + python("x", "watch", "nope"), r":8: tasks\.x\.function: .* no callable named"),
        (WATCH + python("x", "watch", "not_callable"), r"tasks\.x\.function: .* no callable named"),
        (WATCH + python("x", "watch", "a b"), r'tasks\.x\.function: .*expected "module:name"'),
        (
            WATCH + python("x", "watch", "y").replace("rules", "no_such_rules"),
            r":8: tasks\.x\.function: .*the module no_such_rules cannot be imported: Module",
        ),
        (
            WATCH + python("x", "watch", "y").replace("rules", "leaves"),
            r":8: tasks\.x\.function: .*the module leaves cannot be imported: SystemExit: 3",
        ),
        (WATCH + "read_timeout = 0\n", r"sources\.watch\.read_timeout: .*positive seconds"),
        (
            WATCH.replace('"walk.csv"', '"env:EDGEML_NO_SUCH"'),
            r"app\.toml:4: sources\.watch\.path: the environment variable EDGEML_NO_SUCH is",
        ),
    ],
)  # fmt: skip
def test_what_a_constructor_refuses_has_its_line(folder, text, message) -> None:
    (folder / "leaves.py").write_text("import sys\nsys.exit(3)\n")
    app, _ = make(folder, text)
    with pytest.raises(ConfigError, match=message):
        app.build()


BACK = '[mqtt]\nhost = "b"\n[sources.back]\ntype = "mqtt"\ntopics = ["a", "{}"]\n'
RULE = python("rule", "back", "even")


@pytest.mark.parametrize(
    ("topic", "task"),
    [("#", ""), ("edgeml/#", RULE), ("edgeml/app/+", ""), ("+/app/back/rule", RULE)],
)
def test_an_app_that_would_hear_itself_is_refused(folder, topic, task) -> None:
    app, _ = make(folder, BACK.format(topic) + task)
    with pytest.raises(ConfigError, match=r":6: sources\.back\.topics: .* without end"):
        app.build()


@pytest.mark.parametrize(
    ("topic", "task"), [("home/#", ""), ("edgeml/app/+", RULE), ("+/app/back/rule", "")]
)
def test_an_app_may_hear_others(folder, topic, task) -> None:
    app, _ = make(folder, BACK.format(topic) + task)
    app.build()


async def test_a_module_named_like_a_library_stays_the_apps_own(folder) -> None:
    (folder / "json.py").write_text("def one(sample): return 1")
    app, seen = make(folder, WATCH + python("x", "watch", "one").replace("rules", "json"))
    await app.run()
    assert seen[0].data == 1
    assert json.dumps(1) == "1"


async def test_results_reach_the_embedded_broker(folder, until) -> None:
    import aiomqtt

    text = '[mqtt]\nembedded = true\n[sources.back]\ntype = "mqtt"\ntopics = ["edgeml/app/watch"]\n'
    app, seen = make(folder, text + WATCH + 'pace = "realtime"\nloop = true\n')
    running = asyncio.create_task(app.run())
    # What the source `watch` publishes comes back through the source `back`.
    await until(lambda: any(event.source == "back" for event in seen))
    sink = app.sink
    assert sink is not None
    async with aiomqtt.Client(sink.broker.host, sink.broker.real_port) as client:
        await client.subscribe("edgeml/app/#")
        async for message in client.messages:
            if str(message.topic) == "edgeml/app/watch":
                jsonschema.validate(json.loads(message.payload), schema())
                break
    app.stop()
    await asyncio.wait_for(running, 20)
    back = next(event for event in seen if event.source == "back")
    assert back.data["source"] == "watch"
    assert sink.state == "closed"


def test_secrets_and_files_beside_the_app_are_found(folder, monkeypatch, caplog) -> None:
    monkeypatch.setenv("EDGEML_TEST_PASSWORD", "hunter2")
    (folder / "ca.pem").write_text("x")
    text = (
        '[mqtt]\nhost = "broker.local"\nusername = "me"\npassword = "env:EDGEML_TEST_PASSWORD"\n'
        'ca = "ca.pem"\nprefix = "home/{app}"\n'
    )
    app, _ = make(folder, text + WATCH)
    app.build()
    assert app.sink is not None
    broker = app.sink.broker
    assert (broker.password, broker.ca) == ("hunter2", str(folder / "ca.pem"))
    assert app.sink.prefix == "home/app"
    assert app.sink.device == "app"
    assert "hunter2" not in repr(app) + repr(app.config) + repr(broker) + caplog.text
