"""A running app is taught over MQTT, through a real broker, and by the command line beside it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
import random
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgeml.app import load_app
from edgeml.cli._teach_local import Taught
from edgeml.errors import ConfigError, EdgeMLError

APP = """\
schema = 1
name = "porch"
[mqtt]
{broker}
[mqtt.commands]
topic = "{{prefix}}/teach"
{more}
[sources.watch]
type = "csv"
path = "walk.csv"
loop = true
[tasks.gestures]
type = "personal"
source = "watch"
model = "edgeml:activity_watch_int8.onnx"
store = "gestures"
method = "nearest-mean"
changes = true
"""
TEACH = "edgeml/porch/teach"
NUMBERS = itertools.count()


class Mosquitto:
    """Debian's broker, which can be killed and started again on the same port."""

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.config = folder / "mosquitto.conf"
        self.config.write_text(f"listener {self.port} 127.0.0.1\nuser root\nallow_anonymous true\n")

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["mosquitto", "-c", str(self.config)], stderr=subprocess.DEVNULL
        )
        while self.process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def mosquitto(tmp_path, free_port):
    if shutil.which("mosquitto") is None:
        pytest.skip("mosquitto is not installed (apt install mosquitto)")
    made = Mosquitto(tmp_path, free_port())
    made.start()
    yield made
    made.kill()


