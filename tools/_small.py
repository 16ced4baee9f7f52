"""The models that are small already, and the watch classifier that we train ourselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from _sources import find
from _watch import HELD_OUT, LABELS, RATE, WINDOW, load_recordings, load_windows
from ai_edge_litert import schema_py_generated as schema

from edgeml.quantize import quantize_int8, save, set_metadata, simplify

_FLOAT = ("Sub", "Mul", "Div", "Transpose", "Softmax")


def silero(sources: Path, target: Path) -> None:
    """Copy the 16 kHz voice detector as it is, with metadata.

    Folding its constants makes the file larger (1.8 MB), so that is not done.
    """
    model = set_metadata(
        find(sources / "silero-vad", "silero_vad_16k_op15.onnx"),
        {
            "task": "voice-activity",
            "labels": ["speech"],
            "preprocess": {
                "type": "audio",
                "layout": "NT",
                "dtype": "float32",
                "sample_rate": 16000,
                "range": [-1, 1],
                "window": 512,
                "hop": 512,
                "context": 64,
                "constants": {"sr": 16000},
            },
            "postprocess": {"output": "output", "activation": "none", "threshold": 0.5},
            "state": {"state": "stateN"},
            "license": "MIT",
            "origin": "PyPI silero-vad 6.2.3, silero_vad_16k_op15.onnx",
        },
    )
    save(model, target)


def wake_word(sources: Path, target: Path) -> None:
    """Copy okay_nabu with the cutoff and window that its author gives beside it."""
    file = find(sources / "pymicro-wakeword", "okay_nabu.tflite")
    micro = json.loads(file.with_suffix(".json").read_text())["micro"]
    _write_tflite(
        file,
        target,
        {
            "schema": 1,
            "task": "wake-word",
            "labels": ["okay nabu"],
            "preprocess": {
                "type": "audio",
                "frontend": "micro",
                "dtype": "int8",
                "sample_rate": 16000,
                "features": 40,
                "frames": 3,
                "window_ms": 30,
                "step_ms": micro["feature_step_size"],
            },
            "postprocess": {
                "activation": "none",
                "threshold": micro["probability_cutoff"],
                "mean_over": micro["sliding_window_size"],
            },
            "license": "Apache-2.0",
            "origin": "PyPI pymicro-wakeword 2.5.0",
        },
    )


def face(sources: Path, target: Path) -> None:
    """Copy the short-range BlazeFace."""
    _write_tflite(
        find(sources / "face_detection", "face_detection_short_range.tflite"),
        target,
        {
            "schema": 1,
            "task": "face-detection",
            "labels": ["face"],
            "preprocess": {
                "type": "image",
                "layout": "NHWC",
                "color": "RGB",
                "dtype": "float32",
                "size": [128, 128],
                "resize": "letterbox",
                "mean": [127.5, 127.5, 127.5],
                "std": [127.5, 127.5, 127.5],
            },
            "postprocess": {
                "decoder": "blazeface",
                "strides": [8, 16],
                "anchors": [2, 6],
                "threshold": 0.5,
            },
            "license": "Apache-2.0",
            "origin": "npm @mediapipe/face_detection 0.4.1657300184, short range",
        },
    )


def activity(sources: Path, net: Path, target: Path) -> None:
    """Quantize the trained watch classifier; what scales its input stays float."""
    dataset = find(sources / "seglearn", "watch_dataset.npy")
    windows = load_windows(dataset)
    x = windows.x[windows.subject != HELD_OUT][::10]
    model = simplify(net)
    model = quantize_int8(
        model,
        ({"input": x[i : i + 16]} for i in range(0, len(x), 16)),
        exclude=[node.name for node in model.graph.node if node.op_type in _FLOAT],
    )
    abbreviations = load_recordings(dataset)["y_labels"]
    model = set_metadata(
        model,
        {
            "task": "activity-recognition",
            "labels": [LABELS[name] for name in abbreviations],
            "preprocess": {
                "type": "motion",
                "layout": "NTC",
                "dtype": "float32",
                "sample_rate": RATE,
                "window": WINDOW,
                "hop": RATE,
                "channels": ["ax", "ay", "az", "gx", "gy", "gz"],
                "units": ["m/s²"] * 3 + ["rad/s"] * 3,
            },
            "postprocess": {"output": "probabilities", "activation": "none"},
            "license": "Apache-2.0",
            "origin": "trained by tools/train_activity.py on PyPI seglearn 1.2.5's watch data, "
            f"all subjects but number {HELD_OUT}",
        },
    )
    save(model, target)


def _write_tflite(source: Path, target: Path, metadata: dict[str, Any]) -> None:
    """Copy a .tflite file with one more metadata entry, named ``edgeml``, that holds JSON."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes(), 0))
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
    model.buffers.append(buffer)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "edgeml", len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    target.write_bytes(bytes(builder.Output()))
