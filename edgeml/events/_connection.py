"""How to reach a broker: settings, and one connection at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from edgeml._require import require
from edgeml.errors import ConfigError, PublishError
from edgeml.events._refusal import explain
from edgeml.streams._workers import Workers

log = logging.getLogger("edgeml.events")

_paho_log = logging.getLogger("edgeml.events.paho")
_paho_log.setLevel(logging.CRITICAL)  # what it has to say comes as exceptions

_ERROR = 8  # paho's MQTT_LOG_ERR
_HANDSHAKE = 10.0  # seconds


@dataclass(frozen=True)
class Broker:
    """Address of an MQTT broker, and how to be let in.

    Attributes:
        host: Name or address.
        port: TCP port; 1883 by default, 8883 with TLS.
        username: User name.
        password: Never logged.
        tls: Encrypt, and check the broker's certificate and name.
        ca: File with the certificates to trust instead of the system's; implies `tls`.
        cert: File with our certificate; implies `tls`.
        key: File with the key of `cert`; None when it is in the same file.
        client_id: Our name at the broker; by default one of its choosing. A source that
            shares these settings with a sink adds its own name, since a broker lets in
            only one client of a name.
        keepalive: Seconds without traffic after which the broker takes us for lost.

    Raises:
        ValueError: the settings contradict each other.

    Example:
        >>> from edgeml.events import Broker
        >>> Broker("broker.local", username="porch", password="…", ca="home-ca.pem").address
        'mqtts://broker.local:8883'
    """

    host: str = "localhost"
    port: int | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    client_id: str | None = None
    keepalive: int = 30

    def __post_init__(self) -> None:
        if not _is_host(self.host):
            raise ValueError(
                f"host must be a name or an address without mqtt:// or path; received {self.host!r}"
            )
        if self.port is not None and not 1 <= self.port <= 65_535:
            raise ValueError(f"port must be 1 to 65535; received {self.port}")
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username: MQTT sends none without the other")
        if self.key is not None and self.cert is None:
            raise ValueError(f"key {self.key!r} is given without the cert that it belongs to")
        if not 5 <= self.keepalive <= 65_535:
            raise ValueError(f"keepalive must be 5 to 65535 seconds; received {self.keepalive}")

    @property
    def encrypted(self) -> bool:
        """Whether TLS is used."""
        return self.tls or self.ca is not None or self.cert is not None

    @property
    def address(self) -> str:
        """For messages: never with a password."""
        scheme = "mqtts" if self.encrypted else "mqtt"
        return f"{scheme}://{self.host}:{self.real_port}"

    @property
    def real_port(self) -> int:
        """The port, the default filled in."""
        return self.port or (8883 if self.encrypted else 1883)

    def client(
        self,
        will: tuple[str, str] | None = None,
        *,
        role: str = "",
        inbox: Callable[..., Any] | None = None,
        **more: Any,
    ) -> Any:
        """Return an `aiomqtt.Client`, not connected yet; `connect` makes and connects one.

        `more` are keywords of that class.

        Raises:
            ConfigError: a certificate file cannot be read.
        """
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        identifier = f"{self.client_id}-{role}" if self.client_id and role else self.client_id
        return aiomqtt.Client(
            self.host,
            self.real_port,
            username=self.username,
            password=self.password,
            identifier=identifier,
            keepalive=self.keepalive,
            tls_context=self._context() if self.encrypted else None,
            will=aiomqtt.Will(*will, qos=1, retain=True) if will else None,
            timeout=max(10.0, self.keepalive / 2),
            queue_type=inbox,
            logger=_paho_log,
            **more,
        )

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            context.sslsocket_class = _Socket
            if self.cert is not None:
                # Without a password OpenSSL would ask for one at the terminal.
                context.load_cert_chain(self.cert, self.key, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(f for f in (self.ca, self.cert, self.key) if f)
            raise ConfigError(
                f"{self.address}: cannot use the certificates {files}: {error}; expected PEM "
                "files that can be read, the key without a pass phrase"
            ) from error
        return context

    @contextlib.asynccontextmanager
    async def connect(
        self,
        will: tuple[str, str] | None = None,
        *,
        role: str = "",
        inbox: Callable[..., Any] | None = None,
        **more: Any,
    ) -> AsyncIterator[Connection]:
        """Connect, and disconnect after the body.

        When the body fails or is cancelled the socket is closed without a farewell, so that
        the broker publishes the last will.

        Args:
            will: Topic and payload that the broker publishes, retained, when we are lost.
            role: Added to the client id, if there is one.
            inbox: Makes the queue for what arrives.
            **more: Keywords of `aiomqtt.Client`.

        Raises:
            PublishError: the broker is not there, refused us, or is gone; `refused` tells.
            ConfigError: a certificate file cannot be read.
        """
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        connection = Connection(self.client(will, role=role, inbox=inbox, **more))
        try:
            await connection.open()
            yield connection
            await connection.client.__aexit__(None, None, None)
        except aiomqtt.MqttError as error:
            raise self.failure(error, connection.heard) from error
        finally:
            connection.hang_up()

    def failure(self, error: BaseException, heard: str = "") -> PublishError:
        """Return our error for one of aiomqtt's; `refused` says that trying again is vain."""
        text, refused = explain(error, heard)
        return PublishError(f"{self.address}: {text}", refused=refused)


