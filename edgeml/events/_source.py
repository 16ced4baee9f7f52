"""A source that subscribes over MQTT."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any, Literal

from edgeml._require import require
from edgeml.errors import DeviceLost
from edgeml.events._connection import Broker
from edgeml.streams import Backoff, Sample, Source

log = logging.getLogger("edgeml.events")


class MqttSource(Source[Sample[Any]]):
    """Yields the messages of some topics as samples; reconnects by itself.

    `Sample.data` is the decoded JSON, or bytes; ``meta["topic"]`` is the topic and
    ``meta["retained"]`` tells a message that the broker had kept. A payload that is too
    large or no JSON is counted and left out.

    Args:
        topics: Topic filters; ``+`` and ``#`` as in MQTT.
        broker: Where to subscribe; or a host name.
        qos: 0, 1 or 2.
        payload: ``"json"`` or ``"bytes"``.
        max_bytes: Largest payload.
        options: As for `Source`.

    Attributes:
        malformed: Messages that were left out.

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
        if payload not in ("json", "bytes"):
            raise ValueError(f'payload must be "json" or "bytes"; received {payload!r}')
        self.topics = topics
        self.broker = Broker(broker) if isinstance(broker, str) else broker
        self.qos = qos
        self.payload = payload
        self.max_bytes = max_bytes
        self.malformed = 0
        self._stack: AsyncExitStack | None = None
        self._messages: AsyncIterator[Any] | None = None

    async def _open(self) -> None:
        self._aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        stack = AsyncExitStack()
        try:
            client = await stack.enter_async_context(self.broker.client())
            for topic in self.topics:
                await client.subscribe(topic, qos=self.qos)
        except self._aiomqtt.MqttError as error:
            await self._leave(stack)
            raise DeviceLost(str(self.broker.failure(error)), device=self.name) from error
        self._stack = stack
        self._messages = aiter(client.messages)

    async def _read(self) -> Sample[Any]:
        assert self._messages is not None
        while True:
            try:
                message = await anext(self._messages)
            except self._aiomqtt.MqttError as error:
                raise DeviceLost(str(self.broker.failure(error)), device=self.name) from error
            topic = str(message.topic)
            try:
                data = self._decode(message.payload)
            except ValueError as error:
                self.malformed += 1
                level = logging.WARNING if self.malformed == 1 else logging.DEBUG
                log.log(level, "%s: a message on %s is left out: %s", self.name, topic, error)
                continue
            sample: Sample[Any] = self._sample(data, topic=topic, retained=message.retain)
            return sample

    def _decode(self, payload: bytes) -> Any:
        if len(payload) > self.max_bytes:
            raise ValueError(f"{len(payload)} bytes, more than max_bytes={self.max_bytes}")
        return bytes(payload) if self.payload == "bytes" else json.loads(payload)

    async def _close(self) -> None:
        stack, self._stack = self._stack, None
        if stack is not None:
            await self._leave(stack)

    async def _leave(self, stack: AsyncExitStack) -> None:
        try:
            await stack.aclose()
        except self._aiomqtt.MqttError as error:
            log.debug("%s: while disconnecting: %s", self.name, error)
