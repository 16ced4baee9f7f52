"""A sink that publishes over MQTT."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from edgeml._require import require
from edgeml.errors import PublishError, SinkClosed
from edgeml.events._connection import Broker, format_topic
from edgeml.events._discovery import Output, discovery_document, slug
from edgeml.events._event import Event
from edgeml.streams import Backoff, Clock, Sample, Sink

log = logging.getLogger("edgeml.events")

MqttState = Literal["idle", "connecting", "connected", "reconnecting", "refused", "closed"]

_WINDOW = 20  # messages on their way at once; brokers allow about that many


class Message(NamedTuple):
    """What waits to be published."""

    topic: str
    payload: bytes
    retain: bool


class MqttSink(Sink):
    """Publishes each item as a JSON event, or as it is when it is bytes.

    It never holds the pipeline back: items wait in a bounded queue while the broker is
    away, and when that is full the oldest is dropped and counted. With QoS 1 a message
    leaves the queue when the broker has confirmed it, so one that was on its way when the
    connection broke may arrive twice, but is not lost. ``put == published + dropped +
    queued`` at any time.

    Args:
        broker: Where to publish; or a host name.
        topic: Template of the topic; fields {prefix}, {source}, {task}.
        prefix: First levels of all topics.
        task: Name of the task in topics and events, when items are no `Event`.
        qos: 0 (may be lost on the way) or 1 (confirmed).
        retain: Let the broker keep the last message of each topic.
        device: Name of this device in Home Assistant; by default the prefix.
        home_assistant: Publish a discovery message for `outputs`.
        discovery_prefix: Home Assistant's, if it was changed there.
        outputs: What the tasks publish, by (source, task).
        max_queue: Most messages that wait.
        max_bytes: Most bytes that wait.
        backoff: Delays between attempts to connect.
        on_refused: What to do when the broker refuses the password or a certificate is
            wrong: ``"retry"``, or ``"fail"`` to end the pipeline with `PublishError`.
        on_state: Called with each new state and its reason.

    Attributes:
        state: ``"connecting"``, ``"connected"``, ``"reconnecting"``, ``"refused"`` …
        reason: Why, in words; never with a password.
        put: Messages taken from the pipeline.
        published: Messages sent (QoS 0) or confirmed (QoS 1).
        dropped: Messages lost, by cause: ``"overflow"``, ``"unsent"`` at the end.

    Example:
        ``camera | edgeml.ObjectDetector() | edgeml.MqttSink("broker.local", task="people")``
    """

    def __init__(
        self,
        broker: Broker | str = "localhost",
        *,
        topic: str = "{prefix}/{source}/{task}",
        prefix: str = "edgeml",
        task: str = "",
        qos: Literal[0, 1] = 1,
        retain: bool = False,
        device: str | None = None,
        home_assistant: bool = False,
        discovery_prefix: str = "homeassistant",
        outputs: Mapping[tuple[str, str], Sequence[Output]] | None = None,
        max_queue: int = 1000,
        max_bytes: int = 8 << 20,
        backoff: Backoff | None = None,
        on_refused: Literal["retry", "fail"] = "retry",
        on_state: Callable[[MqttState, str], None] | None = None,
        name: str = "mqtt",
    ) -> None:
        super().__init__(name=name)
        if qos not in (0, 1):
            raise ValueError(f"qos must be 0 or 1; received {qos!r}")
        format_topic(topic, prefix=prefix, source="source", task=task)
        self.broker = Broker(broker) if isinstance(broker, str) else broker
        self.topic = topic
        self.prefix = prefix
        self.task = task
        self.qos = qos
        self.retain = retain
        self.device = device or prefix
        self.home_assistant = home_assistant
        self.discovery_prefix = discovery_prefix
        self.outputs = dict(outputs or {})
        self.max_queue = max_queue
        self.max_bytes = max_bytes
        self.backoff = backoff or Backoff()
        self.on_refused = on_refused
        self.on_state = on_state
        self.state: MqttState = "idle"
        self.reason = ""
        self.put = 0
        self.published = 0
        self.dropped: dict[str, int] = {}
        self._clock = Clock()
        self._queue: deque[Message] = deque()
        self._bytes = 0
        self._in_window = 0
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None
        self._failure: PublishError | None = None
        self._delays = self.backoff.delays()

    @property
    def queued(self) -> int:
        """Messages that wait, those on their way included."""
        return len(self._queue) + self._in_window

    @property
    def availability_topic(self) -> str:
        """Where ``online`` and ``offline`` are published, retained; also our last will."""
        return f"{self.prefix}/availability"

    def topic_of(self, source: str, task: str) -> str:
        """Return the topic of a source and a task."""
        return format_topic(self.topic, prefix=self.prefix, source=source, task=task)

    async def open(self) -> None:
        """Start connecting; the broker need not be there yet."""
        self.broker.client()  # what is wrong with its settings is said now
        self._task = asyncio.create_task(self._serve(), name=f"{self.name} connection")

    async def send(self, item: Any) -> None:
        """Queue one item.

        Raises:
            PublishError: the broker refused us and `on_refused` is ``"fail"``.
            TypeError: the item cannot be expressed in JSON.
        """
        if self._failure is not None:
            raise self._failure
        if self._task is None or self.state == "closed":
            raise SinkClosed(f"{self.name}: the sink is closed")
        self._put(self._message(item))

    def _message(self, item: Any) -> Message:
        sample = item if isinstance(item, Sample) else Sample(item, self._clock.now(), 0)
        data = sample.data
        if isinstance(data, bytes):
            return Message(self.topic_of(sample.source, self.task), data, self.retain)
        event = data if isinstance(data, Event) else Event.of(sample, self._clock, self.task)
        topic = self.topic_of(event.source, event.task)
        return Message(topic, event.to_json().encode(), self.retain)

    def _put(self, message: Message) -> None:
        self.put += 1
        self._queue.append(message)
        self._bytes += len(message.payload)
        while len(self._queue) > 1 and (
            len(self._queue) > self.max_queue or self._bytes > self.max_bytes
        ):
            self._bytes -= len(self._queue.popleft().payload)
            if "overflow" not in self.dropped:
                log.warning("%s: the queue is full, the oldest go (%s)", self.name, self.reason)
            self.dropped["overflow"] = self.dropped.get("overflow", 0) + 1
        self._wake.set()

    async def _serve(self) -> None:
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        self._become("connecting", self.broker.address)
        while True:
            try:
                async with self.broker.client((self.availability_topic, "offline")) as client:
                    await self._announce(client)
                    self._become("connected", self.broker.address)
                    self._delays = self.backoff.delays()
                    await self._publish_all(client)
                    # Leaving in good order cancels the last will, so we say it ourselves.
                    await client.publish(self.availability_topic, "offline", qos=1, retain=True)
                return
            except aiomqtt.MqttError as error:
                failure = self.broker.failure(error)
            refused = getattr(failure, "refused", False)
            delay = next(self._delays, None)
            if delay is None or (refused and self.on_refused == "fail"):
                self._become("refused" if refused else "closed", str(failure))
                self._failure = failure
                return
            trying = f"{failure}; trying again in {delay:.1f} s"
            self._become("refused" if refused else "reconnecting", trying)
            await asyncio.sleep(delay)

    async def _announce(self, client: Any) -> None:
        if self.home_assistant:
            document = discovery_document(
                self.device, self.outputs, self.topic_of, self.availability_topic
            )
            await client.publish(self.discovery_topic, json.dumps(document), qos=1, retain=True)
        await client.publish(self.availability_topic, "online", qos=1, retain=True)

    @property
    def discovery_topic(self) -> str:
        """Where Home Assistant looks for us."""
        return f"{self.discovery_prefix}/device/{slug(self.device)}/config"

    async def _publish_all(self, client: Any) -> None:
        """Publish until the connection breaks; what was not confirmed is queued again."""
        window: deque[tuple[Message, asyncio.Task[None]]] = deque()
        lost = asyncio.create_task(_until_lost(client), name=f"{self.name} watch")
        try:
            while True:
                while self._queue and len(window) < _WINDOW:
                    message = self._queue.popleft()
                    self._bytes -= len(message.payload)
                    self._in_window += 1
                    window.append((message, asyncio.create_task(self._publish(client, message))))
                wake = asyncio.create_task(self._wake.wait())
                heads = {window[0][1]} if window else set()
                room = {wake} if len(window) < _WINDOW else set()
                await asyncio.wait({lost, *heads, *room}, return_when=asyncio.FIRST_COMPLETED)
                wake.cancel()
                self._wake.clear()
                while window and window[0][1].done():
                    window[0][1].result()
                    window.popleft()
                    self._in_window -= 1
                    self.published += 1
                if lost.done():
                    lost.result()
                if self._closing and not self._queue and not window:
                    return
        finally:
            lost.cancel()
            for message, task in reversed(window):
                task.cancel()
                self._in_window -= 1
                if task.done() and not task.cancelled() and task.exception() is None:
                    self.published += 1
                else:
                    self._queue.appendleft(message)
                    self._bytes += len(message.payload)

    async def _publish(self, client: Any, message: Message) -> None:
        await client.publish(message.topic, message.payload, qos=self.qos, retain=message.retain)

    async def remove_from_home_assistant(self) -> None:
        """Take this device out of Home Assistant: an empty discovery message."""
        async with self.broker.client() as client:
            await client.publish(self.discovery_topic, b"", qos=1, retain=True)

    async def aclose(self, timeout: float = 2.0) -> None:
        """Publish what is queued if the broker is there, say ``offline``, and disconnect."""
        if self._task is None or self.state == "closed":
            return
        self._closing = True
        self._wake.set()
        if self.state in ("connecting", "connected"):
            await asyncio.wait([self._task], timeout=timeout)
        self._task.cancel()
        await asyncio.wait([self._task])
        if self._queue:
            self.dropped["unsent"] = self.dropped.get("unsent", 0) + len(self._queue)
            log.warning("%s: %d messages were not sent (%s)", self.name, self.queued, self.reason)
            self._queue.clear()
            self._bytes = 0
        self._become("closed", self.reason)

    def _become(self, state: MqttState, reason: str) -> None:
        changed = state != self.state
        self.state, self.reason = state, reason
        if not changed:
            log.debug("%s: %s: %s", self.name, state, reason)
            return
        level = logging.WARNING if state in ("reconnecting", "refused") else logging.INFO
        log.log(level, "%s: %s: %s", self.name, state, reason)
        if self.on_state is not None:
            self.on_state(state, reason)


async def _until_lost(client: Any) -> None:
    """Raise when the connection breaks: the messages end with the connection."""
    async for _ in client.messages:
        pass
