"""Load time and memory, measured in a process of its own."""

from __future__ import annotations

import numpy as np
import pytest

from edgeml.errors import OptimizeError
from edgeml.quantize._footprint import footprint


@pytest.fixture
def model(net):
    made = net(3, 32, 32)
    return made.model(made.conv("x", 64, 3))


def test_of_a_model_that_runs(model):
    found = footprint(model, {"x": np.zeros((1, 3, 32, 32), np.float32)}, {})
    assert found["load_ms"] > 0
    assert 64 * 32 * 32 * 4 < found["peak_bytes"] < 500e6  # at least what it makes


def test_a_model_that_cannot_be_run_says_why(model):
    with pytest.raises(OptimizeError, match=r"not measured: .*'x'"):
        footprint(model, {}, {})
