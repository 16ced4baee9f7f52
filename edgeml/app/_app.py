"""An application: the pipeline that an app.toml describes."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from edgeml._require import require
from edgeml.app._commands import Commands
from edgeml.app._config import AppConfig, SourceConfig, read_config
from edgeml.app._construct import call, construct
from edgeml.app._governor import GovernorConfig, event_of
from edgeml.app._mqtt import COMMANDS_KEY
from edgeml.app._personal import Personal
from edgeml.app._report import Report
from edgeml.errors import PipelineError, SinkClosed
from edgeml.events import Broker, EmbeddedBroker, Event, MqttSink
from edgeml.streams import Chain, Pipeline, Source, Stats, tee
from edgeml.tasks import Changed

if TYPE_CHECKING:
    from edgeml.devices import Governor, GovernorStep

log = logging.getLogger("edgeml.app")

Listener = Callable[[Event], None]


class App:
    r"""The application that an app.toml describes; made by `load_app`.

    An app runs once.

    Attributes:
        config: What the file says.
        pipeline: What runs; None before `build`.

    Example:
        >>> import asyncio, pathlib, tempfile
        >>> from edgeml.app import load_app
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> _ = (folder / "walk.csv").write_text("t,x\n0.0,1\n0.1,2\n")
        >>> _ = (folder / "app.toml").write_text('''
        ... schema = 1
        ... [sources.walk]
        ... type = "csv"
        ... path = "walk.csv"
        ... ''')
        >>> app = load_app(folder / "app.toml")
        >>> app.listen(lambda event: print(event.source, event.data))
        >>> asyncio.run(app.run())
        walk {'x': 1.0}
        walk {'x': 2.0}
    """

    def __init__(self, config: AppConfig) -> None:
        self.config = config
        self.pipeline: Pipeline | None = None
        self._sources: list[Source[Any]] = []
        self._sink: MqttSink | None = None
        self._embedded: EmbeddedBroker | None = None
        self._commands: Commands | None = None
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        self._task: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_asked = threading.Event()

    @property
    def name(self) -> str:
        """The application's name."""
        return self.config.name

    def listen(self, listener: Listener) -> None:
        """Call `listener` with each event, in a worker thread, one call at a time.

        It holds the stream back while it runs: nothing is lost in front of a slow listener
        that a slow stage would not lose, too.
        """
        self._listeners.append(listener)

    def build(self) -> Pipeline:
        """Make the pipeline: sources, tasks, and where the results go; nothing is opened.

        Raises:
            ConfigError: a constructor refused a value, or a secret is not there.
            MissingExtra: a library that something needs is not installed.
        """
        config = self.config
        broker = self._broker()
        stages = {task.name: construct(config.document, task) for task in config.tasks.values()}
        if config.mqtt is not None and broker is not None:
            self._sink = config.mqtt.sink(self.name, self._outputs(stages), broker)
            self._commands = self._listening(stages, broker)
        chains = []
        for table in config.sources.values():
            own: dict[str, Any] = {}
            if table.kind.cls == "MqttSource" and "broker" not in table.options and broker:
                own["broker"] = broker
            source = construct(config.document, table, **own)
            if own:
                self._check_echo(table, source.topics)
            self._sources.append(source)
            chains.append(Chain([source, *self._followers(table.name, "", stages)]))
        self.pipeline = Pipeline(*chains, name=config.name)
        return self.pipeline

    def _check_echo(self, table: SourceConfig, topics: Sequence[str]) -> None:
        """Refuse a source that hears what is published of it: each message would bring another."""
        assert self._sink is not None
        paho = require("paho.mqtt.client", extra="mqtt", purpose="MQTT")
        tasks = [t for t in self.config.tasks if self.config.source_of(t) == table.name]
        for task in tasks or [""]:
            published = self._sink.topic_of(table.name, task)
            for topic in topics:
                if paho.topic_matches_sub(topic, published):
                    raise self.config.document.error(
                        (*table.key, "topics"),
                        f"{topic!r} takes in {published}, where this app publishes what comes of "
                        f"it: each message would bring another, without end; expected topics of "
                        f"others",
                    )

    def _listening(self, stages: Mapping[str, Any], broker: Broker) -> Commands | None:
        """Return what takes commands, where the config allows any."""
        mqtt = self.config.mqtt
        if mqtt is None or mqtt.commands is None:
            return None
        taught = {name: stage for name, stage in stages.items() if isinstance(stage, Personal)}
        if not taught:
            raise self.config.document.error(
                COMMANDS_KEY, 'there is no task with type = "personal" to take commands'
            )
        topics = mqtt.commands.filled(mqtt.prefix(self.name), self.name)
        return Commands(topics, broker, taught, older=mqtt.embedded)

    def _broker(self) -> Broker | None:
        """Return where the broker is; make the embedded one if that is it."""
        if self.config.mqtt is None:
            return None
        if not self.config.mqtt.embedded:
            return self.config.mqtt.broker()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        self._embedded = EmbeddedBroker(port)
        return Broker("127.0.0.1", port)

    def _outputs(self, stages: Mapping[str, Any]) -> dict[tuple[str, str], Any]:
        """Return what the tasks publish, by source and task, for discovery."""
        return {
            (self.config.source_of(name), name): stage.outputs()
            for name, stage in stages.items()
            if hasattr(stage, "outputs")
        }

    def _followers(self, name: str, task: str, stages: Mapping[str, Any]) -> list[Any]:
        """Return the steps after a source or a task: other tasks, and the way out."""
        branches = [
            Chain([stages[t.name], *self._followers(t.name, t.name, stages)])
            for t in self.config.fed_by(name)
        ]
        if task or not branches:
            branches.append(Chain(self._way_out(name, task)))
        return branches if len(branches) == 1 else [tee(*branches)]

    def _way_out(self, name: str, task: str) -> list[Any]:
        steps: list[Any] = [Report(task, self._tell, name=f"{name} events")]
        config = self.config.tasks.get(task)
        if config is not None and config.changes:
            changed = functools.partial(Changed, config.heartbeat, name=f"{name} changes")
            key = (*config.key, "heartbeat")
            steps.insert(0, call(self.config.document, key, changed, {}))
        return steps if self._sink is None else [*steps, self._sink]

    def _tell(self, event: Event) -> None:
        with self._lock:
            for listener in self._listeners:
                listener(event)

    def _governed(self, pipeline: Pipeline, config: GovernorConfig) -> Governor:
        """Return the governor, whose steps go where the results go."""
        governor = config.governor(pipeline)

        async def publish(step: GovernorStep) -> None:
            event = event_of(step, pipeline.clock)
            with contextlib.suppress(SinkClosed):  # the app ends at this moment
                if self._sink is not None:
                    await self._sink.send(event)
            await asyncio.to_thread(self._tell, event)

        governor.on("step", publish)
        return governor

    async def run(self) -> None:
        """Run until the sources end, or `stop` is called.

        Raises:
            EdgeMLError: what ended the app, if it failed.
        """
        pipeline = self.pipeline or self.build()
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        if self._stop_asked.is_set():
            return
        try:
            async with AsyncExitStack() as stack:
                if self._embedded is not None:
                    await stack.enter_async_context(self._embedded)
                if self._commands is not None:
                    await stack.enter_async_context(self._commands)
                if self.config.governor is not None:
                    governor = self._governed(pipeline, self.config.governor)
                    await stack.enter_async_context(governor)
                await pipeline.run()
        except asyncio.CancelledError:
            if not (self._stop_asked.is_set() and self._is_opening() and self._task):
                raise
            self._task.uncancel()

    def stop(self) -> None:
        """Stop the sources and let what is on its way arrive; then `run` returns. Any thread."""
        if self._loop is None:
            self._stop_asked.set()
        else:
            with contextlib.suppress(RuntimeError):  # its loop has closed: it has ended by itself
                self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        if self._stop_asked.is_set() or self._task is None or self.pipeline is None:
            return
        self._stop_asked.set()
        if self._is_opening():
            self._task.cancel()  # nothing is on its way yet
        elif self.pipeline.is_running:  # else it has ended by itself
            self._draining = asyncio.ensure_future(self.pipeline.drain())

    def _is_opening(self) -> bool:
        return all(source.state == "idle" for source in self._sources)

    @property
    def sink(self) -> MqttSink | None:
        """What publishes the results; None without ``[mqtt]``, and before `build`."""
        return self._sink

    def stats(self) -> Stats | None:
        """Return the figures so far; None before the pipeline runs."""
        try:
            return None if self.pipeline is None else self.pipeline.stats()
        except PipelineError:
            return None

    def explain(self) -> str:
        """Say what holds the app back, and what was lost and why."""
        return "" if self.pipeline is None or self.stats() is None else self.pipeline.explain()

    def __repr__(self) -> str:
        return f"<App {self.name!r}: {len(self.config.sources)} sources>"


def load_app(path: str | os.PathLike[str]) -> App:
    """Read an app.toml; nothing is opened.

    Args:
        path: The file. Relative file names in it are looked up beside it first.

    Raises:
        ConfigError: something in it is wrong; the message has file, line, key, what was
            expected and the nearest name.
        MissingExtra: pydantic is not installed.
    """
    return App(read_config(path))
