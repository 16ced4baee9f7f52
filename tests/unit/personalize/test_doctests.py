"""The examples in the docstrings run, and public names have one."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from edgeml import personalize

MODULES = [f"edgeml.personalize.{m.name}" for m in pkgutil.iter_modules(personalize.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_public_names_are_explained_with_an_example():
    for name in personalize.__all__:
        value = getattr(personalize, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert ">>>" in (value.__doc__ or ""), name
