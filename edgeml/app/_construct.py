"""From checked tables to sources and stages."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeml.app._document import Document, Key
from edgeml.app._secrets import SecretError, resolve

if TYPE_CHECKING:
    from edgeml.app._config import SourceConfig, TaskConfig

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def construct(document: Document, table: SourceConfig | TaskConfig, **own: Any) -> Any:
    """Make the source or the stage that a table describes; nothing is opened.

    Args:
        document: Where the table came from.
        table: What it says.
        own: Further keywords for the constructor.

    Raises:
        ConfigError: the constructor refused a value, or a secret is not there.
        MissingExtra: a library that it needs is not installed.
    """
    options = with_paths(document, with_secrets(document, table.key, table.options))
    options |= own
    make = table.kind.load()
    if table.kind.cls == "python_stage":
        options["beside"] = document.path.parent.absolute()
    elif table.kind.cls == "Personal" and options["store"]:
        options["store"] = str(document.path.parent.absolute() / options["store"])
    star = next((name for name, o in table.kind.options().items() if o.star), None)
    arguments = options.pop(star) if star is not None else ()
    return call(
        document, table.key, lambda: make(*arguments, name=table.name, **options), table.options
    )


def with_secrets(document: Document, key: Key, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the secrets that they name.

    Raises:
        ConfigError: a secret is not there.
    """
    found = {}
    for name, value in options.items():
        try:
            found[name] = resolve(value)
        except SecretError as error:
            raise document.error((*key, name), str(error)) from error
    return found


def with_paths(document: Document, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with the files that lie beside app.toml as paths."""
    return {name: beside(document.path, value) for name, value in options.items()}


def beside(path: Path, value: Any) -> Any:
    """Return the name of a file that lies beside app.toml as its path; all else as it is."""
    if not isinstance(value, str) or not value or _SCHEME.match(value) or "\x00" in value:
        return value
    file = path.parent / value
    return str(file) if not Path(value).is_absolute() and file.is_file() else value


def call(document: Document, key: Key, make: Callable[[], Any], options: Mapping[str, Any]) -> Any:
    """Call a constructor; what it refuses is an error at the line of the option it names.

    Raises:
        ConfigError: the constructor refused a value.
    """
    try:
        return make()
    except (ValueError, TypeError) as error:
        words = set(re.findall(r"\w+", str(error)))
        named = next((name for name in options if name in words), None)
        raise document.error(key if named is None else (*key, named), str(error)) from error
