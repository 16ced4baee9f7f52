"""Small models with known answers."""

from __future__ import annotations

import numpy as np
import pytest

import edgeml
from edgeml import layers


@pytest.fixture
def pooled():
    """A classifier whose scores are linear in the mean over the places of its last map."""
    layers.set_random_seed(3)
    return edgeml.Sequential([
        edgeml.Input((12, 12, 3)), layers.Conv2D(5, 3, activation="relu", name="map"),
        layers.GlobalAveragePooling2D(name="mean"), layers.Dense(4, name="scores"),
    ], name="pooled")  # fmt: skip


@pytest.fixture
def picture():
    """A batch of one random picture, channels last."""
    return np.random.default_rng(0).random((1, 12, 12, 3)).astype(np.float32)
