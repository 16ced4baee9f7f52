"""The broker that `edgeml service install` sets up, with the certificates that the guide makes."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from edgeml.cli._service_board import COMMON
from edgeml.errors import PublishError
from edgeml.events import Broker, MqttSink
from edgeml.streams import Source

GUIDE = Path(__file__).parents[3] / "docs/guide/service.md"
PASSWORDS = {"porch": "a b", "attic": "c d", "homeassistant": "e f"}


class Home:
    """A running broker, and its two clients from Debian."""

    def __init__(self, broker, ca: Path):
        self.broker, self.ca = broker, ca

    def command(self, program: str, user: str, *words: str) -> list[str]:
        return [program, "-h", "localhost", "-p", str(self.broker.port), "--cafile", str(self.ca),
                "-u", user, "-P", PASSWORDS[user], "-V", "5", "-q", "1", *words]  # fmt: skip

    def publish(self, user: str, topic: str) -> str:
        """Publish as a user; return what the client has to complain about."""
        done = subprocess.run(self.command("mosquitto_pub", user, "-t", topic, "-m", "1", "-r"),
                              capture_output=True, text=True, timeout=30)  # fmt: skip
        return done.stdout + done.stderr

    def retained(self, user: str) -> list[str]:
        """Return the topics whose retained messages a user is given."""
        words = ("-t", "#", "-F", "%t", "--retained-only", "-W", "1")
        done = subprocess.run(self.command("mosquitto_sub", user, *words),
                              capture_output=True, text=True, timeout=30)  # fmt: skip
        return sorted(done.stdout.split())


@pytest.fixture
def home(mosquitto, tmp_path) -> Home:
    for program in ("openssl", "mosquitto_pub", "mosquitto_passwd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt install mosquitto-clients openssl)")
    script = re.search(r"<!-- test: certificates -->\n```sh\n(.*?)```", GUIDE.read_text(), re.S)[1]
    subprocess.run(["sh", "-euc", script], cwd=tmp_path, check=True, capture_output=True)
    passwords = tmp_path / "edgeml.passwd"
    for i, (user, password) in enumerate(PASSWORDS.items()):
        words = ["-b", *(["-c"] if i == 0 else []), str(passwords), user, password]
        subprocess.run(["mosquitto_passwd", *words], check=True, capture_output=True)
    shutil.copy(COMMON / "mosquitto.acl", tmp_path / "edgeml.acl")
    config = (COMMON / "mosquitto.conf").read_text()
    config = config.replace("/etc/mosquitto/certs/", f"{tmp_path}/")
    config = config.replace("/etc/mosquitto/", f"{tmp_path}/")
    made = mosquitto(started=False)
    config = config.replace("listener 8883", f"listener {made.port} 127.0.0.1")
    made.file.write_text(f"{config}\nuser root\n")
    made.start()
    return Home(made, tmp_path / "ca.crt")


def test_each_user_publishes_below_its_own_name_only(home):
    assert home.publish("porch", "edgeml/porch/door/people") == ""
    assert home.publish("porch", "homeassistant/device/porch/config") == ""
    for topic in ("edgeml/attic/door", "edgeml", "homeassistant/device/attic/config", "lamp/on"):
        assert "Not authorized" in home.publish("porch", topic)
    assert home.publish("attic", "edgeml/attic/door") == ""
    # What was refused is not there; each sees its own, and Home Assistant sees all.
    assert home.retained("porch") == ["edgeml/porch/door/people"]
    assert home.retained("homeassistant") == [
        "edgeml/attic/door", "edgeml/porch/door/people", "homeassistant/device/porch/config",
    ]  # fmt: skip


async def test_our_own_sink_is_let_in(home):
    broker = Broker("localhost", home.broker.port, username="porch", password="a b",
                    ca=str(home.ca))  # fmt: skip
    sink = MqttSink(broker, prefix="edgeml/porch", task="n", retain=True)
    await (Source.of([1, 2], name="count") | sink).run()
    assert (sink.published, dict(sink.dropped)) == (2, {})
    assert "edgeml/porch/n" in home.retained("homeassistant")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"username": "porch", "password": "wrong"}, "[Nn]ot authorized|[Bb]ad user"),
        ({"username": "nobody", "password": "a b"}, "[Nn]ot authorized|[Bb]ad user"),
        ({}, "[Nn]ot authorized|[Bb]ad user"),
    ],
)
async def test_nobody_is_let_in_without_name_and_password(home, options, reason):
    broker = Broker("localhost", home.broker.port, ca=str(home.ca), **options)
    with pytest.raises(PublishError, match=reason):
        async with broker.connect(role="test"):
            pass


def test_nothing_is_said_in_the_clear(home):
    with socket.create_connection(("127.0.0.1", home.broker.port), timeout=30) as plain:
        plain.sendall(bytes.fromhex("100c00044d5154540402003c0000"))  # MQTT 3.1.1 CONNECT
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            answer = plain.recv(4)
    assert answer[:1] != b"\x20"  # no CONNACK: the connection was closed, or a TLS alert came
    old = ["openssl", "s_client", "-connect", f"127.0.0.1:{home.broker.port}", "-tls1_1"]
    done = subprocess.run(old, input="", capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