def write(folder: Path, broker: str, more: str = "") -> Path:
    """Write an app that replays a minute of a watch, shaken in two ways."""
    rng, rows = random.Random(0), ["t,ax,ay,az,gx,gy,gz"]
    for i in range(50 * 60):
        row = [rng.gauss(0, 0.3) for _ in range(6)]
        row[2 * (i // 500 % 2)] += 6 * math.sin(i / 8)
        rows.append(f"{i / 50}," + ",".join(f"{value:.3f}" for value in row))
    (folder / "walk.csv").write_text("\n".join(rows) + "\n")
    file = folder / "app.toml"
    file.write_text(APP.format(broker=broker, more=more))
    return file


@contextlib.asynccontextmanager
async def running(file: Path):
    app = load_app(file)
    task = asyncio.create_task(app.run())
    try:
        yield app
    finally:
        app.stop()
        async with asyncio.timeout(20):
            await task


class Client:
    """Sends commands, and reads the answers to each."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client

    async def do(self, payload: Any = None, **said: Any) -> dict[str, Any]:
        """Send a command; return its answer."""
        identifier = f"{next(NUMBERS)}"
        properties = Properties(PacketTypes.PUBLISH)
        properties.ResponseTopic = f"{TEACH}/answers/me"
        properties.CorrelationData = identifier.encode()
        text = json.dumps({"schema": 1, "id": identifier, **said}) if payload is None else payload
        self.steps: list[Any] = []
        await self.client.publish(TEACH, text, qos=1, properties=properties)
        async for message in self.client.messages:
            assert str(message.topic) == f"{TEACH}/answers/me"
            assert message.properties is not None
            if message.properties.CorrelationData != identifier.encode():
                continue
            answer = json.loads(message.payload)
            if answer["type"] == "answer":
                return answer
            self.steps.append(answer["step"])
        raise AssertionError


@contextlib.asynccontextmanager
async def client_of(app: Any, port: int, until: Any):
    await until(lambda: app._commands is not None and app._commands._client is not None)
    await until(lambda: any(source.state == "flowing" for source in app._sources))
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe(f"{TEACH}/answers/#", qos=1)
        yield Client(client)


async def test_an_app_is_taught_over_mqtt(mosquitto, tmp_path, until) -> None:
    file = write(tmp_path, f'host = "127.0.0.1"\nport = {mosquitto.port}')
    async with running(file) as app, client_of(app, mosquitto.port, until) as client:
        for label in ("a", "b"):
            collected = await client.do(command="collect", label=label, count=3, countdown=0.1,
                                        every=0)  # fmt: skip
            assert collected["ok"], collected
            assert len(collected["result"]["kept"]) == 3
            assert client.steps[0]["state"] == "countdown"
        trained = await client.do(command="train")
        assert trained["ok"], trained
        assert trained["result"]["report"]["method"] == "nearest-mean"
        accepted = await client.do(command="accept", force=True)
        assert accepted["result"]["version"] == trained["result"]["version"]
        status = await client.do(command="status", task="gestures")
        assert status["result"]["labels"] == ["a", "b", "unknown"]
        refused = await client.do(command="forget", label="a")
        assert refused["error"]["kind"] == "refused"
        for payload in (b"", b"\xff\xfe", b"[" * 3000, b"x" * 5000, b"{}"):
            answer = await client.do(payload)
            assert (answer["ok"], answer["id"]) == (False, "")
        again = await client.do(command="rollback")
        assert "no earlier version" in again["error"]["message"]
        # The command line, as another process, and through the app for what the app holds.
        with Taught(str(file), "") as taught:
            steps: list[Any] = []

            async def tell(step: Any) -> None:
                steps.append(step)

            wanted = {"label": "c", "count": 2, "countdown": 0, "every": 0}
            found = await taught.do("collect", wanted, tell)
            assert found["counts"] == {"a": 3, "b": 3, "c": 2}
            assert [step["state"] for step in steps if step["state"] == "kept"] == ["kept"] * 2
            with pytest.raises(EdgeMLError, match="the app: "):
                await taught.do("collect", {**wanted, "label": "\x07", "within": 1}, tell)


async def test_who_gives_up_waiting_ends_the_collecting(mosquitto, tmp_path, until) -> None:
    """As Ctrl-C in `edgeml teach` does: nothing more is recorded when nobody looks."""
    file = write(tmp_path, f'host = "127.0.0.1"\nport = {mosquitto.port}')
    async with running(file) as app:
        await until(lambda: app._commands is not None and app._commands._client is not None)
        with Taught(str(file), "") as taught:
            counting = asyncio.Event()

            async def tell(step: Any) -> None:
                counting.set()

            wanted = {"label": "c", "count": 9, "countdown": 30}
            waiting = asyncio.create_task(taught.do("collect", wanted, tell))
            await counting.wait()
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await until(lambda: app._commands._job is None)
            assert (await taught.do("status", {}, None))["counts"] == {}


async def test_the_source_of_an_app_that_takes_no_commands_is_not_touched(tmp_path, until) -> None:
    file = write(tmp_path, "embedded = true")
    async with running(file) as app:
        await until(lambda: any(source.state == "flowing" for source in app._sources))
        with Taught(str(file), "gestures") as taught:
            with pytest.raises(ConfigError, match="the app runs and holds the source of gestures"):
                await taught.do("collect", {"label": "c"}, None)
            assert (await taught.do("status", {}, None))["counts"] == {}


async def test_a_broker_that_speaks_only_mqtt_3_1_1(tmp_path, until) -> None:
    file = write(tmp_path, "embedded = true")
    async with running(file) as app:
        await until(lambda: app._commands is not None and app._commands._client is not None)
        await until(lambda: any(source.state == "flowing" for source in app._sources))
        assert app.sink is not None
        async with aiomqtt.Client("127.0.0.1", app.sink.broker.real_port) as client:
            await client.subscribe(f"{TEACH}/answers", qos=1)
            await client.publish(TEACH, '{"schema": 1, "id": "x", "command": "status"}', qos=1)
            answer = json.loads((await anext(aiter(client.messages))).payload)
            assert (answer["id"], answer["ok"]) == ("x", True)


async def test_commands_go_on_when_the_broker_comes_back(mosquitto, tmp_path, until) -> None:
    file = write(tmp_path, f'host = "127.0.0.1"\nport = {mosquitto.port}')
    async with running(file) as app:
        async with client_of(app, mosquitto.port, until) as client:
            assert (await client.do(command="status"))["ok"]
            mosquitto.kill()
            await until(lambda: app._commands._client is None)
            with contextlib.suppress(aiomqtt.MqttError):
                await client.client.publish("x", "y")
            mosquitto.start()
        async with client_of(app, mosquitto.port, until) as client:
            assert (await client.do(command="status"))["ok"]  # with MQTT 5, still
