"""A broker inside the program, for trying things out on one machine."""

from __future__ import annotations

import asyncio
import logging
import socket
from types import TracebackType
from typing import Any, Self

from edgeml._require import require
from edgeml.errors import PublishError


class EmbeddedBroker:
    """An MQTT broker (amqtt) on the loopback interface only; nothing is kept on disk.

    Args:
        port: TCP port; 0 takes a free one.

    Raises:
        PublishError: on entering: the port is taken.
        MissingExtra: on entering: amqtt is not installed.

    Example:
        ``async with EmbeddedBroker() as broker: print(broker.port)``
    """

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self._broker: Any = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        amqtt = require("amqtt.broker", extra="broker", purpose="The embedded broker")
        errors = require("amqtt.errors", extra="broker", purpose="The embedded broker")
        for name in ("amqtt", "transitions"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if self.port == 0:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        self._broker = amqtt.Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{self.port}"}},
                "plugins": {
                    "amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}
                },
            }
        )
        self._serve, self._broker.stream_connected = self._broker.stream_connected, self._connected
        try:
            await self._broker.start()
        except errors.BrokerError as error:
            raise PublishError(
                f"the embedded broker cannot listen on port {self.port} of 127.0.0.1; expected a "
                f"free port, or 0 to take one: {error.__cause__ or error}"
            ) from error
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # amqtt leaves the connections of clients that are still there open.
        writers = list(self._writers)
        for writer in writers:
            writer.close()
        await self._broker.shutdown()
        await asyncio.gather(*(w.wait_closed() for w in writers), return_exceptions=True)

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, listener_name: str
    ) -> None:
        self._writers.add(writer)
        try:
            await self._serve(reader, writer, listener_name)
        finally:
            self._writers.discard(writer)
            writer.close()
