"""`edgeml run` under a service manager: what a real process tells a real Unix socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

APP = """\
schema = 1
[sources.watch]
type = "csv"
path = "edgeml:watch.csv"
pace = "realtime"
loop = true
"""
TASK = '[tasks.{0}]\ntype = "python"\nsource = "watch"\nfunction = "rules:{0}"\n'
RULES = """\
import threading
seen = 0
def count(sample):
    global seen
    seen += 1
    return seen
def hang(sample):
    count(sample)
    if seen == 3:
        threading.Event().wait()
    return seen
"""
EVERY_US = 400_000


class Manager:
    """The side of systemd: reads what services tell.

    Attributes:
        heard: The lines, in order.
    """

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.socket.settimeout(60)
        self.heard: list[str] = []
        self._pending: list[str] = []
        self.process: subprocess.Popen[str] | None = None

    def start(self, app: Path, **environment: str) -> subprocess.Popen[str]:
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "edgeml", "run", app, "--json"],
            env=os.environ | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        return self.process

    def hear(self, begin: str) -> str:
        """Return the next line that begins so; all before it are in `heard`."""
        while True:
            if not self._pending:
                self._pending = self.socket.recv(4096).decode().splitlines()
            line = self._pending.pop(0)
            self.heard.append(line)
            if line.startswith(begin):
                return line


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    made = Manager(str(tmp_path / "notify"))
    yield made
    made.socket.close()
    if made.process is not None:
        made.process.kill()
        made.process.communicate()


@pytest.fixture
def app(tmp_path: Path) -> Path:
    folder = tmp_path / "an app"
    folder.mkdir()
    (folder / "rules.py").write_text(RULES)
    (folder / "app.toml").write_text(APP + TASK.format("count"))
    return folder / "app.toml"


def test_ready_alive_and_stopping(manager, app, tmp_path) -> None:
    notify = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(EVERY_US)}
    process = manager.start(app, **notify)
    manager.hear("READY=1")
    assert all(line.startswith("STATUS=") for line in manager.heard[:-1])
    for _ in range(3):
        manager.hear("WATCHDOG=1")
    while "watch flowing" not in manager.hear("STATUS="):
        pass  # a busy machine may have held a step for as long as the watchdog looks
    process.send_signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    manager.hear("STATUS=")
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert manager.heard.count("READY=1") == manager.heard.count("STOPPING=1") == 1
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.socket.recv(4096)  # nothing after the end has begun


def test_a_stuck_step_silences_the_watchdog(manager, app, tmp_path) -> None:
    app.write_text(APP + TASK.format("hang"))
    notify = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(EVERY_US)}
    manager.start(app, **notify)
    manager.hear("READY=1")
    assert manager.hear("STATUS=hang") == "STATUS=hang is stuck: it holds an item and finishes none"
    before = len(manager.heard)
    for _ in range(6):  # two a period, so that systemd would have waited long enough
        manager.hear("STATUS=hang is stuck")
    assert "WATCHDOG=1" not in manager.heard[before:]


def test_a_step_that_blocks_the_loop_silences_the_watchdog(manager, app, tmp_path) -> None:
    (app.parent / "rules.py").write_text(
        "import threading\nasync def block(sample):\n"
        "    open('blocked', 'w').close()\n    threading.Event().wait()\n"
    )
    os.mkfifo(app.parent / "blocked")
    app.write_text(APP + TASK.format("block"))
    notify = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": str(EVERY_US)}
    manager.process = subprocess.Popen(
        [sys.executable, "-P", "-m", "edgeml", "run", app, "--json"], cwd=app.parent,
        env=os.environ | notify, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    (app.parent / "blocked").open().close()  # returns when the step has begun to block
    manager.socket.settimeout(3 * EVERY_US / 1e6)
    with pytest.raises(TimeoutError):
        manager.hear("WATCHDOG=1")


def test_a_source_that_cannot_be_opened_is_never_ready(manager, app, tmp_path) -> None:
    app.write_text(APP.replace("edgeml:watch.csv", "none.csv"))
    process = manager.start(app, NOTIFY_SOCKET=str(tmp_path / "notify"))
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "none.csv does not exist" in errors
    manager.hear("STOPPING=1")
    assert "READY=1" not in manager.heard


def test_a_manager_that_is_gone_is_no_error(app, tmp_path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "edgeml", "run", app, "--json", "--seconds", "0.3"],
        env=os.environ | {"NOTIFY_SOCKET": str(tmp_path / "nobody")},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0
    assert ended.stderr.count("systemd cannot be told how we are") == 1


def test_without_a_watchdog_only_ready_is_told_in_the_abstract_namespace_too(app) -> None:
    name = f"edgeml-{os.getpid()}"
    manager = Manager(f"\0{name}")
    try:
        process = manager.start(app, NOTIFY_SOCKET=f"@{name}")
        manager.hear("READY=1")
        process.send_signal(signal.SIGTERM)
        manager.hear("STOPPING=1")
        process.communicate(timeout=30)
    finally:
        manager.socket.close()
    assert process.returncode == 0
    assert "WATCHDOG=1" not in manager.heard


def test_no_usage_data_are_collected(tmp_path) -> None:
    (tmp_path / "app.toml").write_text(
        APP + '[tasks.moves]\ntype = "activity-recognizer"\nsource = "watch"\n'
    )
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / ".cache")}
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    ended = subprocess.run(
        [sys.executable, "-m", "edgeml", "run", "app.toml", "--json", "--seconds", "1"],
        env=environment | home, cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    # ONNX Runtime's wheel keeps what it means to send in a database below ~/.cache/Microsoft.
    assert not list(tmp_path.rglob("*Microsoft*"))
