"""The table ``[mqtt]``: where an app publishes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeml.app._command import COMMANDS, SAFE
from edgeml.app._construct import call, with_paths, with_secrets
from edgeml.app._document import Document, nearest
from edgeml.app._options import Option, options_of, validate
from edgeml.errors import ConfigError
from edgeml.events import Broker, MqttSink
from edgeml.events._topic import format_topic

KEY = ("mqtt",)
COMMANDS_KEY = ("mqtt", "commands")

_OF_COMMANDS = {
    "topic": Option(str),
    "answers": Option(str, None),
    "allow": Option(list[str], None),
    "max_bytes": Option(int, 4096),
}
_OURS = {"broker", "task", "outputs", "name"}  # what the app itself says
_OF_BROKER = set(options_of(Broker))


@dataclass(frozen=True)
class CommandsConfig:
    """The table ``[mqtt.commands]``.

    Attributes:
        topic: Where commands are listened to.
        answers: Where answers go; a sender may ask for a topic below it.
        allow: Which commands.
        max_bytes: Largest command.
    """

    topic: str
    answers: str
    allow: tuple[str, ...]
    max_bytes: int

    @classmethod
    def read(cls, document: Document, table: Mapping[str, Any]) -> CommandsConfig:
        """Check the table; topics are still templates.

        Raises:
            ConfigError: a key is unknown, missing or of the wrong type, or a value is refused.
        """
        found = validate(document, COMMANDS_KEY, table, _OF_COMMANDS)
        topic = found["topic"]
        made = cls(topic, found.get("answers", f"{topic}/answers"),
                   tuple(found.get("allow", SAFE)), found.get("max_bytes", 4096))  # fmt: skip
        for name in made.allow:
            if name not in COMMANDS:
                raise document.error(
                    (*COMMANDS_KEY, "allow"),
                    f"there is no command {name!r}{nearest(name, COMMANDS)}",
                )
        if not 64 <= made.max_bytes <= 1 << 20:
            raise document.error((*COMMANDS_KEY, "max_bytes"), "expected 64 to 1048576")
        for key in ("topic", "answers"):
            try:
                format_topic(getattr(made, key), prefix="prefix", app="app")
            except ValueError as error:
                raise document.error((*COMMANDS_KEY, key), str(error)) from error
        if made.answers == made.topic:
            raise document.error((*COMMANDS_KEY, "answers"), "must not be the topic of commands")
        return made

    def filled(self, prefix: str, app: str) -> CommandsConfig:
        """Return it with the topics filled in.

        Raises:
            ConfigError: answers would go where commands come from, and be taken for such.
        """
        topic, answers = (format_topic(t, prefix=prefix, app=app)
                          for t in (self.topic, self.answers))  # fmt: skip
        if answers == topic:
            raise ConfigError(f"mqtt.commands.answers: must not be the topic of commands, {topic}")
        return dataclasses.replace(self, topic=topic, answers=answers)


@dataclass(frozen=True)
class MqttConfig:
    """The table ``[mqtt]``.

    Attributes:
        document: Where it stands.
        embedded: Start a broker of our own, on this machine only.
        options: What is set, by the keywords of `edgeml.events.Broker` and `edgeml.MqttSink`.
        commands: Where commands are listened to; None for nowhere.
    """

    document: Document
    embedded: bool
    options: Mapping[str, Any]
    commands: CommandsConfig | None = None

    @classmethod
    def read(cls, document: Document, table: Mapping[str, Any]) -> MqttConfig:
        """Check the table.

        Raises:
            ConfigError: a key is unknown or of the wrong type, or there is no broker.
        """
        found = validate(document, KEY, table, mqtt_options())
        embedded = found.pop("embedded", False)
        commands = None
        if "commands" in found:
            commands = CommandsConfig.read(document, found.pop("commands"))
        if not embedded and "host" not in found:
            raise document.error(
                KEY, 'which broker? expected host = "…", or embedded = true for one of our own'
            )
        if embedded and (wrong := _OF_BROKER & set(found)):
            raise document.error(
                (*KEY, min(wrong)), "means nothing to the embedded broker; remove one of them"
            )
        return cls(document, embedded, found, commands)

    def broker(self) -> Broker:
        """Return where the broker is.

        Raises:
            ConfigError: a secret is not there.
        """
        options = {key: value for key, value in self.options.items() if key in _OF_BROKER}
        options = with_paths(self.document, with_secrets(self.document, KEY, options))
        broker: Broker = call(self.document, KEY, lambda: Broker(**options), options)
        return broker

    def prefix(self, app: str) -> str:
        """Return the first levels of all topics of an app."""
        prefix: str = self.options.get("prefix", "edgeml/{app}")
        return prefix.replace("{app}", app)

    def sink(self, app: str, outputs: Mapping[tuple[str, str], Any], broker: Broker) -> MqttSink:
        """Make the sink of an app.

        Raises:
            ConfigError: a value was refused.
        """
        options = {key: value for key, value in self.options.items() if key not in _OF_BROKER}
        options["prefix"] = self.prefix(app)
        options.setdefault("device", app)
        sink: MqttSink = call(
            self.document, KEY, lambda: MqttSink(broker, outputs=outputs, **options), options
        )
        return sink


def mqtt_options() -> dict[str, Option]:
    """Return what may stand in the table."""
    of_sink = {key: value for key, value in options_of(MqttSink).items() if key not in _OURS}
    return {
        "embedded": Option(bool, False), "commands": Option(dict[str, Any], None),
        **options_of(Broker), **of_sink,
    }  # fmt: skip
