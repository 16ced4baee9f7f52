"""The table ``[governor]``: what an app does when the board gets hot."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgeml.app._construct import beside, call
from edgeml.app._document import Document, nearest
from edgeml.app._options import Option, options_of, validate
from edgeml.events import Event
from edgeml.streams import Clock, Pipeline
from edgeml.tasks import Task

if TYPE_CHECKING:
    from edgeml.app._config import SourceConfig, TaskConfig
    from edgeml.devices import Governor, GovernorStep

KEY = ("governor",)
NAME = "governor"  # what its steps have as the name of a source


@dataclass(frozen=True)
class GovernorConfig:
    """The table ``[governor]``.

    Attributes:
        document: Where it stands.
        options: What is set, by the keywords of `edgeml.devices.Governor`.
    """

    document: Document
    options: Mapping[str, Any]

    @classmethod
    def read(
        cls,
        document: Document,
        table: Mapping[str, Any],
        sources: Mapping[str, SourceConfig],
        tasks: Mapping[str, TaskConfig],
    ) -> GovernorConfig:
        """Check the table.

        Raises:
            ConfigError: a key is unknown or of the wrong type, or names what is not there.
        """
        if NAME in sources:
            raise document.error(
                ("sources", NAME),
                f"the governor's steps are events of a source {NAME!r}; rename this one",
            )
        options = validate(document, KEY, table, governor_options())
        ladder: Mapping[str, Any] = options.get("models") or {}
        models = {name: task for name, task in tasks.items() if _is_task(task.kind.load())}
        _check_names(document, "fps", "source", options.get("fps") or {}, sources)
        _check_names(document, "models", "task with a model", ladder, models)
        for name, paths in ladder.items():
            task = models[name]
            own = task.options.get("model", task.kind.options()["model"].default)
            if paths and paths[0] != own:
                raise document.error(
                    (*KEY, "models"),
                    f"the first model of {name} must be the task's own, {own!r}; received "
                    f"{paths[0]!r}",
                )
        config = cls(document, options)
        config.governor(Pipeline())  # refuses a ladder that makes no sense
        return config

    def governor(self, pipeline: Pipeline) -> Governor:
        """Make the governor of a pipeline.

        Raises:
            ConfigError: a value was refused.
        """
        from edgeml.devices import Governor

        options = dict(self.options)
        options["models"] = {
            name: [beside(self.document.path, path) for path in paths]
            for name, paths in (options.get("models") or {}).items()
        }
        governor: Governor = call(
            self.document, KEY, lambda: Governor(pipeline, **options), self.options
        )
        return governor


def event_of(step: GovernorStep, clock: Clock) -> Event:
    """Return the event that tells of a step, taken now."""
    now = clock.now()
    return Event(NAME, "step", clock.wall(now), now, step)


def governor_options() -> dict[str, Option]:
    """Return what may stand in the table."""
    from edgeml.devices import Governor

    return options_of(Governor)


def _is_task(made: Any) -> bool:
    return isinstance(made, type) and issubclass(made, Task)  # what hot swap is for


def _check_names(
    document: Document, option: str, what: str, named: Collection[str], known: Collection[str]
) -> None:
    for name in named:
        if name not in known:
            raise document.error(
                (*KEY, option), f"there is no {what} {name!r}{nearest(name, known)}"
            )
