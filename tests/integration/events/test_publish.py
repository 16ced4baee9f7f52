"""The sink against a real broker: order, retained state, the last will, an absent broker."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

import edgeml
from edgeml.errors import PublishError, SinkClosed
from edgeml.events import MqttSink, schema
from edgeml.streams import Source

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")


def numbers_of(payloads):
    return [json.loads(payload)["data"]["n"] for payload in payloads]


async def test_events_arrive_in_order_exactly_once(mosquitto, listen, numbers, until, balanced):
    server = mosquitto()
    listener = await listen(server.port)
    sink = MqttSink(server.broker(), prefix="home", task="count")
    await (Source.of(numbers(0, 1000), name="counter") | sink).run()
    assert (sink.state, sink.published, sink.dropped) == ("closed", 1000, {})
    assert balanced(sink)
    await until(lambda: len(listener.of("home/counter/count")) >= 1000)
    payloads = listener.of("home/counter/count")
    assert numbers_of(payloads) == list(range(1000))
    for payload in payloads[:10]:
        jsonschema.validate(json.loads(payload), schema())
    await until(lambda: listener.of("home/availability") == ["online", "offline"])


async def test_the_broker_keeps_the_last_state(mosquitto, listen, numbers):
    server = mosquitto()
    sink = MqttSink(server.broker(), prefix="home", retain=True)
    await (Source.of(numbers(0, 3), name="counter") | sink).run()
    late = await listen(server.port)
    assert numbers_of([late.retained["home/counter"]]) == [2]
    assert late.retained["home/availability"] == "offline"


async def test_one_sink_takes_results_of_several_tasks_and_pictures(mosquitto, listen, until):
    server = mosquitto()
    listener = await listen(server.port)
    sink = MqttSink(server.broker(), prefix="p", task="people")
    await sink.open()
    await sink.send(edgeml.Sample({"count": 1}, 0, 0, "door"))
    await sink.send(edgeml.Sample(b"\xff\xd8jpeg", 0, 0, "door", meta={"task": "snapshot"}))
    await sink.send(21.5)
    await sink.aclose()
    await until(lambda: len(listener.of("p/availability")) == 2)
    topics = [topic for topic, _ in listener.messages if topic.startswith("p/")]
    assert topics == ["p/availability", "p/door/people", "p/door/snapshot", "p/people",
                      "p/availability"]  # fmt: skip
    assert json.loads(listener.of("p/people")[0])["data"] == 21.5


PUBLISHER = """
import asyncio, sys
from edgeml.events import Broker, MqttSink

async def main():
    sink = MqttSink(Broker("127.0.0.1", int(sys.argv[1]), keepalive=5), prefix="home")
    await sink.open()
    await sink.send({"n": 0})
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_broker_publishes_the_last_will_of_a_killed_program(mosquitto, listen, until):
    server = mosquitto()
    listener = await listen(server.port)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PUBLISHER, str(server.port), cwd=Path(edgeml.__file__).parents[1]
    )
    try:
        await until(lambda: listener.of("home"))
        process.send_signal(signal.SIGKILL)
        await until(lambda: listener.of("home/availability") == ["online", "offline"])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    late = await listen(server.port)
    assert late.retained["home/availability"] == "offline"


async def test_a_broker_that_comes_later_gets_everything(
    mosquitto, listen, numbers, soon, until, balanced, caplog
):
    server = mosquitto(started=False)
    sink = MqttSink(server.broker(), backoff=soon)
    await sink.open()
    for sample in numbers(0, 200):
        await sink.send(sample)
    await until(lambda: sink.state == "reconnecting")
    assert sink.queued == 200
    assert "Connection refused" in sink.reason
    server.start()
    listener = await listen(server.port)
    await until(lambda: sink.published == 200)
    assert balanced(sink)
    await sink.aclose()
    late = listener.of("edgeml/counter")
    assert numbers_of(late) == list(range(200))[200 - len(late) :]
    warnings = [r for r in caplog.records if r.levelname == "WARNING" and r.name == "edgeml.events"]
    assert len(warnings) == 1, "each outage is told once"


async def test_a_broker_that_dies_and_returns_loses_nothing(
    mosquitto, listen, numbers, soon, until, balanced
):
    server = mosquitto(config="allow_anonymous true\nautosave_interval 1")
    sink = MqttSink(server.broker(), backoff=soon)
    states = []
    sink.on_state = lambda state, reason: states.append(state)
    await sink.open()
    first = await listen(server.port)
    for sample in numbers(0, 100):
        await sink.send(sample)
    await until(lambda: sink.published == 100)
    await until(lambda: len(first.of("edgeml/counter")) == 100)
    server.kill()
    await first.close()
    await until(lambda: sink.state == "reconnecting")
    for sample in numbers(100, 300):
        await sink.send(sample)
    assert balanced(sink)
    server.start()
    await until(lambda: sink.published == 300)
    await sink.aclose()
    assert sink.dropped == {}
    assert balanced(sink)
    assert states == ["connecting", "connected", "reconnecting", "connected", "closed"]


