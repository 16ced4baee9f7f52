"""What importing costs, and what each package exports.

After a deliberate change of the public names: python tests/unit/test_imports.py
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgeml

SNAPSHOT = Path(__file__).with_name("api.txt")
HEAVY = {
    "aiomqtt", "amqtt", "av", "cv2", "ai_edge_litert", "gpiod", "matplotlib", "onnx", "onnxruntime",
    "optuna", "pydantic", "pynmea2", "rich", "scipy", "serial", "sklearn", "sounddevice",
    "soundfile", "soxr", "tensorboardX",
}  # fmt: skip


def packages() -> list[str]:
    """Return edgeml and its public packages and modules, found on disk."""
    found = pkgutil.iter_modules(edgeml.__path__)
    return ["edgeml", *sorted(f"edgeml.{m.name}" for m in found if not m.name.startswith("_"))]


def loaded_by(code: str) -> set[str]:
    """Return the top-level modules that are loaded after `code` ran in a new interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("package", packages())
def test_import_is_light(package):
    heavy = HEAVY & loaded_by(f"import {package}")
    assert not heavy, f"import {package} loads {', '.join(sorted(heavy))}"


def test_import_of_edgeml_needs_not_even_numpy():
    assert "numpy" not in loaded_by("import edgeml")


@pytest.mark.parametrize("package", packages())
def test_exports_are_sorted_and_real(package):
    module = importlib.import_module(package)
    names = list(module.__all__)
    # ruff puts constants before classes before functions; a computed list is in plain order.
    assert names in (sorted(names), sorted(names, key=lambda n: (rank(n), n)))
    assert len(set(names)) == len(names)
    for name in names:
        assert getattr(module, name) is not None, f"{package}.{name}"


@pytest.mark.parametrize("package", packages())
def test_exports_are_all_that_looks_public(package):
    module = importlib.import_module(package)
    # A package may use what it imports from elsewhere; of a single file only its own names count.
    home = "edgeml" if hasattr(module, "__path__") else package
    own = {
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and getattr(value, "__module__", home).startswith(home)
    }
    if home == package:
        own = {name for name in own if hasattr(vars(module)[name], "__module__")}
    assert own - set(module.__all__) <= {"TYPE_CHECKING"}


def test_api_is_the_one_in_the_snapshot():
    assert SNAPSHOT.read_text().splitlines() == list(api()), (
        f"the public names changed; if that is meant: python {Path(__file__).name}"
    )


def rank(name: str) -> int:
    """Return 0 for a constant's name, 1 for a class's, 2 for any other."""
    return 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2


def api() -> Iterator[str]:
    """Yield one line a public name: its package, and its signature where it has one."""
    for package in packages():
        module = importlib.import_module(package)
        for name in sorted(module.__all__):
            yield f"{package}.{name}{signature(getattr(module, name))}"


def signature(value: object) -> str:
    """Return the parameters without annotations: how they print differs between Pythons."""
    if not callable(value):
        return ""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    plain = [
        p.replace(
            annotation=inspect.Parameter.empty,
            default="…" if p.default is not inspect.Parameter.empty else inspect.Parameter.empty,
        )
        for p in found.parameters.values()
    ]
    return str(inspect.Signature(plain)).replace("'…'", "…")


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(api()) + "\n")
    print(f"wrote {SNAPSHOT}")
