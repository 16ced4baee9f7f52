"""app.toml, checked: names, types, and whether the graph makes sense."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeml.app import _kinds as kinds
from edgeml.app._document import Document, Key, nearest
from edgeml.app._governor import GovernorConfig
from edgeml.app._kinds import Kind
from edgeml.app._mqtt import MqttConfig
from edgeml.app._options import Option, describe, validate

SCHEMA = 1

_TOP = {
    "schema": Option(int),
    "name": Option(str, None),
    "mqtt": Option(dict[str, Any], None),
    "governor": Option(dict[str, Any], None),
    "sources": Option(dict[str, Any], None),
    "tasks": Option(dict[str, Any], None),
}
_OF_TASKS = {
    "source": Option(str),
    "changes": Option(bool, False),
    "heartbeat": Option(float, None),
}
_MOST_IN_A_ROW = 50
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class SourceConfig:
    """A table ``[sources.NAME]``.

    Attributes:
        name: Its name.
        kind: What its `type` stands for.
        options: What is set, by the constructor's keywords.
    """

    name: str
    kind: Kind
    options: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """Where it stands in the document."""
        return ("sources", self.name)


@dataclass(frozen=True)
class TaskConfig:
    """A table ``[tasks.NAME]``.

    Attributes:
        name: Its name.
        kind: What its `type` stands for.
        source: Name of the source, or of the task, whose output it takes.
        changes: Report a result only when its state is another than before.
        heartbeat: With `changes`, report one after this many seconds all the same.
        options: What is set, by the constructor's keywords.
    """

    name: str
    kind: Kind
    source: str
    options: Mapping[str, Any]
    changes: bool = False
    heartbeat: float | None = None

    @property
    def key(self) -> Key:
        """Where it stands in the document."""
        return ("tasks", self.name)


@dataclass(frozen=True)
class AppConfig:
    """What app.toml says.

    Attributes:
        document: The file.
        name: The application's name.
        sources: By name.
        tasks: By name.
        mqtt: Where to publish, or None.
        governor: What to do when the board gets hot, or None.
    """

    document: Document
    name: str
    sources: Mapping[str, SourceConfig]
    tasks: Mapping[str, TaskConfig]
    mqtt: MqttConfig | None = None
    governor: GovernorConfig | None = None

    def source_of(self, name: str) -> str:
        """Return the name of the source that a task's data comes from in the end."""
        while name in self.tasks:
            name = self.tasks[name].source
        return name

    def fed_by(self, name: str) -> list[TaskConfig]:
        """Return the tasks that take what a source or task gives."""
        return [task for task in self.tasks.values() if task.source == name]


def read_config(path: str | os.PathLike[str]) -> AppConfig:
    """Read and check an app.toml; nothing is opened.

    Raises:
        ConfigError: with file, line, key, what was expected and the nearest name.
    """
    return parse_config(Document.read(path))


def parse_config(document: Document) -> AppConfig:
    """Check a document; see `read_config`."""
    _check_schema(document)
    top = validate(document, (), document.data, _TOP)
    name = top.get("name", Path(document.path).stem)
    if "name" not in top and not _NAME.fullmatch(name):
        raise document.error(
            (), f'{name!r}, as the file is called, cannot be a name; give one, such as name = "app"'
        )
    _check_name(document, ("name",), name)
    sources = _read_sources(document, top.get("sources", {}))
    tasks = _read_tasks(document, top.get("tasks", {}))
    mqtt = MqttConfig.read(document, top["mqtt"]) if "mqtt" in top else None
    config = AppConfig(document, name, sources, tasks, mqtt)
    _check_graph(config)
    if "governor" not in top:
        return config
    governor = GovernorConfig.read(document, top["governor"], sources, tasks)
    return replace(config, governor=governor)


def _check_schema(document: Document) -> None:
    if "schema" not in document.data:
        raise document.error(
            (), f"the key schema is missing; write schema = {SCHEMA} in the first line"
        )
    schema = document.data["schema"]
    if type(schema) is not int or schema < 1:
        received = describe("schema", schema)
        raise document.error(("schema",), f"expected a whole number from 1; received {received}")
    if schema > SCHEMA:
        raise document.error(
            ("schema",),
            f"this file has schema {schema} and this edgeml reads up to schema {SCHEMA}; update "
            f"it: pip install --upgrade edgeml-runtime",
        )


