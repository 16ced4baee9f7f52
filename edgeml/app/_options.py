"""Options of a table in app.toml, taken from the constructor that they are for.

The names, types and defaults stand once, in the constructor; here a pydantic model is made
of them. What cannot be written in TOML, such as a callable, is no option.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import inspect
import json
import os
import pathlib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from edgeml._require import require
from edgeml.app._document import Document, Key, nearest

REQUIRED = inspect.Parameter.empty

_SCALARS = {
    str: "a text in quotes",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
_LISTS = (
    list, collections.abc.Sequence, collections.abc.Collection, collections.abc.Iterable,
)  # fmt: skip
_SETS = (tuple, set, frozenset)
_TABLES = (dict, collections.abc.Mapping)


@dataclass(frozen=True)
class Option:
    """An option of a table.

    Attributes:
        type: What it may be, as pydantic takes it.
        default: Its default, or `REQUIRED`.
        star: Whether it is the list of the positional arguments.
        off: Whether the constructor takes None; TOML has no word for that, so it is false here.
    """

    type: Any
    default: Any = REQUIRED
    off: bool = False
    star: bool = False

    @property
    def words(self) -> str:
        """What it may be, for a person."""
        return _words(self.type)


def options_of(constructor: Callable[..., Any]) -> dict[str, Option]:
    """Return the options of a class or function: its keywords that TOML can express.

    A class that passes ``**options`` on has those of its base classes, too.
    """
    found: dict[str, Option] = {}
    for depth, function in enumerate(_constructors(constructor)):
        hints = typing.get_type_hints(function)
        parameters = inspect.signature(function).parameters.values()
        for parameter in parameters:
            if parameter.kind is parameter.VAR_KEYWORD:
                continue
            if parameter.name == "self" or (depth and parameter.default is REQUIRED):
                continue  # what a base class requires, the class itself gives it
            hint = hints.get(parameter.name, Any)
            type_ = _writable(hint)
            off = type(None) in get_args(hint) and bool not in get_args(hint)
            if parameter.kind is parameter.VAR_POSITIONAL:
                found[parameter.name] = Option(list[type_], REQUIRED, star=True)  # type: ignore[valid-type]
            elif type_ is not None:
                type_ = type_ | Literal[False] if off else type_
                found.setdefault(parameter.name, Option(type_, parameter.default, off))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return found


def _constructors(constructor: Any) -> Iterator[Callable[..., Any]]:
    if not isinstance(constructor, type):
        yield constructor
        return
    for cls in constructor.__mro__:
        if "__init__" in vars(cls) and cls is not object:
            yield vars(cls)["__init__"]


def validate(
    document: Document, key: Key, table: Mapping[str, Any], options: Mapping[str, Option]
) -> dict[str, Any]:
    """Check a table against its options; return what is set in it, by name.

    Args:
        document: Where the table came from.
        key: Where it stands in the document.
        table: What stands there.
        options: What may stand there.

    Raises:
        ConfigError: a key is unknown, missing, or of the wrong type.
    """
    pydantic = require("pydantic", extra="app", purpose="app.toml")
    model = _model_of(tuple(options.items()))
    try:
        # As JSON, because strict JSON is what TOML is: a list may be a tuple, "1" is no number.
        checked = model.model_validate_json(json.dumps(table, default=str), strict=True)
    except pydantic.ValidationError as error:
        problems = {_name_of(e["loc"]): e for e in reversed(error.errors(include_url=False))}
        # What is missing comes last: often it is there, with a typing mistake in its name.
        name = min(problems, key=lambda n: (n not in table, document.line_of((*key, n)) or 0))
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        message = _explain(name, problems[name], table, options)
        raise document.error((*key, name), message + more) from None
    values = {name: getattr(checked, f"opt_{name}") for name in table}
    return {
        name: _or_none(value, table[name]) if options[name].off else value
        for name, value in values.items()
    }


def _or_none(value: Any, written: Any) -> Any:
    """Return None for false; 0 is a number, though pydantic takes it for false as well."""
    if value is not False:
        return value
    return None if written is False else written


@functools.lru_cache(maxsize=64)
def _model_of(options: tuple[tuple[str, Option], ...]) -> Any:
    pydantic = require("pydantic", extra="app", purpose="app.toml")
    fields = {
        # A prefix, because a model has methods of its own, such as `copy`.
        f"opt_{name}": (
            option.type,
            pydantic.Field(... if option.default is REQUIRED else None, alias=name),
        )
        for name, option in options
    }
    config = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())
    return pydantic.create_model("Table", __config__=config, **fields)


def _name_of(loc: tuple[Any, ...]) -> str:
    return str(loc[0]) if loc else ""


def _explain(
    name: str, problem: Mapping[str, Any], table: Mapping[str, Any], options: Mapping[str, Option]
) -> str:
    if name not in options:
        return f"unknown key{nearest(name, options)}"
    expected, inner = options[name].words, problem["loc"][-1]
    if name not in table:
        return f"missing; expected {name} = {expected}"
    if problem["type"] == "unexpected_keyword_argument":
        fields = (part.split(",") for part in expected.partition(" of ")[2:])
        known = [field.strip() for part in fields for field in part]
        return f"unknown key {inner}{nearest(str(inner), known)}"
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    if problem["type"] == "finite_number":
        return f"expected a finite number; received {table[name]}"
    if isinstance(table[name], dict) and inner in table[name]:
        asked = problem["msg"].removeprefix("Input should be ")
        return f"{inner}: expected {asked}; received {describe(str(inner), table[name][inner])}"
    return f"expected {expected}; received {describe(name, table[name])}"


def describe(name: str, value: Any) -> str:
    """Return what a value is, for a message; nothing that may hold a password is quoted."""
    kind = _kind(value)
    if isinstance(value, dict | list) or "password" in name or "@" in str(value):
        return kind
    text = json.dumps(value, default=str)
    return f"{kind}, {text if len(text) <= 60 else text[:57] + '...'}"


def _kind(value: Any) -> str:
    kinds = {
        bool: "true or false", int: "a whole number", float: "a number", str: "a text",
        list: "a list", dict: "a table",
    }  # fmt: skip
    return kinds.get(type(value), "a date or time")


def _writable(annotation: Any) -> Any:
    """Return the part of a type that TOML can express, or None when there is none."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal or annotation is Any or annotation in _SCALARS:
        return annotation
    if origin in (Union, types.UnionType):
        parts = [p for p in map(_writable, args) if p is not None]
        return functools.reduce(lambda a, b: a | b, parts) if parts else None
    if (origin or annotation) in (os.PathLike, pathlib.Path):
        return str
    if dataclasses.is_dataclass(annotation):
        return annotation
    if origin not in (*_LISTS, *_SETS, *_TABLES):
        return None
    inner = [_writable(a) for a in args if a is not Ellipsis]
    if any(i is None for i in inner):
        return None
    if origin in _LISTS:
        return list[inner[0]]  # type: ignore[valid-type]
    if origin in _TABLES:
        return dict[str, inner[1]]  # type: ignore[valid-type]
    return annotation


def _words(annotation: Any) -> str:
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if origin is Literal:
        return " or ".join(json.dumps(a) for a in args)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_words(a) for a in args if a != Literal[False]))
    if dataclasses.is_dataclass(annotation):
        return f"a table of {', '.join(f.name for f in dataclasses.fields(annotation))}"
    if origin is dict:
        return f"a table with, for each key, {_words(args[1])}"
    if origin in (list, set, frozenset) or (origin is tuple and Ellipsis in args):
        return f"a list, each {_words(args[0])}"
    if origin is tuple:
        return f"a list of {len(args)}: {', '.join(map(_words, args))}"
    return "any value"
