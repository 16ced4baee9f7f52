"""Layers of sequences in functional models, whose batch is free: traced, saved, run at any size."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeml
from edgeml import layers

LAYERS: dict[str, Callable[[Any], Any]] = {
    "position embedding": lambda x: layers.PositionEmbedding(5)(x),
    "sine positions": lambda x: layers.SinePositionEncoding()(x),
    "rotary positions": lambda x: layers.RotaryEmbedding()(x),
    "attention": lambda x: layers.Attention()([x, x]),
    "additive attention": lambda x: layers.AdditiveAttention()([x, x]),
    "heads": lambda x: layers.MultiHeadAttention(4, 4)(x, x),
    "grouped heads": lambda x: layers.GroupQueryAttention(4, 4, 2)(x, x),
    "encoder": lambda x: layers.TransformerEncoder(8, 4)(x),
    "decoder": lambda x: layers.TransformerDecoder(8, 4)(x),
    "decoder of an encoder": lambda x: layers.TransformerDecoder(8, 4)(x, x),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_batch_is_free(name: str, tmp_path: Path) -> None:
    x = edgeml.Input((5, 8))
    model = edgeml.Model(x, LAYERS[name](x))
    model.save(tmp_path / "model.onnx")
    rng = np.random.default_rng(0)
    with edgeml.load(tmp_path / "model.onnx") as session:
        for size in (1, 3):
            given = rng.normal(size=(size, 5, 8)).astype(np.float32)
            (found,) = session.run({session.inputs[0].name: given}).values()
            assert found.shape == (size, 5, 8)
            assert np.allclose(found, model.predict(given), atol=1e-6)


def test_a_model_as_a_layer_does_not_pass_its_first_inputs_mask_on():
    one, two = edgeml.Input((6, 3)), edgeml.Input((4, 3))
    inner = edgeml.Model([one, two], layers.Dense(3)(layers.MultiHeadAttention(2, 4)(two, one)))
    long, short = edgeml.Input((6, 3)), edgeml.Input((4, 3))
    model = edgeml.Model([long, short], inner([layers.Masking()(long), short]))
    model.compile("sgd", "mse")
    x = [np.ones((8, 6, 3), np.float32), np.ones((8, 4, 3), np.float32)]
    losses = model.fit(x, np.zeros((8, 4, 3), np.float32), epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
