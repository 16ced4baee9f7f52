"""Handwritten digits: a small CNN, trained, saved, loaded and run as a plain ONNX file.

python examples/digits.py
"""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import edgeml
from edgeml.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPooling2D,
)  # fmt: skip


def build():
    return edgeml.Sequential([
        edgeml.Input((8, 8, 1)),
        Conv2D(16, 3, padding="same", activation="relu"), BatchNormalization(),
        Conv2D(32, 3, padding="same", activation="relu"), MaxPooling2D(),
        Flatten(), Dropout(0.3), Dense(10, activation="softmax"),
    ])  # fmt: skip


def train(epochs=12):
    data = load_digits()
    x = (data.images / 16.0).astype(np.float32)[..., None]
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x[:1400], data.target[:1400], epochs=epochs, validation_split=0.1, verbose=2)
    return model, x[1400:], data.target[1400:]


def main():
    model, x, y = train()
    model.summary()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.onnx"
        model.save(path)
        session = edgeml.load(path)  # what a device would do: no layers, no training
        (probabilities,) = session.run({session.inputs[0].name: x}).values()
        session.close()
        size = path.stat().st_size / 1024
    accuracy = float((probabilities.argmax(1) == y).mean())
    print(f"accuracy {accuracy:.3f} on {len(y)} digits of other writers; {size:.0f} KiB")
    return accuracy


if __name__ == "__main__":
    main()
