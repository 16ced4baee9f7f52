"""What goes wrong beside the broker: a link that is cut, code of the user's that raises."""

import asyncio
import contextlib
import itertools
import json
import socket
import threading

import pytest

import edgeml
from edgeml.errors import PublishError, SinkClosed
from edgeml.events import Broker, MqttSink, MqttSource
from edgeml.streams import Source


class Link:
    """A TCP connection to a broker that can be cut while the broker goes on."""

    def __init__(self, port):
        self.target = port
        self.writers = set()

    async def __aenter__(self):
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc):
        self.server.close()
        self.cut()
        await self.server.wait_closed()

    def cut(self):
        """Reset all connections, in both directions, with what is on its way."""
        for writer in self.writers:
            writer.transport.abort()

    async def _serve(self, reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        pair = {writer, back}
        self.writers |= pair
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, back))
                group.create_task(self._copy(there, writer))
        finally:
            self.writers -= pair

    async def _copy(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(512):
                writer.write(data)
                await writer.drain()
        writer.close()


async def test_a_link_that_is_cut_again_and_again_loses_nothing(
    mosquitto, listen, numbers, soon, until, balanced
):
    """Each message arrives, at least once; apart from repeats the order is kept."""
    server = mosquitto()
    listener = await listen(server.port)
    async with Link(server.port) as link:
        sink = MqttSink(Broker("127.0.0.1", link.port), backoff=soon, max_queue=5000)
        await sink.open()
        for part in range(5):
            await until(lambda: sink.state == "connected")
            goal = sink.published + 50
            for sample in numbers(part * 400, (part + 1) * 400):
                await sink.send(sample)
            await until(lambda: sink.published >= goal)  # noqa: B023
            link.cut()
            await until(lambda: sink.state == "reconnecting")
            assert balanced(sink)
        await until(lambda: sink.published == 2000)
        await sink.aclose(timeout=20)
    assert (sink.put, sink.published, sink.dropped) == (2000, 2000, {})
    await until(lambda: (listener.of("edgeml/availability") or [""])[-1] == "offline")
    received = [json.loads(p)["data"]["n"] for p in listener.of("edgeml/counter")]
    assert list(dict.fromkeys(received)) == list(range(2000))
    # After a cut the sink goes back by what was on its way, and no further.
    assert all(later > earlier - 20 for earlier, later in itertools.pairwise(received))


async def test_a_callback_that_raises_ends_the_pipeline_and_is_told(mosquitto, until, caplog):
    def on_state(state, reason):
        if state == "connected":
            raise RuntimeError("the lamp is broken")

    sink = MqttSink(mosquitto().broker(), on_state=on_state)
    await sink.open()
    await sink.send(1)
    await until(lambda: sink.state == "failed")
    assert "the lamp is broken" in sink.reason
    with pytest.raises(PublishError, match="the lamp is broken"):
        await sink.send(2)
    await sink.aclose()
    assert sink.dropped == {"unsent": 1}
    assert "publishing has failed" in caplog.text


async def test_a_callback_that_always_raises_is_told_too(mosquitto, until, caplog):
    sink = MqttSink(mosquitto().broker())
    await sink.open()
    sink.on_state = lambda state, reason: 1 // 0
    await until(lambda: "on_state has failed" in caplog.text)
    assert sink.state == "failed"
    with pytest.raises(PublishError, match="ZeroDivisionError"):
        await sink.send(1)
    sink.on_state = None
    await sink.aclose()


async def test_a_pipeline_that_is_refused_ends_with_the_reason(mosquitto, until):
    server = mosquitto(config="allow_anonymous false")
    gone = asyncio.Event()
    sink = MqttSink(
        server.broker(), on_refused="fail",
        on_state=lambda state, _: gone.set() if state == "refused" else None,
    )  # fmt: skip

    async def wait(number):
        if number > 1:
            await gone.wait()
        return number

    pipeline = Source.of([1, 2, 3, 4], name="s") | edgeml.stage(wait) | sink
    with pytest.raises(edgeml.errors.StageFailed, match="username and password") as caught:
        await pipeline.run()
    assert isinstance(caught.value.__cause__, PublishError)
    assert sink.state == "closed"
    assert sink.queued == 0


@pytest.mark.parametrize("there", [True, False])
async def test_a_cancelled_pipeline_leaves_no_task(
    mosquitto, until, balanced, no_thread_left, there
):
    server = mosquitto(started=there)
    before = asyncio.all_tasks()
    source = MqttSource("edgeml/availability", broker=server.broker(), payload="bytes")
    sink = MqttSink(server.broker(), prefix="copy")
    running = asyncio.create_task((source | sink).run())
    await until(lambda: sink.state == ("connected" if there else "reconnecting"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sink.state == "closed"
    assert balanced(sink)
    await until(lambda: asyncio.all_tasks() <= before)


async def test_a_closed_sink_is_not_opened_again(mosquitto, until):
    sink = MqttSink(mosquitto().broker())
    await sink.open()
    await sink.aclose()
    await sink.aclose()
    with pytest.raises(SinkClosed, match="make a new one"):
        await sink.open()


def test_a_name_server_that_is_silent_holds_up_no_end(monkeypatch):
    """Nor does it keep the program: asyncio.run waits for the threads of the loop's executor."""
    asked, answered = threading.Event(), threading.Event()

    def getaddrinfo(*args, **options):
        asked.set()
        answered.wait()
        raise socket.gaierror("no answer")

    async def main():
        sink = MqttSink("broker.invalid")
        await sink.open()
        await asyncio.to_thread(asked.wait)
        await sink.aclose(timeout=0)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    ended = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    ended.start()
    ended.join(20)
    held_up = ended.is_alive()
    answered.set()
    assert not held_up
