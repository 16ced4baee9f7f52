"""Events: results on their way to other programs, over MQTT and to Home Assistant."""

from edgeml.events._broker import EmbeddedBroker
from edgeml.events._connection import Broker
from edgeml.events._discovery import Output, discovery_document
from edgeml.events._event import Event, as_json, schema
from edgeml.events._sink import MqttSink
from edgeml.events._snapshot import Snapshot, encode_jpeg
from edgeml.events._source import MqttSource

__all__ = [
    "Broker",
    "EmbeddedBroker",
    "Event",
    "MqttSink",
    "MqttSource",
    "Output",
    "Snapshot",
    "as_json",
    "discovery_document",
    "encode_jpeg",
    "schema",
]
