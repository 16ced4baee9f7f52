"""The examples in the docstrings of the learning engine run, and public names have one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

PACKAGES = [
    importlib.import_module(f"edgeml.{name}")
    for name in ("activations", "callbacks", "constraints", "data", "evaluation", "graph",
                 "initializers", "layers", "losses", "metrics", "ops", "optimizers", "regularizers",
                 "training", "tuning")
]  # fmt: skip
# What their functions return is explained there.
RUN_TOO = [importlib.import_module(f"edgeml.{name}") for name in ("plots", "quantize")]
MODULES = [
    f"{package.__name__}.{module.name}"
    for package in (*PACKAGES, *RUN_TOO)
    if package.__name__ != "edgeml.data"  # has a test of its own
    for module in pkgutil.iter_modules(package.__path__)
]  # fmt: skip
# Of one argument, or NumPy's: the page of edgeml.ops says how to call them.
PLAIN = {"activations", "ops"}
# What rules are written with; the guide shows it in use.
BUILDING_BLOCKS = {"Node", "Tensor", "lowering", "no_grad"}


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.__name__)
def test_public_names_are_explained_with_an_example(package):
    for name in package.__all__:
        value = getattr(package, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        assert value.__doc__, name
        if package.__name__.rpartition(".")[2] not in PLAIN and name not in BUILDING_BLOCKS:
            assert ">>>" in value.__doc__, f"{package.__name__}.{name} has no example"
