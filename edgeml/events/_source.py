"""A source that subscribes over MQTT."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal

from edgeml._require import require
from edgeml.errors import DeviceLost, PublishError
from edgeml.events._connection import Broker, Connection
from edgeml.events._topic import check_filter
from edgeml.streams import Backoff, Sample, Source

log = logging.getLogger("edgeml.events")

_MAX_WAITING = 1000  # messages
_MAX_DEPTH = 100  # lists and objects in one another


class MqttSource(Source[Sample[Any]]):
    """Yields the messages of some topics as samples; reconnects by itself.

    `Sample.data` is the decoded JSON, or bytes; ``meta["topic"]`` is the topic and
    ``meta["retained"]`` tells a message that the broker had kept. A payload that is too
    large, no JSON or nested more than 100 deep is counted and left out. Messages that are
    published while the connection is broken are not received.

    Args:
        topics: Topic filters; ``+`` and ``#`` as in MQTT.
        broker: Where to subscribe; or a host name.
        qos: 0, 1 or 2.
        payload: ``"json"`` or ``"bytes"``.
        max_bytes: Largest payload.
        options: As for `Source`.

    Attributes:
        dropped: Messages left out, by cause: ``"malformed"``, ``"too-large"``,
            ``"overflow"`` when nobody took them in time.

    Example:
        ``edgeml.MqttSource("home/+/motion", broker="broker.local") | on_motion``
    """

    live = True

    def __init__(
        self,
        *topics: str,
        broker: Broker | str = "localhost",
        qos: Literal[0, 1, 2] = 1,
        payload: Literal["json", "bytes"] = "json",
        max_bytes: int = 1 << 20,
        **options: Any,
    ) -> None:
        super().__init__(**{"name": "mqtt-source", "reconnect": Backoff(), **options})
        if not topics:
            raise ValueError("MqttSource: give at least one topic filter, such as 'home/#'")
        for topic in topics:
            check_filter(topic)
        if qos not in (0, 1, 2):
            raise ValueError(f"qos must be 0, 1 or 2; received {qos!r}")
        if payload not in ("json", "bytes"):
            raise ValueError(f'payload must be "json" or "bytes"; received {payload!r}')
        self.topics = topics
        self.broker = Broker(broker) if isinstance(broker, str) else broker
        self.qos = qos
        self.payload = payload
        self.max_bytes = max_bytes
        self._dropped: dict[str, int] = {}
        self._waiting: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self._stack: AsyncExitStack | None = None
        self._connection: Connection | None = None

    @property
    def dropped(self) -> Mapping[str, int]:
        """Messages left out, by cause."""
        return dict(self._dropped)

    async def _open(self) -> None:
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        connect = self.broker.connect(role=self.name, inbox=lambda maxsize: _Inbox(self))
        try:
            async with AsyncExitStack() as stack:
                connection = await stack.enter_async_context(connect)
                for topic in self.topics:
                    granted = await connection.client.subscribe(topic, qos=self.qos)
                    if any(code.is_failure for code in granted):
                        who = self.broker.username or "a client without username"
                        raise aiomqtt.MqttError(f"may not read {topic!r}: check what {who} may do")
                connection.lost.add_done_callback(lambda _: self._news.set())
                self._connection = connection
                self._stack = stack.pop_all()
        except PublishError as error:
            raise DeviceLost(str(error), device=self.name) from error

    async def _read(self) -> Sample[Any]:
        while True:
            message, arrived = await self._next()
            topic = str(message.topic)
            try:
                data = self._decode(message.payload)
            except (ValueError, RecursionError) as error:
                self._drop("malformed", f"on {topic}: {error}")
                continue
            sample: Sample[Any] = self._sample(
                data, t=arrived, topic=topic, retained=message.retain
            )
            return sample.replace(arrived=arrived)

    async def _next(self) -> tuple[Any, int]:
        """Return the next message and when it arrived, also one that came before a loss."""
        connection = self._connection
        assert connection is not None
        while not self._waiting:
            if connection.lost.done():
                raise DeviceLost(f"{self.broker.address}: the connection broke", device=self.name)
            self._news.clear()
            await self._news.wait()
        message, arrived = self._waiting.popleft()
        self._bytes -= len(message.payload)
        return message, arrived

    def _decode(self, payload: bytes) -> Any:
        if self.payload == "bytes":
            return payload
        data = json.loads(payload, parse_constant=_refuse)
        # Who works on it may go down into it with calls, of which Python allows so many only.
        if payload.count(b"[") + payload.count(b"{") > _MAX_DEPTH and _is_deep(data):
            raise ValueError(f"lists and objects are nested more than {_MAX_DEPTH} deep")
        return data

    def _receive(self, message: Any) -> None:
        """Take a message from the network; on the loop."""
        size = len(message.payload)
        if size > self.max_bytes:
            self._drop("too-large", f"on {message.topic}: {size} bytes, max_bytes={self.max_bytes}")
            return
        self._waiting.append((message, time.monotonic_ns()))
        self._bytes += size
        while len(self._waiting) > _MAX_WAITING or self._bytes > 8 * self.max_bytes:
            oldest, _ = self._waiting.popleft()
            self._bytes -= len(oldest.payload)
            self._drop("overflow", f"{_MAX_WAITING} messages or {8 * self.max_bytes} bytes wait")
        self._news.set()

    def _drop(self, cause: str, detail: str) -> None:
        if cause not in self._dropped:
            log.warning(
                "%s: a message is left out (%s) %s; more of these are counted without a log line",
                self.name, cause, detail,
            )  # fmt: skip
        self._dropped[cause] = self._dropped.get(cause, 0) + 1

    async def _close(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            try:
                await stack.aclose()
            except PublishError as error:
                log.debug("%s: while disconnecting: %s", self.name, error)


class _Inbox:
    """The queue in which aiomqtt puts what arrives: it outlives the connection."""

    def __init__(self, source: MqttSource) -> None:
        self.put_nowait = source._receive


def _is_deep(data: Any) -> bool:
    level = [data]
    for _ in range(_MAX_DEPTH):
        inner = [part.values() if isinstance(part, dict) else part for part in level
                 if isinstance(part, dict | list)]  # fmt: skip
        level = [each for part in inner for each in part]
    return any(isinstance(part, dict | list) for part in level)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")
