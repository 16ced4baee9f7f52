"""The memory that a step is said to take, and what a process takes indeed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

MEASURE = """
import json, sys
import numpy as np
import onnx, onnxruntime
import edgeml
from edgeml import layers
from edgeml.training import Trainer

def status(field):
    for line in open("/proc/self/status"):
        if line.startswith(field):
            return int(line.split()[1]) * 1024

case, folder = sys.argv[1:]
rng = np.random.default_rng(0)
if case == "cnn":
    edgeml.Sequential([
        edgeml.Input((28, 28, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(10),
    ]).save(folder + "/model.onnx")
    trainer = Trainer(folder + "/model.onnx", loss="sparse_categorical_crossentropy",
                      from_logits=True, trainable="all")
    x, y = rng.standard_normal((512, 28, 28, 1), np.float32), rng.integers(0, 10, 512)
else:
    trainer = Trainer("edgeml:efficientnet_lite0_int8.onnx", trainable=case,
                      loss="sparse_categorical_crossentropy")
    size = 8 if case == "all" else 32
    x, y = rng.integers(0, 255, (size, 3, 224, 224), np.uint8), rng.integers(0, 1000, size)
predicted = trainer.predicted_memory(x, y)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = status("VmRSS")
for _ in range(3):
    trainer.step(x, y)
print(json.dumps([predicted, status("VmHWM") - before]))
"""


@pytest.mark.parametrize("case", ["cnn", "last:4", "all"])
def test_predicted_memory_is_what_a_process_grows_by(case, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, case, str(tmp_path)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    predicted, measured = json.loads(done.stdout)
    assert 0.8 < predicted / measured < 1.25
