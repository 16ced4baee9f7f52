"""Layers of sequences in functional models, whose batch is free: traced, saved, run at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeml
from edgeml import layers

LAYERS: dict[str, Callable[[], Callable[[Any], Any]]] = {
    "position embedding": lambda: layers.PositionEmbedding(5),
    "sine positions": layers.SinePositionEncoding,
    "rotary positions": layers.RotaryEmbedding,
    "attention": lambda: lambda x, layer=layers.Attention(): layer([x, x]),
    "additive attention": lambda: lambda x, layer=layers.AdditiveAttention(): layer([x, x]),
    "heads": lambda: lambda x, layer=layers.MultiHeadAttention(4, 4): layer(x, x),
    "grouped heads": lambda: lambda x, layer=layers.GroupQueryAttention(4, 4, 2): layer(x, x),
    "encoder": lambda: layers.TransformerEncoder(8, 4),
    "decoder": lambda: layers.TransformerDecoder(8, 4),
    "decoder of an encoder": lambda: lambda x, layer=layers.TransformerDecoder(8, 4): layer(x, x),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_batch_is_free(name: str, tmp_path: Path) -> None:
    x = edgeml.Input((5, 8))
    model = edgeml.Model(x, LAYERS[name]()(x))
    model.save(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    with edgeml.load(tmp_path / "model.onnx") as session:
        for size in (1, 3):
            given = rng.normal(size=(size, 5, 8)).astype(np.float32)
            (found,) = session.run({session.inputs[0].name: given}).values()
            assert found.shape == (size, 5, 8)
            assert np.allclose(found, model.predict(given), atol=1e-6)
