"""The table ``[mqtt]``: where an app publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeml.app._construct import call, with_paths, with_secrets
from edgeml.app._document import Document
from edgeml.app._options import Option, options_of, validate
from edgeml.events import Broker, MqttSink

KEY = ("mqtt",)

_OURS = {"broker", "task", "outputs", "name"}  # what the app itself says
_OF_BROKER = set(options_of(Broker))


@dataclass(frozen=True)
class MqttConfig:
    """The table ``[mqtt]``.

    Attributes:
        document: Where it stands.
        embedded: Start a broker of our own, on this machine only.
        options: What is set, by the keywords of `edgeml.events.Broker` and `edgeml.MqttSink`.
    """

    document: Document
    embedded: bool
    options: Mapping[str, Any]

    @classmethod
    def read(cls, document: Document, table: Mapping[str, Any]) -> MqttConfig:
        """Check the table.

        Raises:
            ConfigError: a key is unknown or of the wrong type, or there is no broker.
        """
        found = validate(document, KEY, table, mqtt_options())
        embedded = found.pop("embedded", False)
        if not embedded and "host" not in found:
            raise document.error(
                KEY, 'which broker? expected host = "…", or embedded = true for one of our own'
            )
        if embedded and (wrong := _OF_BROKER & set(found)):
            raise document.error(
                (*KEY, min(wrong)), "means nothing to the embedded broker; remove one of them"
            )
        return cls(document, embedded, found)

    def broker(self) -> Broker:
        """Return where the broker is.

        Raises:
            ConfigError: a secret is not there.
        """
        options = {key: value for key, value in self.options.items() if key in _OF_BROKER}
        options = with_paths(self.document, with_secrets(self.document, KEY, options))
        broker: Broker = call(self.document, KEY, lambda: Broker(**options), options)
        return broker

    def sink(self, app: str, outputs: Mapping[tuple[str, str], Any], broker: Broker) -> MqttSink:
        """Make the sink of an app.

        Raises:
            ConfigError: a value was refused.
        """
        options = {key: value for key, value in self.options.items() if key not in _OF_BROKER}
        options["prefix"] = options.get("prefix", "edgeml/{app}").replace("{app}", app)
        options.setdefault("device", app)
        sink: MqttSink = call(
            self.document, KEY, lambda: MqttSink(broker, outputs=outputs, **options), options
        )
        return sink


def mqtt_options() -> dict[str, Option]:
    """Return what may stand in the table."""
    of_sink = {key: value for key, value in options_of(MqttSink).items() if key not in _OURS}
    return {"embedded": Option(bool, False), **options_of(Broker), **of_sink}
