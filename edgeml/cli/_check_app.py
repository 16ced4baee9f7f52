"""What ``edgeml doctor app.toml`` looks at beyond the machine."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from edgeml.cli._checks import Finding
from edgeml.errors import EdgeMLError, ModelError, PublishError

if TYPE_CHECKING:
    from edgeml.app import App, AppConfig
    from edgeml.events import Broker

_ELSEWHERE = ("https://", "http://", "env:", "file:", "cred:")
_TIMEOUT = 5.0  # seconds that a broker may take to let us in


def check_app(path: str) -> list[Finding]:
    """Read an app.toml, make what it describes without opening it, and ask its broker."""
    from edgeml.app import load_app

    try:
        app = load_app(path)
        app.build()
    except EdgeMLError as error:
        return [Finding(path, "error", str(error))]
    config = app.config
    found = f"{len(config.sources)} sources, {len(config.tasks)} tasks"
    return [Finding(path, "ok", found), *_models(config), *_broker(app)]


def _models(config: AppConfig) -> Iterator[Finding]:
    """Find models that are not there; those of the web are fetched when the app starts."""
    from edgeml.app._construct import beside
    from edgeml.runtime import resolve

    named = [((*task.key, "model"), task.options.get("model")) for task in config.tasks.values()]
    ladder = config.governor.options.get("models", {}) if config.governor is not None else {}
    for task, models in ladder.items():
        named += [(("governor", "models", task), model) for model in models]
    for key, model in named:
        if isinstance(model, str) and not model.startswith(_ELSEWHERE):
            try:
                resolve(beside(config.document.path, model))
            except ModelError as error:
                yield Finding(".".join(key), "error", str(error))


def _broker(app: App) -> Iterator[Finding]:
    mqtt = app.config.mqtt
    if mqtt is None or app.sink is None:
        return
    if mqtt.embedded:
        there = importlib.util.find_spec("amqtt") is not None
        fix = None if there else 'pip install "edgeml-runtime[broker]"'
        yield Finding("broker", "ok" if there else "error", "embedded", fix)
        return
    broker = app.sink.broker
    try:
        asyncio.run(_ask(broker))
    except (EdgeMLError, OSError) as error:
        yield Finding("broker", "error", str(error))
    else:
        yield Finding("broker", "ok", f"{broker.address} lets us in")


async def _ask(broker: Broker) -> None:
    try:
        # In a role of its own: a running app with the same client_id must not be thrown out.
        async with asyncio.timeout(_TIMEOUT), broker.connect(role="doctor"):
            pass
    except TimeoutError:
        raise PublishError(
            f"{broker.address} does not answer within {_TIMEOUT:g} s; is the address right?"
        ) from None
