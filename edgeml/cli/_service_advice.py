"""What a person should know before a service starts: what does not fit, and what is left to do."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from edgeml.app import AppConfig
from edgeml.cli._service_board import BoardConfig
from edgeml.cli._service_files import below, is_there
from edgeml.cli._service_render import (
    CREDENTIALS,
    environment_file,
    has_own_broker,
    secrets,
    unit_name,
)
from edgeml.events._discovery import slug


def notes(board: BoardConfig, config: AppConfig, root: Path) -> list[str]:
    """Return what will not work as it stands, in sentences."""
    return [*_of_tasks(board, config), *_of_access(config, root), *_of_broker(config)]


def _of_tasks(board: BoardConfig, config: AppConfig) -> Iterator[str]:
    from edgeml.runtime._delegates import OURS

    has = ", ".join(board.delegates)
    for task in config.tasks.values():
        threads, asked = task.options.get("threads"), task.options.get("delegate")
        if isinstance(threads, int) and threads > board.cores:
            yield (
                f"tasks.{task.name}: threads = {threads}, and {board.name} has {board.cores} cores"
            )
        for entry in asked.split(",") if isinstance(asked, str) else ():
            name = entry.strip().rstrip("!").partition(":")[0]
            if name in OURS and name not in board.delegates:
                yield f"tasks.{task.name}: {board.name} has no delegate {name}; it has {has}"


def _of_access(config: AppConfig, root: Path) -> Iterator[str]:
    path = config.document.path
    if not os.stat(path).st_mode & 0o004:
        yield (
            f"{path} can be read by its owner only, and the service has a user of its own: "
            f"chmod o+r {shlex.quote(str(path))}"
        )
    for kind, name in sorted(set(secrets(config.document.data))):
        if kind == "file":
            yield (
                f"file:{name}: the service has a user of its own, which may have no right to read "
                f"it; a credential has: cred:NAME"
            )
        elif kind == "cred" and not is_there(root, f"{CREDENTIALS}/{name}"):
            yield (
                f"cred:{name}: {CREDENTIALS}/{name} is missing, and the service will not start "
                "without it"
            )
    named = [name for kind, name in sorted(set(secrets(config.document.data))) if kind == "env"]
    file = environment_file(config.name)
    if named and not is_there(root, file):
        yield f"{', '.join(named)}: a service has no variables of your shell; {file} is missing"


def _of_broker(config: AppConfig) -> Iterator[str]:
    if config.mqtt is None:
        return
    options = config.mqtt.options
    if not has_own_broker(config):
        host = options.get("host")
        if host is not None:
            yield f"the broker is {host}: no configuration of a broker is written here"
        return
    user = options.get("username")
    if user is None:
        yield "mqtt.username is missing; the broker lets nobody in without name and password"
        return
    if not options.get("ca") and not options.get("tls"):
        yield 'mqtt.ca is missing, such as ca = "/etc/mosquitto/certs/ca.crt": the broker encrypts'
    prefix = str(options.get("prefix", "edgeml/{app}")).replace("{app}", config.name)
    if prefix != f"edgeml/{user}":
        yield f"mqtt.prefix is {prefix}, and the ACL lets {user} publish below edgeml/{user} only"
    device = slug(str(options.get("device", config.name)))
    if options.get("home_assistant") and device != user:
        yield (
            f"Home Assistant calls the device {device}, and the ACL lets {user} announce a device "
            f"{user} only; choose username = device in lower case, with _ and without -"
        )


def steps(board: BoardConfig, config: AppConfig, root: Path) -> list[str]:
    """Return the commands that bring written files into effect, in order."""
    type_it = "sudo install -D -m 600 /dev/stdin {}    # type it, Ctrl-D"
    todo = [
        type_it.format(_at(root, f"{CREDENTIALS}/{name}"))
        for kind, name in sorted(set(secrets(config.document.data)))
        if kind == "cred" and not is_there(root, f"{CREDENTIALS}/{name}")
    ]
    if has_own_broker(config) and not is_there(root, "/etc/mosquitto/edgeml.passwd"):
        user = config.mqtt.options.get("username", config.name) if config.mqtt else config.name
        file = _at(root, "/etc/mosquitto/edgeml.passwd")
        todo.append(f"sudo mosquitto_passwd -c {file} {user}")
    unit = unit_name(config.name)
    if root != Path("/"):
        return [*todo, f"sudo systemctl --root={shlex.quote(str(root))} enable {unit}"]
    todo += [
        "sudo systemd-sysusers",
        "sudo udevadm control --reload && sudo udevadm trigger",
        "sudo systemctl daemon-reload",
        *(["sudo systemctl restart mosquitto"] if has_own_broker(config) else []),
        f"sudo systemctl enable {unit} && sudo systemctl restart {unit}",
    ]
    return [*todo, board.boot.then] if board.boot is not None else todo


def _at(root: Path, target: str) -> str:
    return shlex.quote(str(below(root, target)))
