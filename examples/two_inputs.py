"""Two inputs, one answer: is the wearer doing the exercise whose number is on the card?

    python examples/two_inputs.py

The camera sees a handwritten digit, 0 to 6 (scikit-learn's); the watch feels one of seven shoulder
exercises (seglearn's). They were recorded apart and are put together here, half of them so that
they fit. Either input alone says nothing: only both tell. Nobody is in training and test.
Accuracy is above 0.85; with the cards exchanged, it is chance.
"""

import argparse

import numpy as np
from activity import WINDOW
from activity import windows as recorded
from sklearn.datasets import load_digits

import edgeml
from edgeml import layers

EXERCISES = 7


def pairs(pictures, digits, windows, exercises, rng):
    """Return a card for each window, of its number or, for every other one, of another."""
    fits = rng.permutation(len(windows)) % 2
    numbers = (exercises + (1 - fits) * rng.integers(1, EXERCISES, len(fits))) % EXERCISES
    cards = [rng.choice(np.flatnonzero(digits == number)) for number in numbers]
    return [pictures[cards], windows], fits


def build(normalize):
    card = edgeml.Input((8, 8, 1), name="card")
    seen = layers.Conv2D(16, 3, padding="same", activation="relu")(card)
    seen = layers.MaxPooling2D()(layers.Conv2D(32, 3, padding="same", activation="relu")(seen))
    seen = layers.Dense(32, activation="relu")(layers.Flatten()(seen))

    watch = edgeml.Input((WINDOW, 6), name="watch")
    felt = normalize(watch)
    for filters, size in ((32, 5), (64, 5), (64, 3)):
        felt = layers.Conv1D(filters, size, strides=2, padding="same", activation="relu")(felt)
    felt = layers.Dropout(0.3)(layers.GlobalAveragePooling1D()(felt))
    felt = layers.Dense(32, activation="relu")(felt)

    both = layers.Dense(64, activation="relu")(layers.Concatenate()([seen, felt]))
    return edgeml.Model([card, watch], layers.Dense(1, activation="sigmoid", name="fits")(both))


def main(seed=0, epochs=10):
    layers.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    data = load_digits(n_class=EXERCISES)
    pictures = (data.images / 16.0).astype(np.float32)[..., None]
    written = np.arange(len(pictures)) >= 0.75 * len(pictures)  # the last quarter: other writers
    windows, exercises, person = recorded()
    worn = np.isin(person, rng.permutation(np.unique(person))[:2])
    normalize = layers.Normalization()
    normalize.adapt(windows[~worn])

    def put_together(cards, moments, times):
        chosen = np.tile(np.flatnonzero(moments), times)
        return pairs(pictures[cards], data.target[cards], windows[chosen], exercises[chosen], rng)

    model = build(normalize)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    x, y = put_together(~written, ~worn, 3)
    model.fit(x, y, batch_size=64, epochs=epochs, seed=seed, verbose=2)

    (cards, moments), y = put_together(written, worn, 1)
    both = model.evaluate([cards, moments], y)["accuracy"]
    other = model.evaluate([rng.permutation(cards), moments], y)["accuracy"]
    print(f"accuracy {both:.3f} on {len(y)} pairs of writers and wearers never seen")
    print(f"with another card: {other:.3f}")
    return both, other


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    main(**vars(parser.parse_args()))
