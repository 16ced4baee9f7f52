"""The examples run, and each public name has one or belongs to one that has."""

import doctest
import importlib
import inspect
import pkgutil

import pytest

from edgeml import plots

MODULES = [f"edgeml.plots.{m.name}" for m in pkgutil.iter_modules(plots.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    pytest.importorskip("cv2", reason="cv2 is not installed: extra camera")
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_functions_have_an_example_and_results_say_who_returns_them():
    for name in plots.__all__:
        value = getattr(plots, name)
        if inspect.isfunction(value) or value is plots.Picture:
            assert ">>>" in value.__doc__, name
        else:
            assert value.__doc__, name
