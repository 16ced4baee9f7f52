"""Which exercise a smartwatch sees: trained on some people, tested on others.

    python examples/activity.py

The recordings are seglearn's: ten people, seven shoulder exercises, acceleration and rotation at
50 Hz. Two seconds are one example. Nobody is in both parts.
"""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

import edgeml
from edgeml.data import Dataset, check_leak
from edgeml.layers import Conv1D, Dense, Dropout, GlobalAveragePooling1D, Normalization

WINDOW, HOP = 100, 50  # 2 s and 1 s at 50 Hz


def windows():
    """Return x (n, 100, 6), the exercise and the person of each window."""
    package = Path(find_spec("seglearn").origin).parent
    # The file is a pickle; it comes from the package that was installed.
    data = np.load(package / "data" / "watch_dataset.npy", allow_pickle=True).item()
    found = [
        (values[at : at + WINDOW], label, person)
        for values, label, person in zip(data["X"], data["y"], data["subject"], strict=True)
        for at in range(0, len(values) - WINDOW + 1, HOP)
    ]
    x, y, person = zip(*found, strict=True)
    return np.array(x, np.float32), np.array(y), np.array(person)


def main(epochs=12):
    x, y, person = windows()
    parts = Dataset.from_arrays(x, y, sources=person).split([0.8, 0.2], by="source", seed=0)
    check_leak(*parts)
    (x_train, y_train), (x_test, y_test) = (part.to_arrays() for part in parts)

    scale = Normalization()
    scale.adapt(x_train)
    model = edgeml.Sequential([
        edgeml.Input((WINDOW, 6)), scale,
        Conv1D(32, 5, strides=2, padding="same", activation="relu"),
        Conv1D(64, 5, strides=2, padding="same", activation="relu"),
        Conv1D(64, 3, strides=2, padding="same", activation="relu"),
        GlobalAveragePooling1D(), Dropout(0.4), Dense(7, activation="softmax"),
    ])  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, batch_size=64, epochs=epochs, verbose=2)

    accuracy = model.evaluate(x_test, y_test)["accuracy"]
    people = sorted(map(int, set(parts[1].sources)))
    majority = np.bincount(y_test).max() / len(y_test)
    print(f"accuracy {accuracy:.3f} on {len(y_test)} windows of people {people}, never seen")
    print(f"always saying the commonest exercise: {majority:.3f}")
    return accuracy, majority


if __name__ == "__main__":
    main()
