"""Train the watch exercise classifier that is shipped, with edgeml itself.

    python tools/train_activity.py watch_dataset.npy activity.onnx

Prints the accuracy over five subject-wise folds, then trains the net that is shipped on all
subjects but one, which stays for the demo's recording, and writes it in float32.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from _watch import HELD_OUT, SI, Windows, load_windows, subjects_in_folds

import edgeml
from edgeml.layers import (
    Conv1D,
    Dense,
    Dropout,
    GlobalAveragePooling1D,
    Input,
    Normalization,
    Softmax,
)

EPOCHS = 40
BATCH = 64
INPUT = Input((100, 6), name="input")
Array = np.ndarray[Any, Any]


def build(mean: Array, variance: Array) -> edgeml.Sequential:
    """Three strided 1-D convolutions, mean over time, one dense layer; (N, 100, 6) to logits."""
    return edgeml.Sequential([
        INPUT, Normalization(mean=mean, variance=variance),
        Conv1D(32, 5, strides=2, padding="same", activation="relu"),
        Conv1D(64, 5, strides=2, padding="same", activation="relu"),
        Conv1D(64, 3, strides=2, padding="same", activation="relu"),
        GlobalAveragePooling1D(), Dropout(0.4), Dense(7),
    ])  # fmt: skip


def turns(rng: np.random.Generator, n: int) -> Array:
    """Return n small random rotations, (n, 3, 3), by Rodrigues' formula."""
    axis = rng.standard_normal((n, 3)) * 0.2
    angle = np.linalg.norm(axis, axis=1)[:, None, None]
    x, y, z = (axis / angle[:, :, 0]).T
    zero = np.zeros(n)
    skew = np.array([[zero, -z, y], [z, zero, -x], [-y, x, zero]]).transpose(2, 0, 1)
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * (skew @ skew)


def augment(rng: np.random.Generator, x: Array) -> Array:
    """Turn the watch a little on the wrist, scale the signal, add noise; x is (n, 100, 6)."""
    turn = turns(rng, len(x)).transpose(0, 2, 1)
    x = np.concatenate([x[..., :3] @ turn, x[..., 3:] @ turn], -1)
    scaled = x * (1 + 0.1 * rng.standard_normal((len(x), 1, 1)))
    return (scaled + 0.03 * SI * rng.standard_normal(x.shape)).astype(np.float32)


def train(data: Windows, seed: int = 0) -> edgeml.Sequential:
    edgeml.layers.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    std = data.x.std((0, 1))
    # Each sensor keeps one scale for its axes, or a turn of the watch would not be a rotation.
    std = np.repeat([std[:3].mean(), std[3:].mean()], 3)
    net = build(data.x.mean((0, 1)), std**2)
    hot = np.eye(7, dtype=np.float32)[data.y]
    steps = EPOCHS * (len(hot) // BATCH)
    rate = edgeml.optimizers.schedules.CosineDecay(
        1.6e-4, int(steps * 0.7), warmup_target=4e-3, warmup_steps=int(steps * 0.3)
    )
    net.compile(
        edgeml.optimizers.AdamW(rate, weight_decay=0.02),
        edgeml.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
    )

    def batches() -> Any:
        order = rng.permutation(len(hot))[: len(hot) // BATCH * BATCH]
        for chosen in order.reshape(-1, BATCH):
            yield augment(rng, data.x[chosen]), hot[chosen]

    stream = edgeml.data.Dataset.from_generator(batches)
    net.fit(stream, epochs=EPOCHS, verbose=0, seed=seed)
    return net


def accuracy(net: edgeml.Sequential, data: Windows) -> float:
    return float((net.predict(data.x).argmax(1) == data.y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="watch_dataset.npy of seglearn")
    parser.add_argument("output", help="the net, as .onnx")
    arguments = parser.parse_args()
    data = load_windows(arguments.dataset)
    scores = []
    for held_out in subjects_in_folds():
        test = np.isin(data.subject, held_out)
        scores.append(accuracy(train(data.of(~test)), data.of(test)))
        print(f"subjects {held_out}: {scores[-1]:.3f} of {test.sum()} windows", flush=True)
    print(f"five subject-wise folds: mean {np.mean(scores):.3f}")
    test = data.subject == HELD_OUT
    net = train(data.of(~test))
    own = accuracy(net, data.of(test))
    print(f"shipped net on subject {HELD_OUT}, not trained on: {own:.3f}")
    probabilities = Softmax(name="probabilities")
    edgeml.Sequential([INPUT, *net.layers, probabilities]).save(arguments.output)


if __name__ == "__main__":
    main()