async def test_a_broker_killed_in_the_middle_gets_each_message_at_least_once(
    mosquitto, listen, numbers, soon, until, balanced
):
    """The broker dies with messages on their way: they are sent again, in order."""
    server = mosquitto()
    sink = MqttSink(server.broker(), backoff=soon, max_queue=5000)
    await sink.open()
    received = []
    await until(lambda: sink.state == "connected")
    for part in range(4):
        listener = await listen(server.port)
        for sample in numbers(part * 500, (part + 1) * 500):
            await sink.send(sample)
        goal = sink.published + 100
        await until(lambda: sink.published >= goal)  # noqa: B023
        server.kill()
        await listener.close()
        received.append(numbers_of(listener.of("edgeml/counter")))
        await until(lambda: sink.state == "reconnecting")
        assert balanced(sink)
        server.start()
        await until(lambda: sink.state == "connected")
    await until(lambda: sink.published == 2000)
    await sink.aclose()
    assert sink.dropped == {}
    assert balanced(sink)
    for each in received:
        assert each == sorted(set(each))


async def test_a_full_queue_loses_the_oldest_and_says_so(
    mosquitto, listen, numbers, soon, until, balanced, caplog
):
    server = mosquitto(started=False)
    sink = MqttSink(server.broker(), backoff=soon, max_queue=50)
    await sink.open()
    for sample in numbers(0, 120):
        await sink.send(sample)
        assert balanced(sink)
    assert sink.dropped == {"overflow": 70}
    assert caplog.text.count("the queue is full") == 1
    server.start()
    await until(lambda: sink.published == 50)
    await sink.aclose()
    assert balanced(sink)


async def test_the_queue_is_bounded_in_bytes(mosquitto, soon, balanced):
    server = mosquitto(started=False)
    sink = MqttSink(server.broker(), backoff=soon, max_bytes=1000)
    await sink.open()
    for _ in range(5):
        await sink.send(b"x" * 300)
    await sink.send(b"x" * 1001)
    assert sink.queued == 3
    assert sink.dropped == {"overflow": 2, "too-large": 1}
    assert balanced(sink)
    await sink.aclose()
    assert sink.dropped == {"overflow": 2, "too-large": 1, "unsent": 3}
    assert balanced(sink)


async def test_what_stays_unsent_is_reported(mosquitto, numbers, balanced, caplog):
    server = mosquitto(started=False)
    sink = MqttSink(server.broker())
    await (Source.of(numbers(0, 7), name="counter") | sink).run()
    assert sink.dropped == {"unsent": 7}
    assert balanced(sink)
    assert "7 messages were not sent" in caplog.text
    with pytest.raises(SinkClosed):
        await sink.send(1)


async def test_closing_tries_once_more(mosquitto, numbers, until):
    """The broker returns while the sink waits for its next attempt, which would be too late."""
    server = mosquitto(started=False)
    sink = MqttSink(server.broker(), backoff=edgeml.Backoff(initial=600, maximum=600))
    await sink.open()
    for sample in numbers(0, 5):
        await sink.send(sample)
    await until(lambda: sink.state == "reconnecting")
    server.start()
    await sink.aclose(timeout=20)
    assert (sink.published, sink.dropped) == (5, {})


async def test_all_attempts_used_up_is_an_error(mosquitto, until, caplog):
    server = mosquitto(started=False)
    once = edgeml.Backoff(initial=0.01, attempts=1)
    sink = MqttSink(server.broker(), backoff=once)
    await sink.open()
    await sink.send(1)
    await until(lambda: "giving up" in caplog.text)
    with pytest.raises(PublishError, match="Connection refused"):
        await sink.send(2)
    await sink.aclose()
    assert sink.dropped == {"unsent": 1}


async def test_a_broker_that_hangs_does_not_hold_up_the_end(
    mosquitto, listen, numbers, until, balanced
):
    server = mosquitto()
    sink = MqttSink(server.broker())
    await sink.open()
    await until(lambda: sink.state == "connected")
    os.kill(server.process.pid, signal.SIGSTOP)
    for sample in numbers(0, 30):
        await sink.send(sample)
    before = asyncio.all_tasks()
    await asyncio.wait_for(sink.aclose(timeout=0.1), 5)
    assert sink.dropped == {"unsent": 30}
    assert balanced(sink)
    assert asyncio.all_tasks() <= before
    os.kill(server.process.pid, signal.SIGCONT)
    # We left without a farewell, so the broker says that we are gone.
    listener = await listen(server.port)
    await until(lambda: (listener.of("edgeml/availability") or [""])[-1] == "offline")


async def test_a_server_that_never_answers_leaves_no_task(until):
    """Something listens there, accepts, and says nothing."""
    opened = []
    server = await asyncio.start_server(lambda r, w: opened.append(w), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    before = asyncio.all_tasks()
    sink = MqttSink(edgeml.events.Broker("127.0.0.1", port))
    await sink.open()
    await sink.send(1)
    await until(lambda: opened)
    await asyncio.wait_for(sink.aclose(timeout=0.05), 5)
    assert sink.dropped == {"unsent": 1}
    await until(lambda: asyncio.all_tasks() <= before | {asyncio.current_task()})
    for writer in opened:
        writer.close()
    server.close()
    await server.wait_closed()
