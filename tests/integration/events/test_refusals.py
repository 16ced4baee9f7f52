"""Brokers that refuse: passwords and certificates; the reason is told, the rest is kept."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.errors import ConfigError, DeviceLost, PublishError
from edgeml.events import Broker, MqttSink, MqttSource
from edgeml.streams import Source

PLUGINS = sorted(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"))
RULES = """{
  "defaultACLAccess": {"publishClientSend": true, "publishClientReceive": true,
                       "subscribe": false, "unsubscribe": true},
  "clients": [], "groups": [{"groupname": "all"}], "roles": [], "anonymousGroup": "all"
}"""


def run(*command):
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr


class Authority:
    """A certificate authority, by openssl."""

    def __init__(self, folder, name):
        self.folder = folder
        self.ca = folder / f"{name}.pem"
        self.key = folder / f"{name}.key"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
            "-nodes", "-keyout", str(self.key), "-out", str(self.ca), "-days", "30",
            "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip

    def issue(self, name, *, names="IP:127.0.0.1", dates=("-days", "30")):
        """Return (certificate, key) signed by us."""
        cert, key, request, extra = (
            self.folder / f"{name}.{e}" for e in ("pem", "key", "csr", "x")
        )
        extra.write_text(f"subjectAltName={names}\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}")  # fmt: skip
        run("openssl", "x509", "-req", "-in", str(request), "-CA", str(self.ca),
            "-CAkey", str(self.key), "-CAcreateserial", "-out", str(cert), "-extfile", str(extra),
            *dates)  # fmt: skip
        return cert, key

    def expire(self, name):
        """Return (certificate, key) whose time is over."""
        cert, key, request = (self.folder / f"{name}.{e}" for e in ("pem", "key", "csr"))
        database = self.folder / "database"
        database.write_text("")
        config = self.folder / "ca.conf"
        config.write_text(
            "[ca]\ndefault_ca = us\n[us]\n"
            f"database = {database}\nnew_certs_dir = {self.folder}\nrand_serial = yes\n"
            "default_md = sha256\npolicy = any\nx509_extensions = names\n"
            "[any]\ncommonName = supplied\n[names]\nsubjectAltName = IP:127.0.0.1\n"
        )
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
            "-keyout", str(key), "-out", str(request), "-subj", f"/CN={name}")  # fmt: skip
        run("openssl", "ca", "-batch", "-notext", "-config", str(config), "-cert", str(self.ca),
            "-keyfile", str(self.key), "-in", str(request), "-out", str(cert),
            "-startdate", "20200101000000Z", "-enddate", "20200201000000Z")  # fmt: skip
        return cert, key


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path, "home-ca")


def tls(cert, key, more=""):
    return f"allow_anonymous true\ncertfile {cert}\nkeyfile {key}\n{more}"


@pytest.fixture
def with_password(mosquitto, tmp_path):
    file = tmp_path / "passwords"
    run("mosquitto_passwd", "-b", "-c", str(file), "porch", "right-one")
    file.chmod(0o600)
    return mosquitto(config=f"allow_anonymous false\npassword_file {file}")


async def refusal(broker, until, caplog):
    """Return what a sink says about a broker that refuses; it keeps what it has."""
    with caplog.at_level(logging.DEBUG):
        sink = MqttSink(broker)
        await sink.open()
        await sink.send({"n": 1})
        await until(lambda: sink.state == "refused")
        assert sink.queued == 1
        reason = sink.reason
        await sink.aclose()
    assert sink.dropped == {"unsent": 1}
    assert f"mqtt: refused: {reason}" in caplog.text
    return reason


async def test_the_right_password_opens(with_password, numbers):
    sink = MqttSink(with_password.broker(username="porch", password="right-one"))
    await (Source.of(numbers(0, 3), name="counter") | sink).run()
    assert sink.published == 3


async def test_a_wrong_password_is_told_and_never_shown(with_password, until, caplog):
    broker = with_password.broker(username="porch", password="wrong-one")
    reason = await refusal(broker, until, caplog)
    assert reason.startswith(f"{broker.address}: refused: ")
    assert reason.endswith("check username and password")
    assert "wrong-one" not in caplog.text + repr(broker)


async def test_a_refusal_can_end_the_pipeline(with_password, until):
    sink = MqttSink(with_password.broker(username="porch", password="no"), on_refused="fail")
    await sink.open()
    await sink.send(1)
    await until(lambda: sink.state == "refused")
    with pytest.raises(PublishError, match="check username and password") as caught:
        await sink.send(2)
    assert caught.value.refused
    await sink.aclose()


async def test_a_password_that_is_put_right_at_the_broker_lets_us_in(
    with_password, soon, until, tmp_path
):
    sink = MqttSink(with_password.broker(username="porch", password="new-one"), backoff=soon)
    await sink.open()
    await sink.send(1)
    await until(lambda: sink.state == "refused")
    run("mosquitto_passwd", "-b", str(tmp_path / "passwords"), "porch", "new-one")
    with_password.kill()
    with_password.start()
    await until(lambda: sink.published == 1)
    await sink.aclose()


async def test_a_source_is_refused_too(with_password):
    broker = with_password.broker(username="porch", password="no")
    source = MqttSource("#", broker=broker, reconnect=None)
    with pytest.raises(DeviceLost, match=r"refused: .*check username and password"):
        await anext(source)


async def test_tls_with_our_own_authority(mosquitto, authority, numbers):
    server = mosquitto(config=tls(*authority.issue("broker")))
    sink = MqttSink(server.broker(ca=str(authority.ca)))
    await (Source.of(numbers(0, 3), name="counter") | sink).run()
    assert sink.published == 3


async def test_an_expired_certificate(mosquitto, authority, until, caplog):
    server = mosquitto(config=tls(*authority.expire("broker")))
    reason = await refusal(server.broker(ca=str(authority.ca)), until, caplog)
    assert "certificate has expired" in reason
    assert "must be renewed, or this device's clock is wrong" in reason


async def test_an_unknown_authority(mosquitto, authority, until, caplog):
    server = mosquitto(config=tls(*authority.issue("broker")))
    reason = await refusal(server.broker(tls=True), until, caplog)
    assert reason.endswith("with ca=")


async def test_a_certificate_for_another_name(mosquitto, authority, until, caplog):
    server = mosquitto(config=tls(*authority.issue("broker", names="DNS:broker.local")))
    reason = await refusal(server.broker(ca=str(authority.ca)), until, caplog)
    assert reason.endswith("give that name as host=")


async def test_a_certificate_of_the_client(mosquitto, authority, numbers, until, caplog, tmp_path):
    wanted = f"require_certificate true\ncafile {authority.ca}\n"
    server = mosquitto(config=tls(*authority.issue("broker"), wanted))
    cert, key = map(str, authority.issue("device"))
    sink = MqttSink(server.broker(ca=str(authority.ca), cert=cert, key=key))
    await (Source.of(numbers(0, 3), name="counter") | sink).run()
    assert sink.published == 3

    reason = await refusal(server.broker(ca=str(authority.ca)), until, caplog)
    assert reason.endswith("give cert= and key=")

    other = Authority(tmp_path, "other-ca")
    cert, key = map(str, other.issue("stranger"))
    broker = server.broker(ca=str(authority.ca), cert=cert, key=key)
    reason = await refusal(broker, until, caplog)
    assert reason.endswith("check cert= and key=")


async def test_tls_to_a_port_without_is_no_tight_loop_and_is_told(mosquitto, until):
    server = mosquitto()
    sink = MqttSink(server.broker(tls=True))
    await sink.open()
    await until(lambda: sink.state in ("reconnecting", "refused"))
    assert sink.reason.startswith("mqtts://127.0.0.1:")
    await sink.aclose()


async def test_no_tls_to_a_port_with_it_fails_at_once(mosquitto, authority, until):
    server = mosquitto(config=tls(*authority.issue("broker")))
    sink = MqttSink(server.broker())
    await sink.open()
    await until(lambda: sink.state == "reconnecting", 5)
    assert "closed the connection before it let us in; is this port one with TLS?" in sink.reason
    await sink.aclose()


async def test_certificate_files_that_cannot_be_used_are_an_error_at_once(authority, tmp_path):
    cert, key = map(str, authority.issue("device"))
    locked = str(tmp_path / "locked.key")
    run("openssl", "ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
    text = str(tmp_path / "text.pem")
    (tmp_path / "text.pem").write_text("no certificate\n")
    for broker in (
        Broker(ca=str(tmp_path / "absent.pem")),
        Broker(ca=text),
        Broker(ca=str(authority.ca), cert=cert, key=locked),
        Broker(ca=str(authority.ca), cert=cert, key=str(authority.key)),
    ):
        with pytest.raises(ConfigError, match="cannot use the certificates"):
            await MqttSink(broker).open()


async def test_a_source_may_not_read_a_topic(mosquitto, tmp_path):
    if not PLUGINS:
        pytest.skip("mosquitto has no plugin dynamic security, which refuses subscriptions")
    rules = tmp_path / "rules.json"
    rules.write_text(RULES)
    config = f"allow_anonymous true\nplugin {PLUGINS[0]}\nplugin_opt_config_file {rules}"
    source = MqttSource("secret/#", broker=mosquitto(config=config).broker(), reconnect=None)
    with pytest.raises(DeviceLost, match="may not read 'secret/#': check what a client without"):
        await anext(source)


def test_the_interpreter_is_quiet_about_a_refusal(with_password, tmp_path):
    """No 'exception was never retrieved', no pending task at the end of a program."""
    program = (
        "import asyncio\n"
        "from edgeml.events import Broker, MqttSink\n"
        "async def main():\n"
        "    asyncio.get_running_loop().slow_callback_duration = 60\n"
        "    refused = asyncio.Event()\n"
        f"    broker = Broker('127.0.0.1', {with_password.port}, username='a', password='b')\n"
        "    sink = MqttSink(broker, on_state=lambda s, r: s == 'refused' and refused.set())\n"
        "    await sink.open()\n"
        "    await refused.wait()\n"
        "    await sink.aclose()\n"
        "asyncio.run(main(), debug=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", program],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line for line in lines if "check username and password" not in line] == []
