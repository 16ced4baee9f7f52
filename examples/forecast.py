"""Where is the wrist going? Acceleration and rotation half a second ahead, from the last two.

    python examples/forecast.py

The recordings are seglearn's: ten people, seven shoulder exercises, at 50 Hz. A forecast is only
worth something against what costs nothing: the last value again, or the value one repetition ago.
The people in the test are not in the training. The model's error stays below 0.6 of the first one's
and 0.8 of the second's.
"""

import argparse
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import edgeml
from edgeml.callbacks import ReduceLROnPlateau
from edgeml.layers import GRU, Conv1D, Dense, Normalization

PAST, AHEAD, HOP = 100, 25, 10  # 2 s, 0.5 s, a forecast every 0.2 s


def windows():
    """Return the past (n, 100, 6), the value 0.5 s later (n, 6), and who it is."""
    package = Path(find_spec("seglearn").origin).parent
    # The file is a pickle; it comes from the package that was installed.
    data = np.load(package / "data" / "watch_dataset.npy", allow_pickle=True).item()
    found = [
        (values[at : at + PAST], values[at + PAST + AHEAD - 1], person)
        for values, person in zip(data["X"], data["subject"], strict=True)
        for at in range(0, len(values) - PAST - AHEAD + 1, HOP)
    ]
    x, y, person = zip(*found, strict=True)
    return np.array(x, np.float32), np.array(y, np.float32), np.array(person)


def seasonal(x):
    """Return the value a repetition before: it is as long as the past is most like itself."""
    centred = x - x.mean(1, keepdims=True)
    spectrum = np.abs(np.fft.rfft(centred, 2 * PAST, axis=1)) ** 2
    alike = np.fft.irfft(spectrum, axis=1)[:, :PAST].sum(2)  # autocorrelation, over all axes
    alike /= np.arange(PAST, 0, -1)
    period = AHEAD + alike[:, AHEAD : 3 * PAST // 4].argmax(1)  # at least as long as the forecast
    return x[np.arange(len(x)), PAST + AHEAD - 1 - period]


def main(seed=0, epochs=10):
    edgeml.layers.set_random_seed(seed)
    x, y, person = windows()
    scale = x.std((0, 1))  # errors of all six axes count alike
    x, y = x / scale, y / scale
    test = np.isin(person, np.random.default_rng(seed).permutation(np.unique(person))[:3])

    normalize = Normalization()
    normalize.adapt(x[~test])
    model = edgeml.Sequential([
        edgeml.Input((PAST, 6)), normalize,
        Conv1D(32, 5, strides=2, padding="same", activation="relu"), GRU(48), Dense(6),
    ])  # fmt: skip
    model.compile(edgeml.optimizers.Adam(3e-3), "mae")
    last = x[:, -1]
    model.fit(  # what is learned is the change
        x[~test], (y - last)[~test], batch_size=64, epochs=epochs, seed=seed, verbose=2,
        callbacks=[ReduceLROnPlateau("loss", factor=0.3, patience=1)],
    )  # fmt: skip

    x, y, last = x[test], y[test], last[test]
    errors = {
        "the model": model.predict(x) + last, "the last value": last,
        "one repetition ago": seasonal(x),
    }  # fmt: skip
    errors = {name: float(np.abs(forecast - y).mean()) for name, forecast in errors.items()}
    for name, error in errors.items():
        print(f"mean error {error:.3f} of a standard deviation: {name}")
    print(f"on {len(y)} moments of people {sorted(map(int, set(person[test])))}, never seen")
    return errors


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10)
    main(**vars(parser.parse_args()))
