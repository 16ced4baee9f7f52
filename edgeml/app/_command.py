"""Commands that teach a running app: what may stand in them, and what is wrong with one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeml.errors import ConfigError

SCHEMA = 1
MAX_ID = 128  # characters
_MAX_TEXT = 200


@dataclass(frozen=True)
class Argument:
    """What an argument of a command may be.

    Attributes:
        type: "text", "integer", "number" or "boolean".
        default: What it is when it is left out; None where it must be given.
        least: Least value, or length of a text.
        most: Largest value, or length of a text.
        help: What it means.
    """

    type: str
    default: Any
    help: str
    least: float = 0
    most: float = _MAX_TEXT

    def fits(self, value: Any) -> bool:
        """Whether a value is of the type, and within the bounds."""
        if self.type == "boolean":
            return isinstance(value, bool)
        if self.type == "text":
            return isinstance(value, str) and self.least <= len(value) <= self.most
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        right = isinstance(value, int | float) and (self.type == "number" or whole)
        return right and not isinstance(value, bool) and self.least <= value <= self.most

    @property
    def words(self) -> str:
        """What it may be, for a person."""
        if self.type == "boolean":
            return "true or false"
        if self.type == "text":
            return f"a text of {self.least:g} to {self.most:g} characters"
        return f"{self.type}, {self.least:.16g} to {self.most:.16g}"

    def schema(self) -> dict[str, Any]:
        """Return it as a JSON Schema."""
        kind = "string" if self.type == "text" else self.type
        found: dict[str, Any] = {"type": kind, "description": self.help}
        if self.type == "text":
            found |= {"minLength": int(self.least), "maxLength": int(self.most)}
        elif self.type != "boolean":
            found |= {"minimum": self.least, "maximum": self.most}
        return found if self.default is None else {**found, "default": self.default}


_LABEL = Argument("text", None, "the class", 1)
_FORCE = Argument("boolean", False, "use it even though it is significantly worse")
COMMANDS: Mapping[str, Mapping[str, Argument]] = {
    "status": {},
    "collect": {
        "label": _LABEL,
        "count": Argument("integer", 5, "how many examples", 1, 1000),
        "countdown": Argument("number", 3.0, "seconds before the first", 0, 60),
        "every": Argument("number", 0.5, "seconds between two that are tried", 0, 60),
        "within": Argument("number", 60.0, "seconds after which it gives up", 1, 3600),
        "subject": Argument("text", "", "whom they are of"),
    },
    "cancel": {},
    "train": {
        "accept": Argument("boolean", False, "use the candidate at once, unless it is worse"),
    },
    "accept": {"force": _FORCE},
    "rollback": {},
    "history": {},
    "remove": {"example": Argument("integer", None, "its number", 1, 2**53)},
    "forget": {"label": _LABEL},
}
"""Commands, and their arguments."""

SAFE = ("status", "collect", "cancel", "train", "accept", "rollback", "history")
"""What may be commanded unless app.toml says otherwise: nothing that deletes examples."""


@dataclass(frozen=True)
class Command:
    """A command to a task that learns.

    Attributes:
        name: What to do; one of `COMMANDS`.
        arguments: All of its arguments, the defaults filled in.
        id: What the sender calls it.
        task: The task's name; empty for the only one.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str = ""
    task: str = ""


class CommandError(ConfigError):
    """A command is refused; `id` is what the sender called it, where that can be told."""

    id = ""


def parse(payload: bytes) -> Command:
    """Return the command that a message holds.

    Raises:
        CommandError: it is no JSON, or not what `command_schema` describes.
    """
    try:
        said = json.loads(payload.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"expected JSON in UTF-8: {str(error)[:100]}") from None
    if not isinstance(said, dict):
        raise CommandError("expected a JSON object")
    given = said.get("id", "")
    name = given if isinstance(given, str) and len(given) <= MAX_ID else ""
    try:
        return checked(said)
    except RecursionError:
        wrong = CommandError("expected a flat JSON object")
    except CommandError as refused:
        wrong = refused
    wrong.id = name
    raise wrong


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def checked(said: Mapping[str, Any]) -> Command:
    """Return the command of a JSON object.

    Raises:
        CommandError: it is not what `command_schema` describes.
    """
    schema = said.get("schema")
    if schema != SCHEMA or isinstance(schema, bool):
        raise CommandError(f"schema: expected {SCHEMA}, received {_short(schema)}")
    name = said.get("command")
    if not isinstance(name, str) or name not in COMMANDS:
        raise CommandError(
            f"command: expected one of {', '.join(COMMANDS)}; received {_short(name)}"
        )
    wanted = {**_ENVELOPE, **COMMANDS[name]}
    for key in said:
        if key not in wanted and key not in ("schema", "command"):
            raise CommandError(f"{name}: unknown key {_short(key)}; known: {', '.join(wanted)}")
    values: dict[str, Any] = {}
    for key, argument in wanted.items():
        value = said.get(key, argument.default)
        if not argument.fits(value):
            received = _short(said[key]) if key in said else "nothing"
            raise CommandError(f"{name}: {key}: expected {argument.words}; received {received}")
        values[key] = int(value) if argument.type == "integer" else value
    return Command(name, values, str(values.pop("id")), str(values.pop("task")))


_ENVELOPE = {
    "id": Argument("text", "", "what the answers are to be called", 0, MAX_ID),
    "task": Argument("text", "", "name of the task in app.toml; empty for the only one"),
}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= 60 else f"{text[:57]}..."


def command_schema() -> dict[str, Any]:
    """Return the JSON Schema of a command."""
    forms = []
    for name, arguments in COMMANDS.items():
        known = {**_ENVELOPE, **arguments}
        needed = [key for key, argument in arguments.items() if argument.default is None]
        properties = {"schema": {"const": SCHEMA}, "command": {"const": name}} | {
            key: argument.schema() for key, argument in known.items()
        }
        forms.append(
            {
                "type": "object",
                "required": ["schema", "command", *needed],
                "properties": properties,
                "additionalProperties": False,
            }
        )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "edgeml command",
        "description": "What is published to teach a running app.",
        "oneOf": forms,
    }
