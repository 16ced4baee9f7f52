"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import edgeml.devices
import edgeml.testing

MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (edgeml.devices, edgeml.testing)
    for module in pkgutil.iter_modules(package.__path__)
    if not module.name.startswith("_camera")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(name)
    if name.endswith("_microphone"):
        pytest.importorskip("soundfile", reason="soundfile is not installed")
    failures, _ = doctest.testmod(module)
    assert not failures
