"""The source against a real broker: filters, payloads that are none, a broker that goes away."""

import asyncio
import contextlib
import json

import pytest

import edgeml
from edgeml.errors import DeviceLost
from edgeml.events import Broker, MqttSink, MqttSource
from edgeml.streams import Source


@contextlib.asynccontextmanager
async def reading(source):
    """Read a source in the background; yields the growing list of samples."""
    samples = []

    async def read():
        async for sample in source:
            samples.append(sample)  # noqa: PERF401 - who waits looks at the list meanwhile

    task = asyncio.create_task(read())
    try:
        yield samples
    finally:
        task.cancel()
        await asyncio.wait([task])
        await source.aclose()


async def ready(publish, until, port, samples):
    """Wait until a source that reads ``probe`` too is subscribed."""
    n = 0
    async with asyncio.timeout(20):
        while not samples:
            n += 1
            await publish(port, "probe", str(n))
    await until(lambda: samples[-1].data == n)  # no probe comes late
    samples.clear()


async def test_json_of_the_wanted_topics_arrives(mosquitto, publish, until):
    port = mosquitto().port
    source = MqttSource("home/+/motion", "probe", broker=Broker("127.0.0.1", port), name="motion")
    async with reading(source) as samples:
        await ready(publish, until, port, samples)
        await publish(port, "home/hall/light", "1")
        await publish(port, "home/hall/motion", '{"on": true}')
        await publish(port, "home/attic/motion", "[1, 2]")
        await until(lambda: len(samples) == 2)
    assert [(s.meta["topic"], s.data) for s in samples] == [
        ("home/hall/motion", {"on": True}), ("home/attic/motion", [1, 2]),
    ]  # fmt: skip
    assert {s.source for s in samples} == {"motion"}
    assert all(s.t == s.arrived for s in samples)
    assert not any(s.meta["retained"] for s in samples)


async def test_a_kept_message_says_so_and_bytes_are_left_alone(mosquitto, publish, until):
    port = mosquitto().port
    await publish(port, "picture", b"\xff\xd8\x00", "-r")
    source = MqttSource("picture", broker=Broker("127.0.0.1", port), payload="bytes", qos=2)
    async with reading(source) as samples:
        await until(lambda: samples)
    assert samples[0].data == b"\xff\xd8\x00"
    assert samples[0].meta["retained"]


async def test_payloads_that_are_none_are_counted_and_left_out(mosquitto, publish, until, caplog):
    port = mosquitto().port
    source = MqttSource("#", broker=Broker("127.0.0.1", port), max_bytes=200_000)
    async with reading(source) as samples:
        await ready(publish, until, port, samples)
        bad = ["{", "", b"\xff\xfe", "[" * 100_000, '{"x": NaN}', "9" * 5000, "1 2"]
        bad.append('{"a": [' * 300 + "]}" * 300)  # can be read, but not by what calls itself
        for payload in bad:
            await publish(port, "x", payload)
        await publish(port, "x", "1" * 200_001)
        await publish(port, "x", json.dumps([[n] for n in range(300)]))  # wide, not deep
        await publish(port, "x", '"good"')
        await until(lambda: any(s.data == "good" for s in samples))
    assert [s.data for s in samples] == [[[n] for n in range(300)], "good"]
    assert source.dropped == {"malformed": len(bad), "too-large": 1}
    assert caplog.text.count("is left out (malformed)") == 1


async def test_it_comes_back_with_the_broker(mosquitto, publish, soon, until):
    server = mosquitto(started=False)
    source = MqttSource("#", broker=server.broker(), reconnect=soon)
    async with reading(source) as samples:
        await until(lambda: source.state == "reconnecting")
        server.start()
        await ready(publish, until, server.port, samples)
        server.kill()
        await until(lambda: source.state == "reconnecting")
        server.start()
        async with asyncio.timeout(20):
            while not samples:
                await publish(server.port, "again", "1")
    assert samples[0].meta["discontinuity"]
    assert source.reconnects >= 2


async def test_what_had_arrived_before_the_connection_broke_is_delivered(mosquitto, publish, until):
    """The loop is busy while messages and the end of the connection come in."""
    server = mosquitto()
    source = MqttSource("#", broker=server.broker(), reconnect=None)
    await publish(server.port, "first", "0", "-r")
    assert (await anext(source)).data == 0
    for n in range(1, 21):
        await publish(server.port, "more", str(n))
    await until(lambda: len(source._waiting) == 20)
    server.kill()
    await until(lambda: source._connection.lost.done())
    assert [(await anext(source)).data for _ in range(20)] == list(range(1, 21))
    with pytest.raises(DeviceLost, match="the connection broke"):
        await anext(source)


async def test_a_reader_that_stops_loses_the_oldest_and_counts_them(
    mosquitto, listen, numbers, until
):
    server = mosquitto()
    source = MqttSource("edgeml/#", broker=server.broker(), payload="bytes", reconnect=None)
    sink = MqttSink(server.broker(), max_queue=2000)
    await sink.open()
    await until(lambda: sink.state == "connected")
    await anext(source)  # online
    for sample in numbers(0, 1500):
        await sink.send(sample)
    await until(lambda: sum(source.dropped.values()) == 500)
    first = await anext(source)
    assert json.loads(first.data)["data"]["n"] == 500
    assert source.dropped == {"overflow": 500}
    await source.aclose()
    await sink.aclose()


async def test_a_source_and_a_sink_may_share_the_settings_with_a_client_id(
    mosquitto, numbers, until
):
    """A broker throws out a client when another of the same name comes."""
    broker = mosquitto().broker(client_id="porch")
    source = MqttSource("edgeml/counter", broker=broker, name="echo")
    sink = MqttSink(broker)
    async with reading(source) as samples:
        await until(lambda: source.state == "connecting" and source._connection)
        await sink.open()
        for sample in numbers(0, 20):
            await sink.send(sample)
        await until(lambda: len(samples) == 20)
        await sink.aclose()
    assert source.reconnects == 0


async def test_a_pipeline_from_mqtt_to_mqtt(mosquitto, listen, publish, until):
    server = mosquitto()
    listener = await listen(server.port, "out/#")
    doubled = edgeml.stage(inline=True)(lambda s: s.with_data({"twice": 2 * s.data}))
    source = MqttSource("in", broker=server.broker(), name="numbers")
    sink = MqttSink(server.broker(), prefix="out", task="double")
    pipeline = source | doubled | sink
    running = asyncio.create_task(pipeline.run())
    async with asyncio.timeout(20):
        while not listener.of("out/numbers/double"):
            await publish(server.port, "in", "21")
    await pipeline.drain()
    await running
    event = json.loads(listener.of("out/numbers/double")[0])
    assert (event["source"], event["task"], event["data"]) == ("numbers", "double", {"twice": 42})


async def test_a_thousand_there_and_back(mosquitto, numbers, until):
    server = mosquitto()
    source = MqttSource("edgeml/counter", "edgeml/availability", broker=server.broker(),
                        payload="bytes", keep="every")  # fmt: skip
    sink = MqttSink(server.broker())
    async with reading(source) as samples:
        await until(lambda: source._connection)
        await (Source.of(numbers(0, 1000), name="counter") | sink).run()
        await until(lambda: samples and samples[-1].data == b"offline")
    events = [json.loads(s.data) for s in samples if s.data[:1] == b"{"]
    assert [e["data"]["n"] for e in events] == list(range(1000))
    assert source.dropped == {}
