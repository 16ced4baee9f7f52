"""A judge of drawn digits, for the examples that draw them: a small CNN, trained on real ones.

python examples/digit_judge.py
"""

import numpy as np
from digits import build
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from edgeml import layers


def real_digits():
    """Return (x, y) to learn from and (x, y) to test on: float32 (n, 8, 8, 1) from 0 to 1."""
    data = load_digits()
    x = (data.images / 16.0).astype(np.float32)[..., None]
    x, x_test, y, y_test = train_test_split(
        x, data.target, test_size=0.2, stratify=data.target, random_state=0
    )
    return (x, y), (x_test, y_test)


def train():
    """Return the judge, and how much it knows of real digits that it has not seen."""
    layers.set_random_seed(0)
    (x, y), (x_test, y_test) = real_digits()
    model = build()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=15, verbose=0)
    return model, model.evaluate(x_test, y_test)["accuracy"]


def judge(drawn, asked, out=None):
    """Say how many drawings are recognised as what was asked for, and how much they differ.

    The spread is the standard deviation of pixels within a class: 1 is that of real digits.
    """
    model, known = train()
    recognised = float((model.predict(drawn).argmax(1) == asked).mean())
    (x, y), _ = real_digits()
    own, reals = (
        np.mean([pictures[labels == digit].std(0).mean() for digit in range(10)])
        for pictures, labels in ((drawn, asked), (x, y))
    )
    print(f"recognised {recognised:.3f} of {len(drawn)} digits, spread {own / reals:.2f}; "
          f"the judge knows {known:.3f} of real ones")  # fmt: skip
    if out is not None:
        save(drawn, asked, out)
    return recognised, own / reals, known


def save(drawn, asked, path):
    """Write a picture: a row for each digit, ten of each."""
    from matplotlib import image

    framed = np.pad(drawn[..., 0], ((0, 0), (1, 1), (1, 1)))
    rows = [np.concatenate(framed[asked == digit][:10], axis=1) for digit in range(10)]
    picture = np.kron(np.concatenate(rows), np.ones((4, 4)))
    image.imsave(path, picture, cmap="gray_r", vmin=0, vmax=1)


if __name__ == "__main__":
    print(f"accuracy {train()[1]:.3f} on real digits that it has not seen")
