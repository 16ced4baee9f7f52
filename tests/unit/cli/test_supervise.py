from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from edgeml.app import load_app
from edgeml.cli._supervise import supervise

APP = """\
schema = 1
[sources.watch]
type = "csv"
path = "edgeml:watch.csv"
pace = "realtime"
loop = true
"""
HANG = '[tasks.hang]\ntype = "python"\nsource = "watch"\nfunction = "rules:hang"\n'


@pytest.fixture
def app(tmp_path):
    (tmp_path / "app.toml").write_text(APP)
    return load_app(tmp_path / "app.toml")


async def test_it_ends_after_some_seconds(app, no_thread_left) -> None:
    assert await supervise(app, seconds=0.2) is None
    watch = app.stats().sources["watch"]
    assert watch.in_ == watch.out > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_and_is_told(app, number) -> None:
    loop = asyncio.get_running_loop()
    before = signal.getsignal(number)
    kills = iter([os.kill])  # one signal, however many events come

    def on_event(_) -> None:
        for kill in kills:
            loop.call_soon_threadsafe(kill, os.getpid(), number)

    app.listen(on_event)
    assert await supervise(app, seconds=None) == number
    assert app.stats().sources["watch"].state == "closed"
    # Whoever called us has the signals back.
    assert signal.getsignal(number) in (before, signal.default_int_handler, signal.SIG_DFL)


async def test_what_does_not_drain_is_told_and_given_up(
    tmp_path, monkeypatch, caplog, no_thread_left
) -> None:
    monkeypatch.setattr("edgeml.cli._supervise._SOON", 0.05)
    hang = "import asyncio\nasync def hang(sample):\n    await asyncio.Event().wait()\n"
    (tmp_path / "rules.py").write_text(hang)
    (tmp_path / "app.toml").write_text(APP + HANG)
    app = load_app(tmp_path / "app.toml")
    with caplog.at_level(logging.WARNING, "edgeml.cli"):
        assert await supervise(app, seconds=0.1, grace=0.1) is None
    assert "waiting, 0.1 s at most, for what is on its way; Ctrl-C again" in caplog.text
    assert "did not arrive within 0.1 s and is given up" in caplog.text
    stats = app.stats()
    assert stats.stages["hang"].dropped == {"cancelled": 1}
