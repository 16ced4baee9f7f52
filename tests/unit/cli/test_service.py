"""`edgeml service`: board.toml, what is rendered, what is written, and what systemd says of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.app import load_app
from edgeml.cli import main
from edgeml.cli._flow import Flow
from edgeml.cli._notify import Notifier, Reporter
from edgeml.cli._service_board import FOLDER, boards, find_board, read_board
from edgeml.cli._service_files import is_there
from edgeml.errors import ConfigError
from edgeml.runtime._delegates import names as delegates
from edgeml.streams import EdgeStats, Latency, Source, SourceStats, StageStats, Stats

APP = """\
schema = 1
name = "porch"
[mqtt]
host = "localhost"
username = "porch"
password = "cred:mqtt"
ca = "/etc/mosquitto/certs/ca.crt"
[sources.door]
type = "camera"
device = "csi:0"
[tasks.people]
type = "object-detector"
source = "door"
"""
UNIT = "etc/systemd/system/edgeml-porch.service"
ALL = ["jetson-orin-nano", "raspberry-pi-4", "raspberry-pi-5", "raspberry-pi-zero-2", "rk3588",
       "x86-64"]  # fmt: skip


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """The mounted image of a board, with an app and an interpreter; its path has a space."""
    root = tmp_path / "an image"
    (root / "opt/edgeml/bin").mkdir(parents=True)
    (root / "opt/edgeml/bin/python").symlink_to(sys.executable)
    folder = root / "srv/my app"
    folder.mkdir(parents=True)
    (folder / "app.toml").write_text(APP)
    return root


@pytest.fixture
def install(image, capsys):
    """Run `edgeml service install` on the image; return status, output and errors."""

    def run(*words: str, board: str = "raspberry-pi-5", app: str = "srv/my app/app.toml"):
        status = main(["service", "install", "--board", board, "--root", str(image), *words,
                       str(image / app)])  # fmt: skip
        return status, *capsys.readouterr()

    return run


def test_there_is_a_configuration_of_each_board():
    assert boards() == ALL


@pytest.mark.parametrize("name", ALL)
def test_what_a_board_names_exists(name):
    import tomllib

    board = find_board(name)
    assert set(board.delegates) <= set(delegates())
    assert board.threads <= board.cores
    pyproject = Path(__file__).parents[3] / "pyproject.toml"
    assert set(board.extras) <= set(
        tomllib.loads(pyproject.read_text())["project"]["optional-dependencies"]
    )


def test_this_board_is_found_by_its_kind(monkeypatch):
    import edgeml.devices

    seen = edgeml.devices.board()
    for name in ALL:
        (kind,) = find_board(name).kinds
        like = type(seen)(**{f: getattr(seen, f) for f in seen.__slots__} | {"kind": kind})
        monkeypatch.setattr(edgeml.devices, "board", functools.partial(lambda b: b, like))
        assert find_board("this").name == name
    strange = type(seen)(**{f: getattr(seen, f) for f in seen.__slots__} | {"kind": "imx8m"})
    monkeypatch.setattr(edgeml.devices, "board", lambda: strange)
    with pytest.raises(ConfigError, match="'imx8m', which there is no configuration for"):
        find_board("this")


@pytest.mark.parametrize(
    ("line", "wrong", "message"),
    [
        ("memory", "8", 'memory: expected a size in KiB, MiB or GiB, such as "8 GiB"; received'),
        ("memory", "8", "; received a whole number, 8"),
        ("memory", '"8 GB"', 'a size in KiB, MiB or GiB, such as "8 GiB"; received a text, "8 GB"'),
        ("memory", '"8"', "expected a size in KiB, MiB or GiB"),
        ("memory", '"0 GiB"', "expected a size in KiB, MiB or GiB"),
        ("clock", "2400", 'cpu.clock: expected a clock in MHz or GHz, such as "2400 MHz"; rec'),
        ("clock", '"2400 mhz"', "expected a clock in MHz or GHz"),
        ("slows", "80.0", 'temperature.slows: expected a temperature in °C, such as "80 °C"'),
        ("slows", '"176 °F"', "expected a temperature in °C"),
        ("slows", '"90 °C"', "temperature.stops: expected more °C than slows"),
        ("cores", '"4"', "cpu.cores: expected a whole number from 1 to 1024, without a unit"),
        ("threads", "0", "run.threads: expected a whole number from 1"),
        ("threads", "true", "run.threads: expected a whole number from 1"),
        ("memory_max", '"75"', 'run.memory_max: expected a share of the memory, such as "75 %"'),
        ("memory_max", '"120 %"', "run.memory_max: expected a share of the memory"),
        ("watchdog", '"30000 ms"', 'run.watchdog: expected a time in s or min, such as "30 s"'),
        ("delegates", '"cpu"', "run.delegates: expected a list of names; received a text"),
        ("groups", "[]", "devices.groups: expected a list of names; received a list"),
        ("schema", "2", "schema: this file has schema 2 and this edgeml reads up to schema 1"),
        ("file", '"none.txt"', "boot.file: there is no none.txt beside it"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_line_and_unit(tmp_path, line, wrong, message):
    text = (FOLDER / "raspberry-pi-5/board.toml").read_text()
    changed, n = re.subn(rf"(?m)^{line} = .*$", f"{line} = {wrong}", text)
    assert n == 1
    (tmp_path / "config.txt").touch()
    (tmp_path / "board.toml").write_text(changed)
    with pytest.raises(ConfigError) as caught:
        read_board(tmp_path / "board.toml")
    assert message in str(caught.value)
    assert f"{tmp_path}/board.toml:" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("threads = 4", "thread = 4", "run.thread: unknown key; did you mean threads?"),
        ("threads = 4\n", "", "run.threads: missing; expected a whole number"),
        ("[cpu]", "[cpus]", "cpus: unknown key; did you mean cpu?"),
        ('"char-alsa rw"', '"snd"', 'devices.nodes: expected a list of device nodes, each "/dev/'),
        ("schema = 1", "", "schema: expected schema = 1"),
        ("schema = 1", "schema = ", "not TOML"),
    ],
)
def test_a_key_that_is_wrong_or_missing_is_named(tmp_path, old, new, message):
    text = (FOLDER / "raspberry-pi-5/board.toml").read_text()
    assert old in text
    (tmp_path / "config.txt").touch()
    (tmp_path / "board.toml").write_text(text.replace(old, new))
    with pytest.raises(ConfigError, match=re.escape(message)):
        read_board(tmp_path / "board.toml")


def test_nothing_is_written_unless_asked_and_a_second_time_nothing_changes(install, image):
    before = sorted(image.rglob("*"))
    status, out, _ = install()
    assert status == 0
    assert sorted(image.rglob("*")) == before
    assert f"new       {image}/{UNIT}" in out
    assert "    +WatchdogSec=30s" in out
    assert "Once more with --write does it." in out

    assert install("--write")[0] == 0
    written = {path: path.read_bytes() for path in image.rglob("*") if path.is_file()}
    assert image / "boot/firmware/edgeml.txt" in written
    assert all(
        os.stat(image / p).st_mode & 0o777 == 0o644 for p in (UNIT, "etc/mosquitto/edgeml.acl")
    )
    out = install("--write")[1]
    assert "nothing to write" in out
    assert {path: path.read_bytes() for path in image.rglob("*") if path.is_file()} == written


def test_what_a_person_has_changed_is_shown(install, image):
    install("--write")
    unit = image / UNIT
    unit.write_text(unit.read_text().replace("WatchdogSec=30s", "WatchdogSec=90s"))
    out = install()[1]
    assert f"changed   {unit}" in out
    assert "    -WatchdogSec=90s\n    +WatchdogSec=30s" in out
    assert "WatchdogSec=90s" in unit.read_text()


def test_what_is_installed_for_programs(install, image):
    status, out, _ = install("--json")
    found = json.loads(out)
    assert (status, found["type"], found["schema"], found["written"]) == (0, "service", 1, False)
    assert {each["change"] for each in found["files"]} == {"new"}
    assert {Path(each["path"]).name for each in found["files"]} == {
        "edgeml-porch.service", "60-edgeml.rules", "edgeml.conf", "edgeml.txt", "edgeml.acl",
    }  # fmt: skip
    assert any("cred:mqtt: /etc/edgeml/credentials/mqtt is missing" in n for n in found["notes"])
    assert found["steps"][-1].endswith("enable edgeml-porch.service")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('username = "porch"\n', "", "mqtt.username is missing"),
        ('ca = "/etc/mosquitto/certs/ca.crt"\n', "", "mqtt.ca is missing"),
        ('username = "porch"', 'username = "front"', "lets front publish below edgeml/front only"),
        ('host = "localhost"', 'host = "hub"', "the broker is hub: no configuration of a broker"),
        ('"cred:mqtt"', '"env:SECRET"', "SECRET: a service has no variables of your shell"),
        ('"cred:mqtt"', '"file:/home/me/secret"', "file:/home/me/secret: the service has a user"),
        (
            'source = "door"',
            'source = "door"\nthreads = 8',
            "threads = 8, and raspberry-pi-5 has 4",
        ),
        ('source = "door"', 'source = "door"\ndelegate = "cuda,cpu"', "has no delegate cuda"),
    ],
)
def test_what_will_not_work_is_noted(install, image, old, new, message):
    app = image / "srv/my app/app.toml"
    assert old in APP
    app.write_text(APP.replace(old, new))
    status, out, _ = install()
    assert status == 0
    assert message in out


def test_a_file_that_only_its_owner_reads_is_noted(install, image):
    (image / "srv/my app/app.toml").chmod(0o600)
    assert "can be read by its owner only" in install()[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"board": "raspbery-pi-5"},
            "there is no board 'raspbery-pi-5'; did you mean raspberry-pi-5?",
        ),
        ({"board": "toaster"}, "expected one of jetson-orin-nano, raspberry-pi-4"),
        ({"app": "srv/none.toml"}, "none.toml: cannot be read: No such file or directory"),
        ({"app": "../outside.toml"}, "is not inside"),
    ],
)
def test_errors_are_one_line(install, image, words, message):
    (image.parent / "outside.toml").write_text(APP)
    status, out, errors = install("--write", **words)
    assert (status, out) == (1, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (image / "etc").exists()


def test_an_app_that_is_wrong_is_refused_first(install, image):
    (image / "srv/my app/app.toml").write_text(APP.replace("device", "devise"))
    status, _, errors = install("--write")
    assert status == 1
    assert "sources.door.devise: unknown key; did you mean device?" in errors
    assert not (image / "etc").exists()


def test_an_image_without_edgeml_is_refused(install, image):
    (image / "opt/edgeml/bin/python").unlink()
    status, _, errors = install("--write")
    assert status == 1
    assert "/opt/edgeml/bin/python is no interpreter" in errors


def test_the_files_of_another_machine_are_not_written_here(tmp_path, capsys):
    (tmp_path / "app.toml").write_text(APP)
    from edgeml.platform import machine

    other = "x86-64" if machine() == "aarch64" else "rk3588"
    words = ["service", "install", "--board", other, str(tmp_path / "app.toml")]
    assert main([*words, "--write"]) == 1
    assert "for an image of it: --root FOLDER" in capsys.readouterr().err


def test_without_the_right_to_write_nothing_is_and_the_command_is_said(image):
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        pytest.skip("we are root, and there is no setpriv to be nobody with")
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for folder in (image, *image.parents):
        folder.chmod(folder.stat().st_mode | 0o055) if folder.owner() != "nobody" else None
        if folder.name.startswith("pytest-of"):
            break
    image.chmod(0o555)
    code = (
        "import sys; from pathlib import Path; from edgeml.cli._service_files import *\n"
        "root = Path(sys.argv[1]); files = [File('/etc/one', '1'), File('/etc/two', '2')]\n"
        "write(plan(files, root), 'sudo again')"
    )
    ended = subprocess.run(
        [*(nobody if os.geteuid() == 0 else []), sys.executable, "-c", code, image],
        capture_output=True, text=True, cwd="/",
    )  # fmt: skip
    denied = "Permission denied" in ended.stderr and "edgeml.cli" not in ended.stderr
    if denied or "No module named 'edgeml'" in ended.stderr:
        pytest.skip(
            f"nobody may not run this interpreter, or read this folder: {ended.stderr.strip()}"
        )
    assert "no right to write in" in ended.stderr, ended.stderr
    assert "As root: sudo again" in ended.stderr
    assert not (image / "etc").exists()


def test_a_link_of_an_image_leads_to_no_folder_of_this_machine(install, image, tmp_path):
    (tmp_path / "ours").mkdir()
    (image / "etc/mosquitto").mkdir(parents=True)
    (image / "etc/mosquitto/conf.d").symlink_to(tmp_path / "ours")
    (image / "etc/udev").mkdir()
    (image / "lib").mkdir()
    (image / "etc/udev/rules.d").symlink_to("../../lib")  # stays inside
    status, _, error = install("--write")
    assert status == 1
    assert f"a link leads to {tmp_path / 'ours'}, which is not below {image}" in error
    assert list((tmp_path / "ours").iterdir()) == list((image / "lib").iterdir()) == []
    (image / "etc/mosquitto/conf.d").unlink()
    assert install("--write")[0] == 0
    assert (image / "lib/60-edgeml.rules").is_file()


def test_remove_takes_the_unit_away(install, image, capsys):
    install("--write")
    capsys.readouterr()
    remove = ["service", "remove", "porch", "--root", str(image)]
    assert main(remove) == 0
    assert f"systemctl --root='{image}' disable edgeml-porch.service" in capsys.readouterr().out
    assert (image / UNIT).exists()
    assert main([*remove, "--write"]) == 0
    assert not (image / UNIT).exists()
    assert (image / "etc/udev/rules.d/60-edgeml.rules").exists()
    capsys.readouterr()
    assert main(remove) == 1
    assert "there is no such service" in capsys.readouterr().err


def test_show_prints_one_file_as_it_is(image, capsys):
    words = ["service", "show", "--root", str(image), str(image / "srv/my app/app.toml")]
    assert main([*words, "--board", "rk3588", "--only", "Containerfile"]) == 0
    shown = capsys.readouterr().out
    assert 'pip install --no-cache-dir "edgeml-runtime[app,audio,camera' in shown
    assert "linux/arm64" in shown
    assert "$" not in shown
    assert main([*words, "--board", "rk3588"]) == 0
    assert "==> /etc/systemd/system/edgeml-porch.service <==" in capsys.readouterr().out
    assert main([*words, "--only", "Containrfile"]) == 1
    assert "did you mean Containerfile?" in capsys.readouterr().err


def test_boards_are_listed(capsys):
    assert main(["service", "boards"]) == 0
    assert "Jetson Orin Nano" in capsys.readouterr().out
    assert main(["service", "boards", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found["boards"]] == ALL
    assert found["boards"][0]["memory"] == 4 << 30


# What systemd and udev say


@pytest.mark.parametrize("name", ALL)
def test_systemd_takes_the_unit(install, image, tmp_path, name):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    app = image / "srv/my app/app.toml"
    hard = image / 'srv/my app/50% "quoted" it\'s $HOME: here.toml'
    app.rename(hard)
    hard.write_text(APP.replace("ca = ", 'client_id = "env:NAME"\nca = '))
    assert install("--write", board=name, app=str(hard.relative_to(image)))[0] == 0
    text = (image / UNIT).read_text()
    # On this machine the interpreter has another path than in the image.
    (tmp_path / "edgeml-porch.service").write_text(
        text.replace("/opt/edgeml/bin/python", sys.executable)
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "edgeml-porch.service"],
        capture_output=True, text=True,
    )  # fmt: skip
    ours = [line for line in verified.stderr.splitlines() if "edgeml-porch" in line]
    assert (verified.returncode, ours) == (0, [])
    rated = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=30",
         tmp_path / "edgeml-porch.service"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert rated.returncode == 0, rated.stdout
    assert "EnvironmentFile=/etc/edgeml/porch.env" in text
    # Without it, what goes wrong would follow StandardOutput= to nowhere.
    assert "StandardOutput=null\nStandardError=journal\n" in text
    assert "LoadCredential=mqtt:/etc/edgeml/credentials/mqtt\n" in text
    for node in find_board(name).nodes:
        assert f"DeviceAllow={node}\n" in text


def test_a_misspelt_key_would_be_found(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed (apt install systemd)")
    unit = tmp_path / "wrong.service"
    unit.write_text("[Service]\nExecStart=/bin/true\nWatchdogSecs=30s\n")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True
    )
    assert "wrong.service" in verified.stderr


@pytest.mark.parametrize("name", ALL)
def test_the_groups_of_the_rules_are_declared(install, image, name):
    install("--write", board=name)
    rules = (image / "etc/udev/rules.d/60-edgeml.rules").read_text()
    groups = set(re.findall(r'GROUP="(\w+)"', rules))
    assert groups <= set(find_board(name).groups)
    declared = (image / "etc/sysusers.d/edgeml.conf").read_text()
    declared = set(re.findall(r"(?m)^g (\w+) -$", declared))
    assert groups <= declared | {"audio", "dialout", "render", "video"}
    assert declared <= set(find_board(name).groups)


def test_udev_takes_the_rules():
    if shutil.which("udevadm") is None:
        pytest.skip("udevadm is not installed (apt install udev)")
    verify = ["udevadm", "verify", "--resolve-names=never", FOLDER / "common/edgeml.rules"]
    done = subprocess.run(verify, capture_output=True, text=True)
    if "Unknown command" in done.stderr:
        pytest.skip("this udevadm cannot verify rules; that of systemd 254 or newer can")
    assert done.returncode == 0, done.stdout + done.stderr


# The watchdog's judgement, on figures


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"NOTIFY_SOCKET": "relative"}, None),
        ({"NOTIFY_SOCKET": "/run/n"}, ("/run/n", None)),
        ({"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "30000000"}, ("\0n", 30.0)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}, ("/n", None)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "x"}, ("/n", None)),
        ({"NOTIFY_SOCKET": "/n", "WATCHDOG_USEC": "0"}, ("/n", None)),
    ],
)
def test_what_the_manager_wants_is_read_from_the_environment(environment, expected):
    notifier = Notifier.of(environment)
    assert (notifier and (notifier.address, notifier.watchdog)) == expected


def test_what_may_not_be_seen_is_not_said_to_be_missing(tmp_path, no_rights):
    (tmp_path / "etc").mkdir()
    assert not is_there(tmp_path, "/etc/edgeml/credentials/mqtt")
    no_rights()
    assert is_there(tmp_path, "/etc/edgeml/credentials/mqtt")


async def test_ready_is_told_again_when_the_managers_queue_was_full(tmp_path, until):
    class Counting(Notifier):
        refused = 0

        def tell(self, **fields):
            told = super().tell(**fields)
            self.refused += "READY" in fields and not told
            return told

    (tmp_path / "walk.csv").write_text("t,x\n0.0,1\n0.1,2\n")
    (tmp_path / "app.toml").write_text(
        'schema = 1\n[sources.watch]\ntype = "csv"\npath = "walk.csv"\nloop = true\n'
    )
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("")  # a name that the kernel chooses
        manager.setblocking(False)
        notifier = Counting(f"@{manager.getsockname()[1:].decode()}", watchdog=0.08)
        while notifier.tell(STATUS="busy"):
            pass
        app = load_app(tmp_path / "app.toml")
        app.build()
        tasks = [asyncio.create_task(app.run())]
        tasks.append(asyncio.create_task(Reporter(app, notifier).report()))
        await until(lambda: notifier.refused)
        heard = set()

        def is_told():
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard.add(manager.recv(4096))
            return heard >= {b"READY=1", b"WATCHDOG=1"}

        await until(is_told)
        app.stop()
        await tasks[0]
        tasks[1].cancel()


def figures(came: int, *, done: int = 0, holds: int = 0, queued: int = 0) -> Stats:
    zero = Latency(0, 0, 0)
    source = SourceStats("flowing", came, done, {}, 1.0, zero, 0)
    stage = StageStats(done + holds, done, 0, {}, 0, holds, done, 1, 1.0, 0.5)
    edge = EdgeStats(0, 0, {}, queued, 4, 0)
    return Stats(1.0, {"s": source}, {"t": stage}, {("s", "t"): edge}, zero, None, 0)


@pytest.mark.parametrize(
    ("state", "live", "timeout", "then", "now", "flows"),
    [
        ("flowing", True, 10.0, figures(1), figures(2, done=1), True),
        ("flowing", True, 10.0, figures(1), figures(1), True),  # slower than the watchdog
        ("reconnecting", True, 10.0, figures(1), figures(1), False),
        ("connecting", True, 10.0, figures(0), figures(0), False),
        ("connecting", True, None, figures(0), figures(0), True),  # a broker that says nothing
        ("flowing", False, None, figures(1), figures(1), False),  # a file that is not read on
        ("flowing", False, None, figures(1), figures(2), True),
        ("flowing", True, 10.0, figures(1, holds=1), figures(9, holds=1), False),
        ("flowing", True, 10.0, figures(1, holds=1), figures(9, done=1, holds=1), True),
        ("flowing", True, 10.0, figures(1, queued=1), figures(9, queued=4), False),
        ("flowing", True, 10.0, figures(1), figures(9, holds=1), True),  # it has just begun
        ("ended", False, None, figures(1), figures(1), False),
    ],
)
def test_frames_flow(state, live, timeout, then, now, flows):
    source: Source[int] = Source(name="s", read_timeout=timeout)
    source.live, source.state = live, state
    flow = Flow([source])
    flow.look(then)
    flow.mark()
    flow.look(now)
    assert flow.flows() is flows
    assert (flow.stuck() == "t") is ("stuck" in flow.status())


def test_it_is_open_when_one_flows_and_the_others_were_tried():
    one, two = Source[int](name="one", read_timeout=1.0), Source[int](name="two", read_timeout=1.0)
    flow = Flow([one, two])
    assert not flow.is_open()
    one.state = "flowing"
    two.state = "connecting"
    assert not flow.is_open()
    two.state = "reconnecting"
    assert flow.is_open()
    one.state = "reconnecting"
    assert not flow.is_open()
