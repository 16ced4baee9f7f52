"""What systemd is told of a service: ready, alive, how it is doing, stopping.

The protocol is one datagram of ``KEY=VALUE`` lines; see systemd's manual, sd_notify(3), which asks
programs to speak it themselves.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgeml.cli._flow import Flow

if TYPE_CHECKING:
    from edgeml.app import App

log = logging.getLogger("edgeml.cli")

_TICK = 1.0  # seconds between two looks, at most
_STATUS_EVERY = 5.0  # seconds


class Notifier:
    """Tells the service manager about this process.

    Args:
        address: Of the manager's socket; a leading ``@`` is the abstract namespace's.
        watchdog: Seconds within which the manager wants a sign of life; None when it does not.
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        self.address = f"\0{address[1:]}" if address.startswith("@") else address
        self.watchdog = watchdog
        self._broken = False

    @staticmethod
    def of(environment: Mapping[str, str]) -> Notifier | None:
        """Return how to tell; None when no service manager has started us."""
        address = environment.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return None
        return Notifier(address, _watchdog(environment))

    def tell(self, **fields: str) -> bool:
        """Send fields, such as ``READY="1"``; return whether they are on their way.

        A manager that does not listen is logged once.
        """
        text = "\n".join(f"{key}={' '.join(value.split())}" for key, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)  # a manager that is busy must not hold the loop up
                sender.sendto(text.encode(), self.address)
        except BlockingIOError:
            return False  # its queue is full; the next tick tells again
        except OSError as error:
            if not self._broken:
                log.warning("systemd cannot be told how we are: %s", error)
            self._broken = True
            return False
        return True


def _watchdog(environment: Mapping[str, str]) -> float | None:
    usec = environment.get("WATCHDOG_USEC", "")
    ours = environment.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(usec) / 1e6 if ours and usec.isdecimal() and int(usec) else None


class Reporter:
    """Reports on an app for as long as it runs.

    ``READY=1`` is sent once the sources are open, ``WATCHDOG=1`` at half of the time that the
    manager waits, and only while frames flow and results leave; then `Flow` says why not.

    Args:
        app: What runs.
        notifier: Tells the manager.
    """

    def __init__(self, app: App, notifier: Notifier) -> None:
        self.app = app
        self.notifier = notifier
        self._stopping = False

    async def report(self) -> None:
        """Report until cancelled."""
        every = self.notifier.watchdog
        tick = _TICK if every is None else min(_TICK, every / 8)
        assert self.app.pipeline is not None
        flow = Flow([chain.steps()[0] for chain in self.app.pipeline.chains])
        ready, pinged, said = False, 0.0, 0.0
        while not self._stopping:
            stats = self.app.stats()
            now = time.monotonic()
            if stats is not None:
                flow.look(stats)
                if not ready and flow.is_open() and self.notifier.tell(READY="1"):
                    ready, pinged = True, now
                    flow.mark()
                is_due = ready and every is not None and now - pinged >= every / 2
                if is_due and flow.flows() and self.notifier.tell(WATCHDOG="1"):
                    pinged = now
                    flow.mark()
                if now - said >= min(_STATUS_EVERY, (every or _STATUS_EVERY) / 2):
                    self.notifier.tell(STATUS=flow.status() + self._broker())
                    said = now
            await asyncio.sleep(tick)

    def _broker(self) -> str:
        if (sink := self.app.sink) is None:
            return ""
        lost = sum(sink.dropped.values())
        return f"; broker {sink.state}" + (f", {lost} messages lost" if lost else "")

    def stopping(self) -> None:
        """Say that the app drains: from here on a lack of frames is no fault."""
        self._stopping = True
        self.notifier.tell(STOPPING="1", STATUS="what is on its way arrives")


def reporter_of(app: App) -> Reporter | None:
    """Return what reports on an app; None when no service manager has started us."""
    notifier = Notifier.of(os.environ)
    return None if notifier is None else Reporter(app, notifier)
