"""Tasks that are the user's own Python."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from edgeml.streams import Stage, stage


def python_stage(function: str, *, name: str = "python", beside: Path | None = None) -> Stage:
    """Make a stage of a callable or a `Stage` class that is named ``"module:name"``.

    The module is a file beside app.toml, or anything that can be imported.

    Args:
        function: Such as ``"my_rules:too_many_people"``.
        name: The stage's name.
        beside: Folder that is searched first.

    Raises:
        ValueError: there is no such module, or nothing callable of that name in it.
    """
    module_name, colon, attribute = function.partition(":")
    if not (colon and module_name and attribute.isidentifier()):
        raise ValueError(f'function: expected "module:name"; received {function!r}')
    target: Any = getattr(_module(module_name, beside), attribute, None)
    if isinstance(target, type) and issubclass(target, Stage):
        target = target()
    if isinstance(target, Stage):
        target.name = name
        return target
    if not callable(target):
        raise ValueError(f"function: the module {module_name} has no callable named {attribute}")
    return stage(name=name)(target)


def _module(name: str, beside: Path | None) -> ModuleType:
    file = beside / f"{name}.py" if beside is not None else None
    try:
        if file is None or not file.is_file():
            return importlib.import_module(name)
        return _load(name, file)
    except (Exception, SystemExit) as error:
        what = f"{type(error).__name__}: {error}"
        where = f" (looked in {beside} first)" if beside is not None else ""
        raise ValueError(
            f"function: the module {name} cannot be imported: {what}{where}"
        ) from error


def _load(name: str, file: Path) -> ModuleType:
    # Under a name of its own: a `json.py` beside app.toml must not become everybody's json.
    name = f"app_toml.{name}"
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(file):
        return loaded
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
