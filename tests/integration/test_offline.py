"""The demo needs no way out: it runs in a network namespace that has only a loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

ALONE = ("unshare", "--net", "--map-root-user", "sh", "-c")


def _alone(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ALONE, f"ip link set lo up && {command}"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def namespaces() -> None:
    for tool in ("unshare", "ip"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed (Debian: util-linux, iproute2)")
    tried = _alone("true")
    if tried.returncode:
        pytest.skip(f"network namespaces are not allowed here: {tried.stderr.strip()}")


def test_the_namespace_has_no_way_out() -> None:
    program = "import socket; socket.create_connection(('192.0.2.1', 80), timeout=5)"
    done = _alone(f'{sys.executable} -c "{program}"')
    assert "Network is unreachable" in done.stderr


def test_the_demo_finds_everything_without_a_network() -> None:
    done = _alone(f"{sys.executable} -m edgeml demo --seconds 4 --json")
    assert done.returncode == 0, done.stderr
    *events, summary = map(json.loads, done.stdout.splitlines())
    assert {event["source"] for event in events} == {"street", "room", "watch"}
    assert summary["type"] == "summary"
    assert "a second client received" in done.stderr  # over MQTT, on the loopback


def test_no_usage_data_are_kept_or_sent(tmp_path) -> None:
    """ONNX Runtime's wheel would collect them below the home, to send them later."""
    program = (
        "import os, edgeml; edgeml.load('edgeml:activity_watch_int8.onnx').close(); "
        "assert 'ORT_DISABLE_TELEMETRY' not in os.environ"
    )
    home = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-c", program], env=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert [*tmp_path.rglob("*")] == []
