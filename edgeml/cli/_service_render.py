"""From a board and an app to the files of a service: templates, filled in."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import Template
from typing import Any

import edgeml
from edgeml.app import AppConfig
from edgeml.cli._service_board import COMMON, FOLDER, BoardConfig
from edgeml.cli._service_files import File
from edgeml.errors import ConfigError

CREDENTIALS = "/etc/edgeml/credentials"
_LOCAL = ("localhost", "127.0.0.1", "::1")
# What the sandbox hides.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")
# Groups that every system has, with numbers of its own.
_OF_DEBIAN = {"audio", "dialout", "render", "video"}
_GROUP = re.compile(r'GROUP="(\w+)"')


@dataclass(frozen=True)
class Place:
    """Where the app and its Python are, as paths on the board.

    Attributes:
        app: The app.toml.
        python: The interpreter that has edgeml.
        needs: Folders that the service reads besides.
    """

    app: PurePosixPath
    python: PurePosixPath
    needs: tuple[PurePosixPath, ...] = ()

    @staticmethod
    def here(app: Path) -> Place:
        """Return the place of an app that is to run on this machine, with this Python."""
        needs = {sys.prefix, sys.base_prefix, str(Path(edgeml.__file__).parents[1])}
        return Place(
            PurePosixPath(app.absolute()),
            PurePosixPath(sys.executable),
            tuple(map(PurePosixPath, sorted(needs))),
        )


def unit_name(app: str) -> str:
    """Return the name of an app's unit."""
    return f"edgeml-{app}.service"


def unit_path(app: str) -> str:
    """Return where an app's unit belongs."""
    return f"/etc/systemd/system/{unit_name(app)}"


def render(board: BoardConfig, config: AppConfig, place: Place) -> list[File]:
    """Return the files that a service needs on a board.

    Raises:
        ConfigError: a path cannot stand in a unit.
    """
    files = [
        File(unit_path(config.name), _unit(board, config, place)),
        File("/etc/udev/rules.d/60-edgeml.rules", _rules(board)),
        File("/etc/sysusers.d/edgeml.conf", _sysusers(board)),
    ]
    if board.boot is not None:
        content = (FOLDER / board.name / board.boot.file).read_text(encoding="utf-8")
        files.append(File(board.boot.target, content))
    if has_own_broker(config):
        files += [
            File("/etc/mosquitto/conf.d/edgeml.conf", _common("mosquitto.conf")),
            File("/etc/mosquitto/edgeml.acl", _common("mosquitto.acl")),
        ]
    return files


def containerfile(board: BoardConfig, config: AppConfig) -> File:
    """Return the recipe of a container that runs an app."""
    nodes = [f"--device {node.split()[0]}" for node in board.nodes if node.startswith("/dev/")]
    return File("Containerfile", _fill("Containerfile", {
        "app": config.name.lower(),
        "app_file": config.document.path.name,
        "board": board.name,
        "title": board.title,
        "platform": "linux/arm64" if board.machine == "aarch64" else "linux/amd64",
        "podman_devices": " ".join(nodes or ["--device /dev/video0 --device /dev/snd"]),
        "image": "python:3.13-slim-trixie",
        "packages": " ".join(p for p in board.packages if not p.startswith("rpicam")),
        "extras": ",".join(board.extras),
    }))  # fmt: skip


def has_own_broker(config: AppConfig) -> bool:
    """Whether the app publishes to a broker on the board itself."""
    return config.mqtt is not None and config.mqtt.options.get("host") in _LOCAL


def secrets(data: Any) -> Iterator[tuple[str, str]]:
    """Yield the kind and the name of each secret that a configuration names."""
    if isinstance(data, Mapping):
        data = data.values()
    elif isinstance(data, str):
        kind, colon, name = data.partition(":")
        if colon and name and kind in ("env", "file", "cred"):
            yield kind, name
        return
    elif not isinstance(data, list):
        return
    for each in data:
        yield from secrets(each)


def environment_file(app: str) -> str:
    """Return where the variables are that an app's secrets name."""
    return f"/etc/edgeml/{app}.env"


def _unit(board: BoardConfig, config: AppConfig, place: Place) -> str:
    named = sorted(set(secrets(config.document.data)))
    hidden = sorted({p for p in (place.app.parent, *place.needs) if _is_hidden(p)})
    binds = [f"BindReadOnlyPaths={_bind(path)}" for path in hidden if not _inside(path, hidden)]
    binds += [f"BindPaths={path}" for path in board.binds]
    credentials = [
        f"LoadCredential={name}:{CREDENTIALS}/{name}" for kind, name in named if kind == "cred"
    ]
    environment = any(kind == "env" for kind, _ in named)
    words = (str(place.python), "-P", "-m", "edgeml", "run", str(place.app))
    text = _fill("edgeml.service", {
        "app": config.name,
        "title": board.title,
        "unit": unit_name(config.name),
        "exec_start": " ".join(map(_word, words)),
        "working_directory": _plain(str(place.app.parent)),
        "watchdog": f"{board.watchdog}s",
        "memory_max": f"{board.memory_max}%",
        # Without a broker what is found goes to the journal; with one it would wear out the card.
        "output": "null" if config.mqtt is not None else "journal",
        "environment": f"EnvironmentFile={environment_file(config.name)}" if environment else "",
        "credentials": "\n".join(credentials),
        "groups": " ".join(board.groups),
        "device_allow": "\n".join(f"DeviceAllow={node}" for node in board.nodes),
        "protect_home": "tmpfs" if hidden else "yes",
        "bind_paths": "\n".join(binds),
    })  # fmt: skip
    return re.sub(r"\n{3,}", "\n\n", text)


def _rules(board: BoardConfig) -> str:
    """Return the rules for the groups of a board: udev complains about those it does not have."""
    lines = []
    for line in _common("edgeml.rules").splitlines():
        group = _GROUP.search(line)
        if group is None or group[1] in board.groups:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _sysusers(board: BoardConfig) -> str:
    own = [f"g {group} -" for group in board.groups if group not in _OF_DEBIAN]
    return _fill("sysusers.conf", {"groups": "\n".join(own)})


def _common(name: str) -> str:
    return (COMMON / name).read_text(encoding="utf-8")


def _fill(name: str, values: Mapping[str, str]) -> str:
    return Template(_common(name)).substitute(values)


def _is_hidden(path: PurePosixPath) -> bool:
    return any(path.is_relative_to(folder) for folder in _HIDDEN)


def _inside(path: PurePosixPath, others: list[PurePosixPath]) -> bool:
    return any(path != other and path.is_relative_to(other) for other in others)


def _plain(text: str) -> str:
    """Return a path as the rest of a line of a unit.

    Raises:
        ConfigError: it holds what cannot stand there.
    """
    if not text.isprintable() or text != text.strip():
        raise ConfigError(f"{text!r} cannot stand in a systemd unit; rename the folder or file")
    return text.replace("%", "%%")


def _word(text: str) -> str:
    """Return a word of a command line in a unit."""
    escaped = _plain(text).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[\s\"'\\;]", text) else escaped


def _bind(path: PurePosixPath) -> str:
    """Return a path of a list in a unit, in which a colon divides."""
    escaped = _plain(str(path)).replace("\\", "\\\\").replace('"', '\\"').replace(":", "\\\\:")
    return f'"{escaped}"' if re.search(r"[\s\"'\\:]", str(path)) else escaped
