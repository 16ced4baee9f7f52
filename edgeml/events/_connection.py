"""How to reach a broker, and what its refusals mean."""

from __future__ import annotations

import logging
import re
import ssl
from dataclasses import dataclass, field
from difflib import get_close_matches
from string import Formatter
from typing import Any

from edgeml._require import require
from edgeml.errors import ConfigError, PublishError

log = logging.getLogger("edgeml.events")

_paho_log = logging.getLogger("edgeml.events.paho")
_paho_log.setLevel(logging.CRITICAL)  # what it has to say comes as exceptions

_REFUSED = re.compile(
    r"not authori[sz]ed|bad user ?name or password|certificate|CERTIFICATE|hostname|"
    r"handshake|alert|identifier",
)


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
        key: File with the key of `cert`.
        client_id: Our name at the broker; by default one of its choosing.
        keepalive: Seconds without traffic after which the broker takes us for lost.
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

    def client(self, will: tuple[str, str] | None = None) -> Any:
        """Return an `aiomqtt.Client`, not connected yet.

        Raises:
            ConfigError: a certificate file cannot be read.
        """
        aiomqtt = require("aiomqtt", extra="mqtt", purpose="MQTT")
        return aiomqtt.Client(
            self.host,
            self.real_port,
            username=self.username,
            password=self.password,
            identifier=self.client_id,
            keepalive=self.keepalive,
            tls_context=self._context() if self.encrypted else None,
            will=aiomqtt.Will(*will, qos=1, retain=True) if will else None,
            timeout=max(10.0, self.keepalive / 2),
            logger=_paho_log,
        )

    def _context(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(f for f in (self.ca, self.cert, self.key) if f)
            raise ConfigError(
                f"{self.address}: cannot use the certificates {files}: {error}"
            ) from error
        return context

    def failure(self, error: BaseException) -> PublishError:
        """Return our error for one of aiomqtt's; `refused` says that trying again is vain."""
        text = str(error) or type(error).__name__
        refused = bool(_REFUSED.search(text))
        advice = ""
        if "authori" in text or "password" in text:
            advice = "; check username and password"
        elif "expired" in text:
            advice = "; the broker's certificate must be renewed, or this device's clock is wrong"
        elif "self-signed" in text or "self signed" in text or "unable to get" in text:
            advice = "; give the CA that signed it with ca="
        elif "ostname mismatch" in text or "IP address mismatch" in text:
            advice = "; the certificate is for another name: use that name as host="
        return PublishError(f"{self.address}: {text}{advice}", refused=refused)


def format_topic(template: str, **values: str) -> str:
    """Fill in a topic template; empty values leave no empty level behind.

    Raises:
        ValueError: the template has an unknown field, or a value a wildcard.
    """
    for _, name, _, _ in Formatter().parse(template):
        if name is not None and name not in values:
            near = get_close_matches(name, values, 1)
            hint = f"; did you mean {{{near[0]}}}?" if near else ""
            known = ", ".join(f"{{{v}}}" for v in values)
            raise ValueError(f"topic {template!r}: unknown field {{{name}}}{hint} Known: {known}")
    for name, value in values.items():
        if set("+#\0") & set(value):
            raise ValueError(f"topic {template!r}: {name} {value!r} has a wildcard, + or #")
    filled = template.format(**values)
    return "/".join(level for level in filled.split("/") if level)
