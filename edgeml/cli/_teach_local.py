"""The task that ``edgeml teach`` works on: opened here, or in the app that runs."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from edgeml.errors import ConfigError, EdgeMLError, PublishError

if TYPE_CHECKING:
    from edgeml.app import AppConfig
    from edgeml.app._command import Command
    from edgeml.app._personal import Personal
    from edgeml.app._teach import Tell
    from edgeml.personalize import Learner

_PATIENCE = 300.0  # seconds that training in the app may take
_FAREWELL = 2.0  # seconds to tell the app that nobody waits any more


class Taught:
    """A task of an app that is taught from here.

    The store may be used by several processes. Its source may not: while the app runs, examples
    are collected in the app, which is told over MQTT.

    Args:
        path: The app.toml.
        task: Name of the task; empty for the only one.

    Raises:
        ConfigError: the file is wrong, or there is no such task.
    """

    def __init__(self, path: str, task: str) -> None:
        from edgeml.app import read_config
        from edgeml.app._construct import construct

        self._config: AppConfig = read_config(path)
        self.name = _name_of(self._config, task)
        self._task: Personal = construct(self._config.document, self._config.tasks[self.name])
        self._loaded = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._task.aclose()

    @property
    def learner(self) -> Learner:
        """The learner, on this process's own view of the store."""
        self._task.load()
        return self._task.learner

    async def do(
        self, name: str, arguments: Mapping[str, Any], tell: Tell | None
    ) -> dict[str, Any]:
        """Do a command; return its result.

        Raises:
            EdgeMLError: it could not be done.
        """
        from edgeml.app._command import SCHEMA, checked
        from edgeml.app._personal import is_held
        from edgeml.app._teach import Teacher, samples_for

        command = checked({"schema": SCHEMA, "command": name, **arguments})
        running = is_held(self._task.folder)
        if name == "collect" and running:
            return await self._in_the_app(command, tell or _silent)
        learner = await asyncio.to_thread(lambda: self.learner)
        stream = functools.partial(samples_for, self._config, self._task)
        return await Teacher(learner, stream, 0.5 if running else None).do(command, tell or _silent)

    async def _in_the_app(self, command: Command, tell: Tell) -> dict[str, Any]:
        """Send a command to the running app, and wait for its answer."""
        from edgeml.app._command import SCHEMA

        mqtt = self._config.mqtt
        if mqtt is None or mqtt.commands is None or mqtt.embedded:
            raise ConfigError(
                f"the app runs and holds the source of {self.name}: stop it, or let it take "
                'commands: a table [mqtt.commands] with topic = "…", and a broker with host ='
            )
        topics = mqtt.commands.filled(mqtt.prefix(self._config.name), self._config.name)
        identifier = uuid.uuid4().hex
        said = {"schema": SCHEMA, "id": identifier, "task": self.name, "command": command.name,
                **command.arguments}  # fmt: skip
        patience = _PATIENCE + sum(command.arguments.get(k, 0) for k in ("countdown", "within"))
        broker = mqtt.broker()
        try:
            async with (
                asyncio.timeout(patience), broker.connect(role="teach") as connection,
            ):  # fmt: skip
                await connection.client.subscribe(topics.answers, qos=1)
                await connection.client.publish(topics.topic, json.dumps(said), qos=1)
                try:
                    found = await _answered(connection.client, identifier, tell)
                except asyncio.CancelledError:  # Ctrl-C: the app must not go on collecting
                    said = {"schema": SCHEMA, "command": "cancel"}
                    with contextlib.suppress(Exception):
                        async with asyncio.timeout(_FAREWELL):
                            await connection.client.publish(topics.topic, json.dumps(said), qos=1)
                    raise
        except TimeoutError:
            raise PublishError(
                f"{broker.address}: the app has not answered on {topics.answers} within "
                f"{patience:g} s; does it run, with this broker?"
            ) from None
        if found is None:
            raise PublishError(f"{broker.address}: the connection ended before the answer")
        return found


async def _answered(client: Any, identifier: str, tell: Tell) -> dict[str, Any] | None:
    """Wait for the answer to a command; return its result, None where there comes none."""
    async for message in client.messages:
        answer = _answer_to(identifier, message.payload)
        if answer is not None and answer["type"] == "progress":
            await tell(answer["step"])
        elif answer is not None:
            return _result(answer)
    return None


def _name_of(config: AppConfig, wanted: str) -> str:
    names = [task.name for task in config.tasks.values() if task.kind.cls == "Personal"]
    if not names:
        raise config.document.error(
            (), 'no task is taught; add one, such as [tasks.mugs] with type = "personal"'
        )
    if wanted in names or (not wanted and len(names) == 1):
        return wanted or names[0]
    received = f"received {wanted!r}" if wanted else "there are several"
    raise ConfigError(f"--task: expected one of {', '.join(names)}; {received}")


def _answer_to(identifier: str, payload: bytes) -> dict[str, Any] | None:
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    mine = isinstance(said, dict) and said.get("id") == identifier
    return said if mine and said.get("type") in ("progress", "answer") else None


def _result(answer: Mapping[str, Any]) -> dict[str, Any]:
    if not answer.get("ok"):
        raise EdgeMLError(f"the app: {answer.get('error', {}).get('message', 'no reason given')}")
    found: dict[str, Any] = answer["result"]
    return found


async def _silent(step: Mapping[str, Any]) -> None:
    """Show nothing."""
