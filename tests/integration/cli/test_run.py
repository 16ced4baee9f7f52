"""The command line as a process: signals, readers that leave, kill -9, brokers that are away."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

from edgeml.events import schema

APP = """\
schema = 1
[sources.watch]
type = "csv"
path = "edgeml:watch.csv"
pace = "realtime"
loop = true
"""
COMMAND = [sys.executable, "-m", "edgeml"]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    file = tmp_path / "app.toml"
    file.write_text(APP)
    return file


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Kill what a test has left running."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def start(started: list[subprocess.Popen[str]], *arguments: str | Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def the_rest(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Return what is left to read after a readline, which may have taken more than a line.

    `communicate` would lose that.
    """
    assert process.stdout is not None
    assert process.stderr is not None
    read = process.stdout.read(), process.stderr.read()
    process.wait(30)
    return read


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60
    )


def check_lines(out: str) -> tuple[list[dict], dict]:
    """Check JSON lines; return the events and the summary."""
    *events, summary = map(json.loads, out.splitlines())
    for event in events:
        jsonschema.validate(event, schema())
    assert (summary["type"], summary["schema"]) == ("summary", 1)
    for figures in summary["sources"].values():
        assert set(figures) == {"in", "out", "dropped", "fps", "latency_ms"}
        assert set(figures["latency_ms"]) == {"p50", "p95", "p99"}
        assert all(type(figures[key]) is int for key in ("in", "out"))
        assert all(type(n) is int for n in figures["dropped"].values())
    return events, summary


def test_json_lines_end_with_the_summary(app) -> None:
    ended = run("run", app, "--seconds", "1", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    events, summary = check_lines(ended.stdout)
    watch = summary["sources"]["watch"]
    assert watch["in"] == watch["out"] == len(events) > 10
    assert {(event["source"], event["task"]) for event in events} == {("watch", "")}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_drains_and_prints_the_summary(app, started, number, status) -> None:
    process = start(started, "run", app, "--json")
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(number)
    rest, errors = the_rest(process)
    assert (process.returncode, errors) == (status, "")
    events, summary = check_lines(first + rest)
    assert summary["sources"]["watch"]["out"] == len(events)


def test_plain_lines_and_a_table_when_nothing_is_asked(app, started) -> None:
    process = start(started, "run", app)
    assert process.stdout is not None
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    rest, _ = the_rest(process)
    assert "watch: ax " in first
    assert "P50 MS" in rest
    assert "watch delivers" in rest
    assert "\x1b" not in rest


def test_a_second_signal_stops_at_once(tmp_path, started) -> None:
    (tmp_path / "rules.py").write_text(
        "import asyncio\n"
        "async def hang(sample):\n    await asyncio.Event().wait()\n"
        "def one(sample):\n    return 1\n"
    )
    file = tmp_path / "app.toml"
    task = '[tasks.{0}]\ntype = "python"\nsource = "watch"\nfunction = "rules:{0}"\n'
    file.write_text(APP + task.format("hang") + task.format("one"))
    process = start(started, "run", file, "--json", "-v")
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["data"] == 1
    process.send_signal(signal.SIGINT)
    while "Ctrl-C again stops at once" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    rest, _ = the_rest(process)
    assert process.returncode == 130
    assert json.loads(rest.splitlines()[-1])["type"] == "summary"


def test_a_killed_run_leaves_nothing_behind_and_runs_again(app, started, tmp_path) -> None:
    before = sorted(tmp_path.iterdir())
    process = start(started, "run", app, "--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=30)
    assert sorted(tmp_path.iterdir()) == before
    assert run("run", app, "--seconds", "0.5", "--json").returncode == 0


def test_a_reader_that_leaves_ends_the_run(app) -> None:
    shell = f"{sys.executable} -m edgeml run {app} --json | head -n 2; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert len(ended.stdout.splitlines()) == 2
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (APP.replace("path", "pth"), "app.toml:4: sources.watch.pth: unknown key; did you mean"),
        ("schema = 2\n", "app.toml:1: schema: this file has schema 2"),
        (APP.replace("edgeml:watch.csv", "none.csv"), "none.csv does not exist"),
        (
            APP + '[mqtt]\nhost = "x"\npassword = "env:EDGEML_NO_SUCH"\n',
            "app.toml:9: mqtt.password",
        ),
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_an_error_is_one_line(tmp_path, text, message, flags) -> None:
    (tmp_path / "app.toml").write_text(text)
    ended = run("run", tmp_path / "app.toml", *flags)
    assert ended.returncode == 1
    *warnings, line = ended.stderr.splitlines()
    assert line.startswith("edgeml: error: ")
    assert all(warning.startswith("WARNING edgeml.") for warning in warnings)
    assert message in line
    assert "Traceback" not in ended.stdout
    if flags and "does not exist" in message:
        check_lines(ended.stdout)


def test_a_broker_that_is_away_holds_nothing_up(app) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        app.write_text(APP + f'[mqtt]\nhost = "127.0.0.1"\nport = {port}\n')
        ended = run("run", app, "--seconds", "1", "--json")
    assert ended.returncode == 0
    events, summary = check_lines(ended.stdout)
    assert summary["sources"]["watch"]["out"] == len(events) > 10
    assert "Connection refused" in ended.stderr
    assert "messages were not sent" in ended.stderr


def test_doctor_asks_the_broker_of_an_app(app) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        app.write_text(APP + f'[mqtt]\nhost = "127.0.0.1"\nport = {unused.getsockname()[1]}\n')
        ended = run("doctor", app, "--json")
    assert ended.returncode == 1
    report = json.loads(ended.stdout)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert found[str(app)]["status"] == "ok"
    assert "Connection refused" in found["broker"]["found"]


def test_a_terminal_gets_the_live_view(app) -> None:
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [*COMMAND, "run", str(app), "--seconds", "2"], stdout=child, stderr=child, env=environment
    )
    os.close(child)
    shown = b""
    while True:
        try:
            shown += os.read(parent, 65536)
        except OSError:  # the other end is closed
            break
    os.close(parent)
    assert process.wait(30) == 0
    text = shown.decode()
    for expected in ("source", "p95 ms", "flowing", "events", "Ctrl-C stops", "P50 MS"):
        assert expected in text
    assert text.count("Ctrl-C stops") >= 4
