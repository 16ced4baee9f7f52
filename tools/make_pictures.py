"""Draw the pictures of the documentation: a model, and how its training went.

    python tools/make_pictures.py docs/assets

Needs matplotlib and scikit-learn, whose handwritten digits (8x8 pixels) the model learns.
"""

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import edgeml
from edgeml import layers


def model():
    """Return a small network with two branches, so that the picture has something to show."""
    x = edgeml.Input((8, 8, 1), name="picture")
    wide = layers.Conv2D(16, 3, padding="same", activation="relu", name="strokes")(x)
    wide = layers.GlobalMaxPooling2D(name="strongest")(wide)
    whole = layers.Dense(32, activation="relu", name="whole")(layers.Flatten(name="pixels")(x))
    both = layers.Concatenate(name="both")([wide, whole])
    both = layers.Dropout(0.2, name="dropout")(both)
    return edgeml.Model(x, layers.Dense(10, activation="softmax", name="digit")(both))


def main(folder):
    layers.set_random_seed(0)
    digits = load_digits()
    x, y = (digits.images / 16).astype(np.float32)[..., None], digits.target
    network = model()
    network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(x, y, epochs=25, validation_split=0.2, verbose=0)
    for name, draw in (("training-curve.png", history.plot), ("model-plot.png", network.plot)):
        path = Path(folder) / name
        draw(path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(sys.argv[1])
