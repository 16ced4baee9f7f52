"""Settings that are wrong are named when the object is made."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import pytest

import edgeml.events
from edgeml.events import Broker, MqttSink, MqttSource
from edgeml.events._topic import check_filter, format_topic

MODULES = [f"edgeml.events.{m.name}" for m in pkgutil.iter_modules(edgeml.events.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    failures, _ = doctest.testmod(importlib.import_module(name))
    assert not failures


def test_names_are_sorted_and_there():
    names = edgeml.events.__all__
    assert names == sorted(names, key=lambda n: (n.islower(), n))
    assert all(hasattr(edgeml.events, name) for name in names)


def test_the_import_is_light():
    program = (
        "import sys, edgeml.events; print(sorted({'aiomqtt', 'amqtt', 'paho', 'cv2', 'ssl'} & "
        "set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert set(eval(run.stdout)) <= {"ssl"}


@pytest.mark.parametrize(
    ("template", "values", "topic"),
    [
        ("{prefix}/{source}/{task}", {"prefix": "p", "source": "s", "task": "t"}, "p/s/t"),
        ("{prefix}/{source}/{task}", {"prefix": "p", "source": "s", "task": ""}, "p/s"),
        ("{prefix}/x", {"prefix": "home/attic/"}, "home/attic/x"),
    ],
)
def test_topics_are_filled_in(template, values, topic):
    assert format_topic(template, **values) == topic


@pytest.mark.parametrize(
    ("template", "values", "message"),
    [
        ("{prefx}/x", {"prefix": "p"}, r"unknown field \{prefx\}; did you mean \{prefix\}\?"),
        ("{}", {"prefix": "p"}, "unknown field"),
        ("{prefix.__class__}", {"prefix": "p"}, "unknown field"),
        ("{prefix", {"prefix": "p"}, r"topic '\{prefix': expected '}'"),
        ("{prefix:{x}}", {"prefix": "p"}, "take no : or !"),
        ("{prefix!r}", {"prefix": "p"}, "take no : or !"),
        ("{prefix}/#", {"prefix": "p"}, "are for subscribing"),
        ("{source}", {"source": "a+b"}, r"source 'a\+b' has a wildcard"),
        ("{source}", {"source": ""}, "expected 1 to 65535 bytes"),
        ("{source}", {"source": "x" * 65_536}, "expected 1 to 65535 bytes"),
    ],
)
def test_topics_that_are_none(template, values, message):
    with pytest.raises(ValueError, match=message):
        format_topic(template, **values)


@pytest.mark.parametrize("topic", ["#", "+", "a/#", "+/b/+", "/a", "a//b", "$SYS/#"])
def test_filters(topic):
    check_filter(topic)


@pytest.mark.parametrize("topic", ["", "a/#/b", "a#", "a+/b", "#/a", "a\0"])
def test_filters_that_are_none(topic):
    with pytest.raises(ValueError, match="topic filter"):
        check_filter(topic)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"host": "mqtt://broker.local"}, "without mqtt://"),
        ({"host": ""}, "host must be"),
        ({"host": "my broker"}, "host must be"),
        ({"host": "a..b"}, "host must be"),
        ({"host": "b\0"}, "host must be"),
        ({"port": 0}, "port must be 1 to 65535; received 0"),
        ({"port": 70_000}, "port must be"),
        ({"password": "x"}, "a password needs a username"),
        ({"key": "k.pem"}, "without the cert"),
        ({"keepalive": 0}, "keepalive must be"),
    ],
)
def test_brokers_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        Broker(**options)


def test_a_broker_never_shows_its_password():
    broker = Broker("b", username="me", password="secret")
    assert "secret" not in repr(broker) + str(broker) + broker.address
    assert (broker.real_port, Broker("b", tls=True).real_port) == (1883, 8883)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"qos": 2}, "qos must be 0 or 1; received 2"),
        ({"topic": "{tsk}"}, r"did you mean \{task\}\?"),
        ({"prefix": "a/#"}, "has a wildcard"),
        ({"max_queue": 0}, "must be positive"),
        ({"on_refused": "ignore"}, 'must be "retry" or "fail"'),
    ],
)
def test_sinks_that_cannot_be(options, message):
    with pytest.raises(ValueError, match=message):
        MqttSink(**options)


@pytest.mark.parametrize(
    ("topics", "options", "message"),
    [
        ((), {}, "at least one topic filter"),
        (("a/#/b",), {}, "whole last level"),
        (("a",), {"qos": 3}, "qos must be"),
        (("a",), {"payload": "text"}, "payload must be"),
    ],
)
def test_sources_that_cannot_be(topics, options, message):
    with pytest.raises(ValueError, match=message):
        MqttSource(*topics, **options)