def _check_name(document: Document, key: Key, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise document.error(
            key,
            f"{name[:80]!r} cannot be a name; expected letters, digits, - and _, without spaces, "
            "64 at most",
        )


def _read_sources(document: Document, tables: Mapping[str, Any]) -> dict[str, SourceConfig]:
    if not tables:
        raise document.error(
            (), 'there is no source; add one, such as [sources.door] with type = "camera"'
        )
    found = {}
    for name in tables:
        key = ("sources", name)
        kind, options = _read_table(document, key, tables[name], kinds.SOURCES, {})
        found[name] = SourceConfig(name, kind, options)
    return found


def _read_tasks(document: Document, tables: Mapping[str, Any]) -> dict[str, TaskConfig]:
    found = {}
    for name in tables:
        key = ("tasks", name)
        if name in document.data["sources"]:
            raise document.error(key, f"there is a source named {name}, too; rename one of them")
        kind, options = _read_table(document, key, tables[name], kinds.TASKS, _OF_TASKS)
        own = {option: options.pop(option) for option in _OF_TASKS if option in options}
        if "heartbeat" in own and not own.get("changes"):
            raise document.error((*key, "heartbeat"), "means nothing without changes = true")
        found[name] = TaskConfig(name, kind, options=options, **own)
    return found


def _read_table(
    document: Document,
    key: Key,
    table: Any,
    table_of: Mapping[str, Kind],
    own: Mapping[str, Option],
) -> tuple[Kind, dict[str, Any]]:
    """Check a table ``[sources.NAME]`` or ``[tasks.NAME]``: its type, then its options."""
    _check_name(document, key, key[-1])
    if not isinstance(table, dict):
        raise document.error(
            key, f"expected a table [{'.'.join(key)}]; received {describe(key[-1], table)}"
        )
    options = dict(table)
    type_ = options.pop("type", None)
    if type_ is None:
        raise document.error(
            (*key, "type"), f"missing; expected type = one of {', '.join(table_of)}"
        )
    if not isinstance(type_, str) or type_ not in table_of:
        raise document.error(
            (*key, "type"), f"there is no {key[0][:-1]} {type_!r}{nearest(str(type_), table_of)}"
        )
    kind = table_of[type_]
    return kind, validate(document, key, options, {**own, **kind.options()})


def _check_graph(config: AppConfig) -> None:
    for task in config.tasks.values():
        _check_input(config, task)
    _check_chains(config)
    for source in config.sources.values():
        gives = "bytes" if source.options.get("payload") == "bytes" else source.kind.gives
        if gives in (kinds.PICTURES, kinds.SOUND, "bytes") and not config.fed_by(source.name):
            raise config.document.error(
                source.key,
                f'no task uses its {gives}; add one with source = "{source.name}", or remove it',
            )


def _check_input(config: AppConfig, task: TaskConfig) -> None:
    document, key = config.document, (*task.key, "source")
    giver = config.sources.get(task.source) or config.tasks.get(task.source)
    if giver is None:
        known = [*config.sources, *(name for name in config.tasks if name != task.name)]
        raise document.error(
            key, f"there is no source or task {task.source!r}{nearest(task.source, known)}"
        )
    if not kinds.fits(task.kind.takes, giver.kind.gives):
        able = ", ".join(kinds.kinds_that(kinds.SOURCES, give=task.kind.takes))
        raise document.error(
            key,
            f"{task.source} gives {giver.kind.gives}, and this task takes {task.kind.takes}, as "
            f"these sources give: {able}",
        )


def _check_chains(config: AppConfig) -> None:
    """Refuse tasks that feed each other in a circle, or in a chain that nobody means."""
    for task in config.tasks.values():
        path = [task.name]
        while (giver := config.tasks.get(path[-1])) is not None:
            key = (*task.key, "source")
            if giver.source in path:
                circle = " <- ".join([*path, giver.source])
                raise config.document.error(key, f"the tasks feed each other in a circle: {circle}")
            if len(path) > _MOST_IN_A_ROW:
                raise config.document.error(
                    key, f"expected at most {_MOST_IN_A_ROW} tasks that feed one another in a row"
                )
            path.append(giver.source)
