"""A real broker: Debian's mosquitto on a free port of the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from edgeml.events import Broker
from edgeml.streams import Backoff, Sample


class Mosquitto:
    """A broker that can be killed and started again on the same port."""

    def __init__(self, folder: Path, *, port: int, config: str = "allow_anonymous true"):
        self.folder = folder
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.file = folder / f"mosquitto-{self.port}.conf"
        self.file.write_text(f"listener {self.port} 127.0.0.1\nuser root\n{config}\n")
        self.log = folder / f"mosquitto-{self.port}.log"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                ["mosquitto", "-c", str(self.file)], stdout=log, stderr=log
            )
        deadline = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, "mosquitto did not start"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def broker(self, **options: object) -> Broker:
        return Broker("127.0.0.1", self.port, **options)


@pytest.fixture
def mosquitto(tmp_path, free_port):
    """Make brokers: mosquitto(config=…), mosquitto(started=False)."""
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    made = []

    def make(*, started: bool = True, **options):
        made.append(Mosquitto(tmp_path, **{"port": free_port(), **options}))
        if started:
            made[-1].start()
        return made[-1]

    yield make
    for each in made:
        each.kill()


class Listener:
    """What a second client, Debian's own, receives.

    Attributes:
        messages: Topic and payload, in order.
        retained: What the broker had kept, by topic; complete when the listener is ready.
    """

    def __init__(self, process: asyncio.subprocess.Process):
        self.process = process
        self.messages: list[tuple[str, str]] = []
        self.retained: dict[str, str] = {}
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            kept, topic, payload = line.decode(errors="replace").rstrip("\n").split(" ", 2)
            self.messages.append((topic, payload))
            if kept == "1":
                self.retained[topic] = payload

    def of(self, topic: str) -> list[str]:
        return [payload for each, payload in self.messages if each == topic]

    async def close(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._task


@pytest.fixture
async def listen(until):
    """Subscribe with mosquitto_sub; ready when the returned listener is."""
    listeners = []

    async def start(port: int, topic: str = "#", *options: str) -> Listener:
        process = await asyncio.create_subprocess_exec(
            "mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-q", "1", "-F", "%r %t %p",
            "-t", topic, "-t", "listener/ready", *options,
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        listener = Listener(process)
        listeners.append(listener)
        deadline = time.monotonic() + 20
        while not listener.of("listener/ready"):
            assert time.monotonic() < deadline, "mosquitto_sub did not subscribe"
            await _publish(port, "listener/ready", "now")
        return listener

    yield start
    for each in listeners:
        await each.close()


async def _publish(port: int, topic: str, payload: str | bytes, *options: str) -> None:
    """Publish with mosquitto_pub."""
    process = await asyncio.create_subprocess_exec(
        "mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-q", "1",
        "-s" if payload else "-n", *options,
        stdin=asyncio.subprocess.PIPE,
    )  # fmt: skip
    await process.communicate(payload if isinstance(payload, bytes) else payload.encode())
    assert process.returncode == 0


@pytest.fixture
def publish():
    """Publish as another program: await publish(port, topic, payload, *options)."""
    return _publish


@pytest.fixture
def soon():
    """A backoff that does not keep the tests waiting."""
    return Backoff(initial=0.02, maximum=0.05)


@pytest.fixture
def numbers():
    """Make the samples n to m of a source."""

    def make(first, last, source="counter"):
        now = time.monotonic_ns()
        return [Sample({"n": n}, now, now, source, n) for n in range(first, last)]

    return make


@pytest.fixture
def balanced():
    """Whether a sink's ledger balances, to the message."""

    def check(sink):
        return sink.put == sink.published + sum(sink.dropped.values()) + sink.queued

    return check
