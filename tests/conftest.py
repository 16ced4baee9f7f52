"""What all tests share."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# No deadline: a slow machine is no failure. In CI the same examples each time.
settings.register_profile("edgeml", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("edgeml")


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Fail when a test leaves a thread behind."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 5
    while left := [t for t in threading.enumerate() if t not in before and t.is_alive()]:
        assert time.monotonic() < deadline, f"threads left: {left}"
        left[0].join(0.05)


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Return a port of this machine on which nobody listens, each time another: free_port()."""

    def find() -> int:
        while True:
            # Below those that the system hands out by itself: nobody else is given it meanwhile,
            # and a client that tries it again and again never reaches itself.
            port = random.SystemRandom().randrange(20_000, 32_000)
            with socket.socket() as probe:
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port

    return find


@pytest.fixture
def no_rights(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Return what takes away the right to look into `tmp_path`, from root, too."""
    was_root = os.geteuid() == 0

    def take() -> None:
        tmp_path.chmod(0)
        if was_root:
            os.seteuid(65534)  # nobody
            if not os.access(__file__, os.R_OK, effective_ids=True):
                pytest.skip("we are root, and nobody else may read the folder of this project")

    yield take
    if was_root:
        os.seteuid(0)
    tmp_path.chmod(0o700)


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Wait for a condition, with a deadline, giving the loop its turns."""

    async def wait(condition: Callable[[], Any], deadline: float = 20.0) -> None:
        async with asyncio.timeout(deadline):
            while not condition():  # noqa: ASYNC110 - the condition is not ours to signal
                await asyncio.sleep(0.001)

    return wait
