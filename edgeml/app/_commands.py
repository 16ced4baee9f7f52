"""Commands over MQTT: a running app is taught by who may publish on its topic."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from edgeml._require import require
from edgeml.app._command import MAX_ID, SCHEMA, Command, CommandError, parse
from edgeml.app._teach import Teacher
from edgeml.errors import ConfigError, EdgeMLError, PublishError
from edgeml.streams import Backoff
from edgeml.streams._ending import end

if TYPE_CHECKING:
    from edgeml.app._mqtt import CommandsConfig
    from edgeml.app._personal import Personal
    from edgeml.events import Broker

log = logging.getLogger("edgeml.app")

# What brokers that speak MQTT 3.1.1 only do to a client that speaks 5.
_ONLY_OLDER = ("rotocol", "before it let us in")
_WAITING = 32  # commands
_FAREWELL = 2.0  # seconds
_REMEMBERED = 256  # ids
_AT_ONCE = ("status", "cancel", "history")  # beside another one


@dataclass(frozen=True)
class Sender:
    """Whom the answers are for.

    Attributes:
        topic: Where they go.
        correlation: What MQTT 5 wants sent back.
        id: What the sender calls the command.
    """

    topic: str
    correlation: bytes | None = None
    id: str = ""


class Commands:
    """Listens for commands while an app runs, does one after another, and answers.

    Each command gets one answer, and steps on the way to it. While one is being done, only
    "status", "history" and "cancel" are taken; another one is refused as busy. A command that the
    broker had kept, or whose id came before, is not done. Samples and features are never sent.

    Args:
        config: Topics, with everything filled in, and what is allowed.
        broker: Where to listen.
        tasks: The tasks that learn, by name.
        older: Whether the broker is known to speak MQTT 3.1.1 only.
    """

    def __init__(
        self, config: CommandsConfig, broker: Broker, tasks: Mapping[str, Personal], *,
        older: bool = False,
    ) -> None:  # fmt: skip
        self._config = config
        self._broker = broker
        self._tasks = tasks
        self._backoff = Backoff()
        self._client: Any = None
        self._job: asyncio.Task[None] | None = None  # what makes others wait
        self._jobs: set[asyncio.Task[None]] = set()
        self._listening: asyncio.Task[None] | None = None
        self._ids: deque[str] = deque(maxlen=_REMEMBERED)
        self._older = older
        self._five = not older  # MQTT 5, with response topics; until a broker speaks only 3.1.1

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._run(), name="commands")
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        for task in (*self._jobs, self._listening):
            if task is not None:
                await end(task)

    async def _run(self) -> None:
        """Connect, and listen; again and again."""
        delays = self._backoff.delays()
        while True:
            self._heard = False
            try:
                await self._listen()
            except (PublishError, ConfigError) as error:
                log.warning("commands: %s", error)
                if self._heard:
                    delays, self._five = self._backoff.delays(), not self._older
                elif any(sign in str(error) for sign in _ONLY_OLDER):
                    self._five = not self._five
            await asyncio.sleep(next(delays))

    async def _listen(self) -> None:
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        more: dict[str, Any] = {"max_queued_incoming_messages": _WAITING}
        if self._five:
            more |= {"protocol": aiomqtt.ProtocolVersion.V5,
                     "properties": _largest(self._config.max_bytes)}  # fmt: skip
        async with self._broker.connect(role="commands", **more) as connection:
            granted = await connection.client.subscribe(self._config.topic, qos=1)
            if any(getattr(code, "is_failure", code == 0x80) for code in granted):
                raise PublishError(
                    f"{self._broker.address}: may not read {self._config.topic!r}; check what "
                    f"{self._broker.username or 'a client without username'} may do"
                )
            self._heard, self._client = True, connection.client
            log.info("commands are taken on %s", self._config.topic)
            try:
                async for message in connection.client.messages:
                    await self._receive(message)
            finally:
                self._client = None

    async def _receive(self, message: Any) -> None:
        sender = Sender(self._config.answers)
        try:
            sender = self._sender_of(message)
            if message.retain:
                raise CommandError(
                    "the broker had kept this command; publish commands without retain"
                )
            if len(message.payload) > self._config.max_bytes:
                raise CommandError(
                    f"expected at most {self._config.max_bytes} bytes, received "
                    f"{len(message.payload)}"
                )
            command = parse(bytes(message.payload))
            sender = Sender(sender.topic, sender.correlation, command.id)
            await self._start(command, sender)
        except CommandError as error:
            if error.id:
                sender = Sender(sender.topic, sender.correlation, error.id)
            log.info("a command is refused: %s", error)
            await self._answer(sender, _failure("refused", error))
        except Exception as error:  # one message must not end the listening to others
            log.exception("a command has failed")
            await self._answer(sender, _failure("internal", error))

    def _sender_of(self, message: Any) -> Sender:
        """Return where to answer.

        Raises:
            CommandError: the sender wants the answer on a topic that the config does not allow.
        """
        properties = getattr(message, "properties", None)
        correlation = getattr(properties, "CorrelationData", None)
        if correlation is not None and len(correlation) > MAX_ID:
            raise CommandError(f"expected correlation data of at most {MAX_ID} bytes")
        topic, own = getattr(properties, "ResponseTopic", None), self._config.answers
        if topic is None:
            return Sender(own, correlation)
        below = topic == own or topic.startswith(f"{own}/")
        if not below or {"+", "#", "\0"} & set(topic) or topic == self._config.topic:
            raise CommandError(f"answers go to {own} or below it, not to {topic[:100]!r}")
        return Sender(topic, correlation)

    async def _start(self, command: Command, sender: Sender) -> None:
        if command.name not in self._config.allow:
            raise CommandError(
                f"{command.name} is not allowed here; allowed are {', '.join(self._config.allow)}"
            )
        if command.id:
            if command.id in self._ids:
                raise CommandError(f"a command with the id {command.id!r} came before")
            self._ids.append(command.id)
        if command.name == "cancel":
            running = self._job is not None and self._job.cancel()
            await self._answer(sender, {"ok": True, "result": {"cancelled": running}})
            return
        task = self._task_of(command)
        if command.name in _AT_ONCE:
            await self._do(command, sender, task)
        elif self._job is not None:
            busy = CommandError("another command is being done; wait for its answer, or cancel it")
            await self._answer(sender, _failure("busy", busy))
        else:
            self._job = asyncio.create_task(self._do(command, sender, task), name=command.name)
            self._jobs.add(self._job)
            self._job.add_done_callback(self._ended)
            await asyncio.sleep(0)  # it begins, so that it can answer when it is cancelled

    def _ended(self, job: asyncio.Task[None]) -> None:
        self._jobs.discard(job)
        if self._job is job:
            self._job = None

    def _free(self) -> None:
        """Let the next command begin, where this is the one that others wait for."""
        if self._job is asyncio.current_task():
            self._job = None

    def _task_of(self, command: Command) -> str:
        names = ", ".join(self._tasks)
        if command.task in self._tasks:
            return command.task
        if command.task or len(self._tasks) > 1:
            raise CommandError(f"task: expected one of {names}; received {command.task[:60]!r}")
        return names

    async def _do(self, command: Command, sender: Sender, name: str) -> None:
        async def tell(step: Mapping[str, Any]) -> None:
            await self._answer(sender, {"step": step}, type_="progress", **about)

        about = {"task": name, "command": command.name}
        task = self._tasks[name]
        try:
            result = await Teacher(task.learner, task.tap).do(command, tell)
            answer: dict[str, Any] = {"ok": True, "result": result}
        except asyncio.CancelledError:
            self._free()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                async with asyncio.timeout(_FAREWELL):
                    await self._answer(sender, _failure("cancelled", None), **about)
            raise
        except EdgeMLError as error:
            answer = _failure("failed", error)
        except Exception as error:
            log.exception("%s: %s", name, command.name)
            answer = _failure("internal", error)
        self._free()  # who reads the answer may send the next command
        await self._answer(sender, answer, **about)

    async def _answer(
        self, sender: Sender, said: Mapping[str, Any], type_: str = "answer", **about: str
    ) -> None:
        """Publish an answer; without a connection it is lost, which the log says."""
        client = self._client
        document = {"type": type_, "schema": SCHEMA, "id": sender.id, **about, **said}
        if client is None:
            log.warning("an answer is lost, the broker is away: %s", sender.id)
            return
        more: dict[str, Any] = {}
        if self._five and sender.correlation is not None:
            more["properties"] = _correlated(sender.correlation)
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
        try:
            await client.publish(sender.topic, text, qos=1, **more)
        except aiomqtt.MqttError as error:
            log.warning("an answer is lost: %s", error)


def _failure(kind: str, error: Exception | None) -> dict[str, Any]:
    text = f"{type(error).__name__}: {error}" if kind == "internal" else str(error or kind)
    return {"ok": False, "error": {"kind": kind, "message": text[:2000]}}


def _largest(max_bytes: int) -> Any:
    """Return what asks the broker to send nothing that is much larger than a command."""
    properties = require("paho.mqtt.properties", extra="mqtt", purpose="MQTT")
    types = require("paho.mqtt.packettypes", extra="mqtt", purpose="MQTT")
    found = properties.Properties(types.PacketTypes.CONNECT)
    found.MaximumPacketSize = max_bytes + 65_536  # topic, and properties
    return found


def _correlated(data: bytes) -> Any:
    properties = require("paho.mqtt.properties", extra="mqtt", purpose="MQTT")
    types = require("paho.mqtt.packettypes", extra="mqtt", purpose="MQTT")
    found = properties.Properties(types.PacketTypes.PUBLISH)
    found.CorrelationData = data
    return found
