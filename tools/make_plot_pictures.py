"""Write the pictures of docs/guide/plots.md; needs scikit-learn for its digits.

python tools/make_plot_pictures.py
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np

import edgeml
from edgeml import layers, plots

ASSETS = Path(__file__).resolve().parents[1] / "docs" / "assets"
MEDIA = files("edgeml") / "media"
EFFICIENTNET = "edgeml:efficientnet_lite0_int8.onnx"


def main() -> None:
    digits()
    write("layers", plots.layers("edgeml:activity_watch_int8.onnx"))
    photo = str(MEDIA / "espresso.jpg")
    some = "_blocks.[0-2].*"
    write("activations", plots.activations(EFFICIENTNET, photo, layers=some))
    write("gradcam", plots.grad_cam(EFFICIENTNET, photo))
    write("filters", plots.filters(EFFICIENTNET, "_blocks.10._expand_conv", 4), colors=64)


def digits() -> None:
    """Train on scikit-learn's digits; draw its training, its mistakes and its features."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = (data.images[..., None] / 16).astype(np.float32), data.target
    layers.set_random_seed(0)
    model = edgeml.Sequential([
        edgeml.Input((8, 8, 1)),
        layers.Conv2D(16, 3, activation="relu", name="strokes"),
        layers.Flatten(),
        layers.Dense(32, activation="relu", name="features"),
        layers.Dense(10, activation="softmax", name="digit"),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        x[:600], y[:600], epochs=30, validation_data=(x[600:1000], y[600:1000]), verbose=0
    )
    probability = model.predict(x[1000:])
    write("curves", plots.curves(history))
    write("confusion", plots.confusion_matrix(y[1000:], probability))
    write("calibration", plots.reliability(y[1000:], probability))
    write("roc", plots.roc(y[1000:], probability))
    write("embedding", plots.embedding(plots.features(model, x[1000:]), y[1000:]))


def write(name: str, picture: plots.Picture, colors: int = 256) -> None:
    """Write a picture with so few colours that the file is small."""
    from PIL import Image

    path = ASSETS / f"plot-{name}.png"
    picture.plot(path)
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    print(f"wrote {path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
