"""NNCF's quantization with accuracy control, in a process and an environment of its own.

    python _shrink_nncf.py MODEL PICTURES.npy PRESET TARGET

It calibrates and validates with the same pictures, judged by edgeml's metric against the float
model's outputs; as much may be lost as of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

os.environ["NNCF_CI"] = "1"  # no telemetry
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import nncf
import numpy as np
import onnx
import onnxruntime as ort
from _shrink_pictures import MAX_DROP, NETWORKS

from edgeml.quantize._quality import metric_of, outputs_of
from edgeml.quantize._samples import Samples

RANKED = 64  # pictures that rank groups of operators; with all of them it takes most of an hour


def _open(model: Any) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def main() -> None:
    """Write the quantized model."""
    source, pictures_file, preset, target = sys.argv[1:]
    network = NETWORKS[Path(source).name]
    pictures = np.load(pictures_file, mmap_mode="r")
    model = onnx.load(source)
    feeds = [network.feed(picture) for picture in pictures[:1]]
    samples = Samples(len(pictures), lambda i: network.feed(pictures[i]))
    session = _open(model)
    first = next(iter(outputs_of(session, feeds)))
    metric = metric_of(network.metric, model, samples, first)
    references = list(outputs_of(session, samples.feeds(range(len(pictures)))))

    last: list[Any] = [None, None]

    def validate(candidate: Any, indices: Iterable[int]) -> tuple[float, list[float]]:
        chosen = list(indices)
        if last[0] is not candidate:  # it asks for pictures one by one
            last[:] = candidate, _open(candidate)
        opened = last[1]
        found = zip(chosen, outputs_of(opened, samples.feeds(chosen)), strict=True)
        scores = [metric.score(outputs, references[i], None) for i, outputs in found]
        return float(np.mean(scores)), scores

    data = nncf.Dataset(list(range(len(pictures))), lambda i: samples.feed(i))
    restorer = nncf.AdvancedAccuracyRestorerParameters(ranking_subset_size=RANKED)
    found = nncf.quantize_with_accuracy_control(
        model, data, data, validate, max_drop=MAX_DROP / 100, subset_size=len(pictures),
        preset=nncf.QuantizationPreset(preset), advanced_accuracy_restorer_parameters=restorer,
    )  # fmt: skip
    onnx.save(found, target)


if __name__ == "__main__":
    main()
