"""The broker inside the program, and what Home Assistant sees; under warnings as errors."""

import asyncio
import json
import socket
import subprocess
import sys

import pytest

from edgeml.errors import PublishError
from edgeml.events import Broker, EmbeddedBroker, MqttSink, MqttSource, Output, schema
from edgeml.streams import Source

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
pytest.importorskip("amqtt", reason="amqtt is not installed")


async def test_it_carries_messages_and_leaves_nothing(numbers, until, no_thread_left):
    before = asyncio.all_tasks()
    async with EmbeddedBroker() as embedded:
        broker = Broker("127.0.0.1", embedded.port)
        source = MqttSource("edgeml/counter", broker=broker, keep="every", reconnect=None)
        reading = asyncio.create_task(anext(source))
        await until(lambda: source._connection)
        sink = MqttSink(broker)
        await (Source.of(numbers(0, 100), name="counter") | sink).run()
        assert sink.published == 100
        samples = [await reading] + [await anext(source) for _ in range(99)]
        await source.aclose()
    assert [s.data["data"]["n"] for s in samples] == list(range(100))
    jsonschema.validate(samples[0].data, schema())
    await until(lambda: asyncio.all_tasks() <= before)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", embedded.port)) != 0


async def test_it_listens_on_one_loopback_address_only():
    async with EmbeddedBroker() as embedded:
        with socket.socket() as here, socket.socket() as elsewhere:
            assert here.connect_ex(("127.0.0.1", embedded.port)) == 0
            assert elsewhere.connect_ex(("127.0.0.2", embedded.port)) != 0


async def test_it_stops_with_clients_connected(until):
    before = asyncio.all_tasks()
    async with EmbeddedBroker() as embedded:
        sink = MqttSink(Broker("127.0.0.1", embedded.port))
        await sink.open()
        await until(lambda: sink.state == "connected")
    await until(lambda: sink.state == "reconnecting")
    await sink.aclose()
    await until(lambda: asyncio.all_tasks() <= before)


async def test_a_port_that_is_taken_is_named():
    async with EmbeddedBroker() as first:
        with pytest.raises(PublishError, match=f"port {first.port} of 127.0.0.1"):
            await EmbeddedBroker(first.port).__aenter__()


async def test_two_at_once_are_two():
    async with EmbeddedBroker() as one, EmbeddedBroker() as two:
        assert one.port != two.port
        for embedded, word in ((one, "one"), (two, "two")):
            sink = MqttSink(Broker("127.0.0.1", embedded.port), retain=True)
            await (Source.of([word]) | sink).run()
            assert sink.published == 1
        for embedded, word in ((one, "one"), (two, "two")):
            broker = Broker("127.0.0.1", embedded.port)
            source = MqttSource("edgeml", broker=broker, reconnect=None)
            assert (await anext(source)).data["data"] == word
            await source.aclose()


def test_a_whole_program_is_quiet():
    program = (
        "import asyncio\n"
        "from edgeml.events import Broker, EmbeddedBroker, MqttSink\n"
        "async def main():\n"
        "    asyncio.get_running_loop().slow_callback_duration = 60\n"
        "    async with EmbeddedBroker() as embedded:\n"
        "        sink = MqttSink(Broker('127.0.0.1', embedded.port))\n"
        "        await sink.open()\n"
        "        await sink.send({'n': 1})\n"
        "        await sink.aclose()\n"
        "        print(sink.published, sink.dropped)\n"
        "asyncio.run(main(), debug=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 {}\n", "")


OUTPUTS = {
    ("Front door", "people"): (
        Output("People", "sensor", "{{ value_json.data.count }}", unit="persons", icon="mdi:walk"),
        Output("Somebody", "binary_sensor",
               "{{ 'ON' if value_json.data.count else 'OFF' }}", device_class="occupancy"),
    ),
    ("hall", "speech"): (Output("Speech", "binary_sensor", "{{ value_json.data.speech }}"),),
}  # fmt: skip


async def test_home_assistant_discovers_the_declared_outputs(mosquitto, listen):
    server = mosquitto()
    sink = MqttSink(server.broker(), prefix="edgeml/porch", device="Porch Pi", outputs=OUTPUTS,
                    home_assistant=True, retain=True)  # fmt: skip
    await (Source.of([], name="none") | sink).run()
    late = await listen(server.port)
    document = json.loads(late.retained["homeassistant/device/porch_pi/config"])
    assert document["availability_topic"] == "edgeml/porch/availability"
    assert (document["payload_available"], document["payload_not_available"]) == (
        "online", "offline",
    )  # fmt: skip
    assert document["device"]["identifiers"] == ["edgeml_porch_pi"]
    assert document["device"]["name"] == "Porch Pi"
    assert document["origin"]["name"] == "edgeml"
    assert document["components"]["front_door_people_people"] == {
        "platform": "sensor",
        "unique_id": "porch_pi_front_door_people_people",
        "name": "Front door People",
        "state_topic": "edgeml/porch/Front door/people",
        "value_template": "{{ value_json.data.count }}",
        "unit_of_measurement": "persons",
        "icon": "mdi:walk",
    }
    kinds = {key: each["platform"] for key, each in document["components"].items()}
    assert kinds == {
        "front_door_people_people": "sensor",
        "front_door_people_somebody": "binary_sensor",
        "hall_speech_speech": "binary_sensor",
    }
    assert late.retained["edgeml/porch/availability"] == "offline"

    await sink.remove_from_home_assistant()
    later = await listen(server.port)
    assert "homeassistant/device/porch_pi/config" not in later.retained


async def test_the_device_can_be_removed_while_its_sink_is_connected(mosquitto, listen, until):
    server = mosquitto()
    sink = MqttSink(server.broker(client_id="pi"), outputs=OUTPUTS, home_assistant=True)
    await sink.open()
    await until(lambda: sink.state == "connected")
    await sink.remove_from_home_assistant()
    await sink.send(1)
    await sink.aclose()
    assert (sink.published, sink.dropped) == (1, {})


async def test_nothing_to_discover_is_said(mosquitto, listen, caplog):
    server = mosquitto()
    sink = MqttSink(server.broker(), home_assistant=True)
    await (Source.of([1], name="one") | sink).run()
    assert "no task declares outputs" in caplog.text
    late = await listen(server.port)
    assert not [topic for topic in late.retained if topic.startswith("homeassistant")]
