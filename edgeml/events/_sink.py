"""A sink that publishes over MQTT."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from edgeml.errors import ConfigError, PublishError, SinkClosed
from edgeml.events._connection import Broker, Connection
from edgeml.events._discovery import Output, discovery_document, slug
from edgeml.events._event import Event
from edgeml.events._topic import format_topic
from edgeml.streams import Backoff, Clock, Sample, Sink
from edgeml.streams._ending import end

log = logging.getLogger("edgeml.events")

MqttState = Literal[
    "idle", "connecting", "connected", "reconnecting", "refused", "failed", "closed"
]

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
        task: Name of the task in topics and events, for items that are no `Event` and have
            no ``meta["task"]``.
        qos: 0 (may be lost on the way) or 1 (confirmed).
        retain: Let the broker keep the last message of each topic.
        device: Name of this device in Home Assistant; by default the prefix.
        home_assistant: Publish a discovery message for `outputs`.
        discovery_prefix: Home Assistant's, if it was changed there.
        outputs: What the tasks publish, by (source, task).
        max_queue: Most messages that wait; up to 20 more are on their way.
        max_bytes: Most bytes that wait; a larger message is dropped.
        backoff: Delays between attempts to connect.
        on_refused: What to do when the broker refuses the password or a certificate is
            wrong: ``"retry"``, or ``"fail"`` to end the pipeline with `PublishError` at the
            next item.
        on_state: Called with each new state and its reason.

    Attributes:
        state: ``"connecting"``, ``"connected"``, ``"reconnecting"``, ``"refused"``,
            ``"failed"`` when it has given up, or ``"closed"``.
        reason: Why, in words; never with a password.
        put: Messages taken from the pipeline.
        published: Messages sent (QoS 0) or confirmed (QoS 1).
        dropped: Messages lost, by cause: ``"overflow"``, ``"too-large"``, ``"unsent"`` at
            the end.

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
        if max_queue < 1 or max_bytes < 1:
            raise ValueError(
                f"max_queue and max_bytes must be positive; received {max_queue}, {max_bytes}"
            )
        if on_refused not in ("retry", "fail"):
            raise ValueError(f'on_refused must be "retry" or "fail"; received {on_refused!r}')
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
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failure: PublishError | ConfigError | None = None

    @property
    def queued(self) -> int:
        """Messages that wait, those on their way included."""
        return len(self._queue) + self._in_window

    @property
    def availability_topic(self) -> str:
        """Where ``online`` and ``offline`` are published, retained; also our last will."""
        return format_topic("{prefix}/availability", prefix=self.prefix)

    def topic_of(self, source: str, task: str) -> str:
        """Return the topic of a source and a task."""
        return format_topic(self.topic, prefix=self.prefix, source=source, task=task)

    async def open(self) -> None:
        """Start connecting; the broker need not be there yet.

        Raises:
            ConfigError: a certificate file cannot be read.
            MissingExtra: aiomqtt is not installed.
            SinkClosed: it was closed before; sinks live once.
        """
        if self._closing.is_set():
            raise SinkClosed(f"{self.name}: the sink was closed; make a new one")
        self.broker.client()  # what is wrong with its settings is said now
        if self.home_assistant and not self.outputs:
            log.warning("%s: nothing for Home Assistant: no task declares outputs", self.name)
        self._become("connecting", self.broker.address)
        self._task = asyncio.create_task(self._run(), name=f"{self.name} connection")

    async def send(self, item: Any) -> None:
        """Queue one item; never waits.

        Raises:
            PublishError: the broker refused us and `on_refused` is ``"fail"``, all attempts
                of `backoff` are used up, or publishing failed for a reason of its own.
            TypeError: the item cannot be expressed in JSON.
            ValueError: the name of its source has a wildcard of MQTT.
        """
        if self._failure is not None:
            raise self._failure
        if self._task is None:
            raise SinkClosed(f"{self.name}: the sink is not open")
        self._put(self._message(item))

    def _message(self, item: Any) -> Message:
        sample = item if isinstance(item, Sample) else Sample(item, self._clock.now(), 0)
        data, task = sample.data, sample.meta.get("task", self.task)
        if isinstance(data, bytes):
            return Message(self.topic_of(sample.source, task), data, self.retain)
        event = data if isinstance(data, Event) else Event.of(sample, self._clock, task)
        topic = self.topic_of(event.source, event.task)
        return Message(topic, event.to_json().encode(), self.retain)

    def _put(self, message: Message) -> None:
        self.put += 1
        if len(message.payload) > self.max_bytes:
            size = f"{len(message.payload)} bytes on {message.topic}, max_bytes={self.max_bytes}"
            self._drop("too-large", f"a message is too large: {size}")
            return
        self._queue.append(message)
        self._bytes += len(message.payload)
        while len(self._queue) > self.max_queue or self._bytes > self.max_bytes:
            self._bytes -= len(self._queue.popleft().payload)
            self._drop("overflow", "the queue is full, the oldest go")
        self._wake.set()

    def _drop(self, cause: str, why: str, n: int = 1) -> None:
        if cause not in self.dropped:
            log.warning("%s: %s (%s: %s)", self.name, why, self.state, self.reason)
        self.dropped[cause] = self.dropped.get(cause, 0) + n

    async def _run(self) -> None:
        try:
            await self._serve()
        except Exception as error:
            log.exception("%s: publishing has failed", self.name)
            self._fail(PublishError(f"{self.broker.address}: {error!r}", refused=False))

    async def _serve(self) -> None:
        """Connect and publish, again and again, until the sink closes."""
        delays, delay, connected = self.backoff.delays(), 0.0, 0.0
        will = (self.availability_topic, "offline")
        while True:
            try:
                async with self.broker.connect(will) as connection:
                    await self._announce(connection.client)
                    self._become("connected", self.broker.address)
                    connected = time.monotonic()
                    await self._publish_all(connection)
                    # Leaving in good order cancels the last will, so we say it ourselves.
                    await connection.client.publish(*will, qos=1, retain=True)
                return
            except (PublishError, ConfigError) as error:
                failure, refused = error, getattr(error, "refused", True)
            # A broker that lets us in and throws us out must not be tried in a tight loop.
            if self.state == "connected" and time.monotonic() - connected > delay:
                delays = self.backoff.delays()
            self._become("refused" if refused else "reconnecting", str(failure))
            if self._closing.is_set():
                return
            upcoming = next(delays, None)
            if upcoming is None or (refused and self.on_refused == "fail"):
                self._fail(failure)
                return
            delay = upcoming
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._closing.wait()  # then one last attempt

    async def _announce(self, client: Any) -> None:
        if self.home_assistant and self.outputs:
            document = discovery_document(
                self.device, self.outputs, self.topic_of, self.availability_topic
            )
            await client.publish(self.discovery_topic, json.dumps(document), qos=1, retain=True)
        await client.publish(self.availability_topic, "online", qos=1, retain=True)

    @property
    def discovery_topic(self) -> str:
        """Where Home Assistant looks for us."""
        return f"{self.discovery_prefix}/device/{slug(self.device)}/config"

    async def _publish_all(self, connection: Connection) -> None:
        """Publish until the sink closes; what was not confirmed is queued again."""
        window: deque[tuple[Message, asyncio.Task[None]]] = deque()
        wake = asyncio.create_task(self._wake.wait())
        try:
            while True:
                self._fill(window, connection.client)
                if self._closing.is_set() and not window:
                    return
                awaited: set[asyncio.Future[Any]] = {connection.lost}
                if window:
                    awaited.add(window[0][1])
                if len(window) < _WINDOW:
                    awaited.add(wake)
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if wake.done():
                    self._wake.clear()
                    wake = asyncio.create_task(self._wake.wait())
                while window and window[0][1].done():
                    window[0][1].result()
                    window.popleft()
                    self._in_window -= 1
                    self.published += 1
                connection.check()
        finally:
            wake.cancel()
            await self._take_back(window)

    def _fill(self, window: deque[tuple[Message, asyncio.Task[None]]], client: Any) -> None:
        while self._queue and len(window) < _WINDOW:
            message = self._queue.popleft()
            self._bytes -= len(message.payload)
            self._in_window += 1
            publishing = client.publish(
                message.topic, message.payload, qos=self.qos, retain=message.retain
            )
            window.append((message, asyncio.create_task(publishing)))

    async def _take_back(self, window: deque[tuple[Message, asyncio.Task[None]]]) -> None:
        """Queue again, in order, what was on its way and has not been confirmed."""
        for _, task in window:
            task.cancel()
        results = await asyncio.gather(*(task for _, task in window), return_exceptions=True)
        for (message, _), result in zip(reversed(window), reversed(results), strict=True):
            self._in_window -= 1
            if result is None:
                self.published += 1
            else:
                self._queue.appendleft(message)
                self._bytes += len(message.payload)

    async def remove_from_home_assistant(self) -> None:
        """Take this device out of Home Assistant: an empty discovery message.

        Raises:
            PublishError: the broker is not there, or refused us.
        """
        async with self.broker.connect(role="remove") as connection:
            await connection.client.publish(self.discovery_topic, b"", qos=1, retain=True)

    async def aclose(self, timeout: float = 2.0) -> None:
        """Publish what is queued if the broker is there, say ``offline``, and disconnect.

        Args:
            timeout: Longest time for that, seconds. What is not confirmed by then is dropped
                and counted as ``"unsent"``.
        """
        task, self._task = self._task, None
        if task is None:
            return
        self._closing.set()
        self._wake.set()
        try:
            await asyncio.wait([task], timeout=timeout)
        finally:
            await end(task)
        if unsent := len(self._queue):
            self._drop("unsent", f"{unsent} messages were not sent", unsent)
            self._queue.clear()
            self._bytes = 0
        self._become("closed", self.reason)

    def _fail(self, failure: PublishError | ConfigError) -> None:
        self._failure = failure
        log.error("%s: giving up: %s", self.name, failure)
        if self.state == "refused":
            return  # says more
        try:
            self._become("failed", str(failure))
        except Exception:  # of on_state: nobody waits for this task
            log.exception("%s: on_state has failed", self.name)

    def _become(self, state: MqttState, reason: str) -> None:
        if (state, reason) == (self.state, self.reason):
            return
        changed = state != self.state
        self.state, self.reason = state, reason
        trouble = state in ("reconnecting", "refused", "failed")
        log.log(
            logging.WARNING if trouble else logging.INFO, "%s: %s: %s", self.name, state, reason
        )
        if changed and self.on_state is not None:
            self.on_state(state, reason)
