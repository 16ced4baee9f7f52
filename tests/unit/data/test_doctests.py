"""The examples in the docstrings run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import edgeml.data

MODULES = [f"edgeml.data.{module.name}" for module in pkgutil.iter_modules(edgeml.data.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