def _is_host(text: str) -> bool:
    try:
        text.encode("idna")
    except UnicodeError:
        return False
    return bool(text) and not any(c in "/@" or c.isspace() or not c.isprintable() for c in text)


class _Socket(ssl.SSLSocket):
    """Gives up a handshake that takes too long, and closes what paho forgets to close."""

    def do_handshake(self, block: bool = False) -> None:
        """Shake hands, or close."""
        try:
            self.settimeout(_HANDSHAKE)
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


class Connection:
    """An aiomqtt client with what it keeps to itself: that the connection broke, and why.

    Attributes:
        client: The client.
        heard: The last error that paho logged.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self.heard = ""
        # aiomqtt has no public way to what is needed here: the reason of a TLS alert, the
        # loss of a connection that was never let in, and closing without a farewell.
        self._paho = client._client
        self._gone = asyncio.get_running_loop().create_future()
        self._attempt: asyncio.Future[Any] | None = None
        self._forward = self._paho.on_disconnect
        self._paho.on_disconnect = self._on_disconnect
        self._paho.on_log = self._on_log

    def _on_log(self, _client: Any, _userdata: Any, level: int, text: str) -> None:
        if level == _ERROR:
            self.heard = text.removeprefix("failed to receive on socket: ")

    def _on_disconnect(self, *args: Any) -> None:
        self._forward(*args)
        if not self._gone.done():
            self._gone.set_result(None)

    async def open(self) -> None:
        """Connect; fails at once when the broker closes the connection unanswered."""
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        self._attempt = asyncio.create_task(self._enter(), name="mqtt connecting")
        await asyncio.wait({self._attempt, self._gone}, return_when=asyncio.FIRST_COMPLETED)
        # A refusal comes as an answer and then the end of the connection.
        if not self._attempt.done() and not self.client._connected.done():
            raise aiomqtt.MqttError(
                "the broker closed the connection before it let us in; is this port one with TLS?"
            )
        await self._attempt

    async def _enter(self) -> None:
        """Connect in a thread of our own, which nobody has to wait for when the program ends.

        aiomqtt takes one of the loop's executor: then a name server that is silent holds up the
        end, too.
        """
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        workers = Workers(1, "edgeml-mqtt")
        connecting = workers.submit(self.client._client_connect)
        workers.close()
        try:
            await connecting
        except OSError as error:
            raise aiomqtt.MqttError(str(error)) from error
        self.client._client_connect = lambda: None  # it has been done
        await self.client.__aenter__()

    @property
    def lost(self) -> asyncio.Future[None]:
        """Done when the connection has broken."""
        future: asyncio.Future[None] = self.client._disconnected
        return future

    def check(self) -> None:
        """Raise `aiomqtt.MqttError` when the connection has broken."""
        if self.lost.done():
            aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
            raise aiomqtt.MqttError("the connection broke") from self.lost.exception()

    def hang_up(self) -> None:
        """Close the socket, whatever state it is in; idempotent."""
        attempt = self._attempt
        if attempt is None:
            return
        if not attempt.done() and self._paho.socket() is None:
            # A thread is connecting and cannot be stopped; its own time-outs end it.
            attempt.add_done_callback(lambda _: self.hang_up())
            return
        attempt.cancel()
        self._paho._sock_close()
        for future in (attempt, self.lost):
            if future.done() and not future.cancelled():
                future.exception()  # has been told, or is of no interest any more
