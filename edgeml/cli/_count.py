"""A second MQTT client that counts what the app publishes: the proof that it arrives."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING

from edgeml.errors import PublishError

if TYPE_CHECKING:
    from edgeml.events import MqttSink

log = logging.getLogger("edgeml.cli")

_RETRY = 0.1  # seconds


class Subscriber:
    """Counts messages by topic, until it is cancelled."""

    def __init__(self, sink: MqttSink) -> None:
        self._sink = sink
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Subscribe to everything the sink publishes; try until the broker is there."""
        while True:
            try:
                async with self._sink.broker.connect(role="count") as connection:
                    await connection.client.subscribe(f"{self._sink.prefix}/#", qos=1)
                    async for message in connection.client.messages:
                        self.counts[str(message.topic)] += 1
            except PublishError as error:
                log.debug("subscriber: %s", error)
                await asyncio.sleep(_RETRY)

    def line(self) -> str:
        """Return what arrived, in a sentence."""
        of_events = {t: n for t, n in self.counts.items() if not t.endswith("/availability")}
        topics = ", ".join(f"{n} on {topic}" for topic, n in sorted(of_events.items()))
        return (
            f"MQTT: {self._sink.published} messages published to {self._sink.broker.address}; "
            f"a second client received {topics or 'none'}"
        )
