"""board.toml: what is known about a board, checked to the unit of each value."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import edgeml
from edgeml.app._document import Document, Key, nearest
from edgeml.app._options import describe
from edgeml.errors import ConfigError

SCHEMA = 1
FOLDER = Path(edgeml.__file__).parent / "firmware_configs"
COMMON = FOLDER / "common"

_SIZES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_CLOCKS = {"MHz": 10**6, "GHz": 10**9}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?) ?(\D\S*)")
_NODE = re.compile(r"(?:/dev/[\w./:*-]+|char-[\w*-]+) r?w?")


@dataclass(frozen=True)
class Boot:
    """What has to be set up before the kernel starts.

    Attributes:
        file: Beside board.toml.
        target: Where it belongs on the board.
        then: The command that brings it into effect.
    """

    file: str
    target: str
    then: str


@dataclass(frozen=True)
class BoardConfig:
    """What a board.toml says.

    Attributes:
        name: Name of its folder.
        title: Name for people.
        kinds: What `edgeml.devices.board` may call it.
        machine: Its instruction set, such as ``"aarch64"``.
        memory: Bytes, of the smallest that is sold.
        cores: Of the CPU.
        clock: Hz, of the fastest core.
        slows: °C from which on it lowers its clock.
        stops: °C at which it goes no further.
        delegates: That run on it, the fastest kind first.
        threads: That make one inference fast.
        extras: Of edgeml to install.
        packages: Of the system to install.
        memory_max: Share of the memory that the service may have, percent.
        watchdog: Seconds without a frame after which the service is started again.
        binds: Paths outside the sandbox that the service needs; those with - may be missing.
        groups: Which may open the device nodes.
        nodes: Device nodes that the service may open, as systemd's ``DeviceAllow=`` has them.
        boot: What has to be set up before the kernel starts; None when nothing has.
    """

    name: str
    title: str
    kinds: tuple[str, ...]
    machine: str
    memory: int
    cores: int
    clock: int
    slows: float
    stops: float
    delegates: tuple[str, ...]
    threads: int
    extras: tuple[str, ...]
    packages: tuple[str, ...]
    memory_max: int
    watchdog: int
    binds: tuple[str, ...]
    groups: tuple[str, ...]
    nodes: tuple[str, ...]
    boot: Boot | None


@dataclass(frozen=True)
class _Kind:
    """A kind of value: what it is in words, and how it is read; reading raises ValueError."""

    words: str
    read: Callable[[Any], Any]


def boards() -> list[str]:
    """Return the names of the boards that there are configurations for."""
    return sorted(path.parent.name for path in FOLDER.glob("*/board.toml"))


def find_board(name: str) -> BoardConfig:
    """Return the configuration of a board.

    Args:
        name: Of the board; ``"this"`` is the machine that we run on.

    Raises:
        ConfigError: there is no such board, or its board.toml is wrong.
    """
    known = boards()
    if name in known:
        return read_board(FOLDER / name / "board.toml")
    if name != "this":
        raise ConfigError(f"there is no board {name!r}{nearest(name, [*known, 'this'])}")
    from edgeml.devices import board

    kind = board().kind
    for each in known:
        config = read_board(FOLDER / each / "board.toml")
        if kind in config.kinds:
            return config
    raise ConfigError(
        f"this machine is of the kind {kind!r}, which there is no configuration for; name the one "
        f"that is most like it: --board {' or '.join(known)}"
    )


def read_board(path: Path) -> BoardConfig:
    """Read and check a board.toml.

    Raises:
        ConfigError: with file, line and key, what was expected, and in which unit.
    """
    document = Document.read(path)
    _check_schema(document)
    top = _read(document, (), document.data, _TOP)
    boot = _read(document, ("boot",), top["boot"], _BOOT) if "boot" in top else None
    tables = {name: _read(document, (name,), top[name], keys) for name, keys in _TABLES.items()}
    if boot and not (path.parent / boot["file"]).is_file():
        raise document.error(("boot", "file"), f"there is no {boot['file']} beside it")
    if tables["temperature"]["slows"] >= tables["temperature"]["stops"]:
        raise document.error(("temperature", "stops"), "expected more °C than slows")
    return BoardConfig(
        name=path.parent.name,
        **{key: top[key] for key in ("title", "kinds", "machine", "memory")},
        **tables["cpu"],
        **tables["temperature"],
        **{"packages": (), "binds": (), **tables["run"]},
        **tables["devices"],
        boot=Boot(**boot) if boot else None,
    )


def _check_schema(document: Document) -> None:
    schema = document.data.get("schema")
    if type(schema) is not int or schema < 1:
        raise document.error(("schema",), f"expected schema = {SCHEMA}; received {schema!r}")
    if schema > SCHEMA:
        raise document.error(
            ("schema",),
            f"this file has schema {schema} and this edgeml reads up to schema {SCHEMA}; update "
            "it: pip install --upgrade edgeml-runtime",
        )


def _read(
    document: Document, key: Key, table: Mapping[str, Any], keys: Mapping[str, _Kind]
) -> dict[str, Any]:
    """Check a table; return its values in the base unit, without those that are not there."""
    for name in table:
        if name not in keys:
            raise document.error((*key, name), f"unknown key{nearest(name, keys)}")
    found = {}
    for name, kind in keys.items():
        if name not in table:
            if name in _OPTIONAL:
                continue
            raise document.error((*key, name), f"missing; expected {kind.words}")
        try:
            found[name] = kind.read(table[name])
        except (ValueError, TypeError):
            received = describe(name, table[name])
            message = f"expected {kind.words}; received {received}"
            raise document.error((*key, name), message) from None
    return found


def _quantity(value: Any, units: Mapping[str, float]) -> float:
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2] not in units or not float(match[1]):
        raise ValueError
    return float(match[1]) * units[match[2]]


def _whole(value: Any, units: Mapping[str, float]) -> int:
    number = _quantity(value, units)
    if number != int(number):
        raise ValueError
    return int(number)


def _count(value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 1024:
        raise ValueError
    return value


def _percent(value: Any) -> int:
    number = _whole(value, {"%": 1})
    if number > 100:
        raise ValueError
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value.strip():
        raise ValueError
    return value


def _texts(value: Any, pattern: str = r"\S+") -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError
    if not all(isinstance(each, str) and re.fullmatch(pattern, each) for each in value):
        raise ValueError
    return tuple(value)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError
    return value


_NAMES = _Kind("a list of names", _texts)
_WORDS = _Kind("a text in quotes", _text)
_COUNT = _Kind("a whole number from 1 to 1024, without a unit", _count)
_CLOCK = _Kind('a clock in MHz or GHz, such as "2400 MHz"', partial(_whole, units=_CLOCKS))
_DEGREES = _Kind('a temperature in °C, such as "80 °C"', partial(_quantity, units={"°C": 1}))
_A_TABLE = _Kind("a table", _table)

_TOP = {
    "schema": _COUNT,
    "title": _WORDS,
    "kinds": _NAMES,
    "machine": _WORDS,
    "memory": _Kind('a size in KiB, MiB or GiB, such as "8 GiB"', partial(_whole, units=_SIZES)),
    "cpu": _A_TABLE,
    "temperature": _A_TABLE,
    "run": _A_TABLE,
    "devices": _A_TABLE,
    "boot": _A_TABLE,
}
_TABLES = {
    "cpu": {"cores": _COUNT, "clock": _CLOCK},
    "temperature": {"slows": _DEGREES, "stops": _DEGREES},
    "run": {
        "delegates": _NAMES,
        "threads": _COUNT,
        "extras": _NAMES,
        "packages": _NAMES,
        "memory_max": _Kind('a share of the memory, such as "75 %"', _percent),
        "watchdog": _Kind(
            'a time in s or min, such as "30 s"', partial(_whole, units={"s": 1, "min": 60})
        ),
        "binds": _Kind(
            "a list of paths, each from / on, or with - before it when it may be missing",
            partial(_texts, pattern=r"-?/[^\s:]+"),
        ),
    },
    "devices": {
        "groups": _NAMES,
        "nodes": _Kind(
            'a list of device nodes, each "/dev/NAME rw" or "char-DRIVER rw"',
            partial(_texts, pattern=_NODE.pattern),
        ),
    },
}
_BOOT = {"file": _WORDS, "target": _WORDS, "then": _WORDS}
_OPTIONAL = {"packages", "binds", "boot"}
