from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys
from typing import Any

import pytest

from edgeml import errors
from edgeml._version import __version__
from edgeml.cli import _main, main
from edgeml.cli._output import LogFormatter


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeml", *arguments], capture_output=True, text=True, timeout=60
    )


def test_version_and_help_are_those_of_the_command() -> None:
    assert run("--version").stdout == f"edgeml {__version__}\n"
    shown = run("--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in _main.COMMANDS)


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from edgeml.cli import main; main(['--help']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not {"onnxruntime", "cv2", "pydantic", "rich", "numpy", "asyncio", "aiomqtt"} & loaded


@pytest.mark.parametrize("command", _main.COMMANDS)
def test_each_command_has_help_and_debug(command: str, capsys) -> None:
    assert main([command, "--help"]) == 0
    assert "--debug" in capsys.readouterr().out
    module = importlib.import_module(f"edgeml.cli.{command}")
    assert module.__doc__.startswith(f"``edgeml {command}``")


@pytest.mark.parametrize(
    "arguments",
    [
        [], ["nonsense"], ["bench"], ["devices", "--nonsense"], ["bench", "x", "--sec", "1"],
        ["bench", "x", "--threads", "1,40000"],
    ],
)  # fmt: skip
def test_wrong_usage_is_status_2(arguments: list[str], capsys) -> None:
    assert main(arguments) == 2


class Command:
    """Stands in for a command that ends with an exception."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def add_arguments(self, parser: Any) -> None:
        """Nothing."""

    def main(self, args: Any) -> int:
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (errors.DeviceNotFound("no camera\n  there"), 1, "edgeml: error: no camera there\n"),
        (KeyError("x"), 1, "edgeml: error: internal error: KeyError: 'x'; --debug shows where"),
        (
            errors.StageFailed("stage 'x' failed"),
            1,
            "edgeml: error: stage 'x' failed; --debug shows where",
        ),
        (errors.MediaError("it begins with \x1b[2J"), 1, "edgeml: error: it begins with ?[2J\n"),
        (
            OSError(28, "No space left"),
            1,
            "edgeml: error: the disk is full: [Errno 28] No space left",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_an_error_is_one_line_and_a_status(error, status, message, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "edgeml.cli.devices", Command(error))
    assert main(["devices"]) == status
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == (1 if message else 0)
    assert captured.out == ""


def test_a_message_cannot_steer_the_terminal(caplog) -> None:
    with caplog.at_level(logging.WARNING, "edgeml"):
        logging.getLogger("edgeml").warning("on %s", "home/\x1b]0;x\x07")
    assert LogFormatter().format(caplog.records[0]) == "WARNING edgeml: on home/?]0;x?"


def test_debug_shows_the_traceback(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "edgeml.cli.devices", Command(errors.EdgeMLError("x")))
    assert main(["devices", "--debug"]) == 1
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_an_output_that_was_closed_is_no_error() -> None:
    command = f"{sys.executable} -m edgeml inspect edgeml:silero_vad.onnx >&-"
    ended = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error() -> None:
    shell = (
        f'{sys.executable} -c \'import sys; sys.argv = ["edgeml"]; from edgeml.cli import _main; '
        "import types; from edgeml.cli._output import print_json\n"
        "def spam(args):\n"
        "    for i in range(10**6): print_json(i)\n"
        'sys.modules["edgeml.cli.devices"] = types.SimpleNamespace('
        "add_arguments=lambda p: None, main=spam)\n"
        'sys.exit(_main.main(["devices"]))\' | head -1; exit ${PIPESTATUS[0]}'
    )
    ended = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("0\n", "", 141)


def test_devices_prints_one_json_document() -> None:
    ended = run("devices", "--json")
    assert ended.returncode == 0
    (line,) = ended.stdout.splitlines()
    document = json.loads(line)
    assert (document["type"], document["schema"]) == ("devices", 1)
    assert all(
        {"kind", "name", "device", "problem", "install"} <= set(d) for d in document["devices"]
    )
