"""Lets the documentation show the arguments that a class really takes.

Layers, losses, optimizers and metrics get theirs from fields, also those of their bases, which
reading the source does not find. Named in mkdocs.yml.
"""

from __future__ import annotations

import importlib
import inspect
from typing import Any

import griffe

PACKAGES = ("layers", "losses", "metrics", "optimizers", "initializers")


class Signatures(griffe.Extension):
    """Takes the signatures of the imported classes."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Correct the classes of the packages that are made of fields."""
        for name in PACKAGES:
            module = importlib.import_module(f"{pkg.name}.{name}")
            for exported in module.__all__:
                value = getattr(module, exported)
                if inspect.isclass(value):
                    found = pkg[value.__module__.removeprefix(f"{pkg.name}.")][value.__name__]
                    found.members["__init__"] = _init(value, found)


def _init(value: type, parent: griffe.Class) -> griffe.Function:
    own = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
    given = map(_parameter, inspect.signature(value).parameters.values())
    made = griffe.Function("__init__", parameters=griffe.Parameters(own, *given))
    made.parent = parent
    return made


def _parameter(found: inspect.Parameter) -> griffe.Parameter:
    kind = inspect.formatannotation(found.annotation) if found.annotation != "Any" else None
    return griffe.Parameter(
        found.name,
        kind=griffe.ParameterKind[found.kind.name.lower()],
        annotation=None if found.annotation is found.empty else kind and kind.strip("'"),
        default=None if found.default is found.empty else repr(found.default),
    )
