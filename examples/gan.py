"""Two networks against each other: one draws digits, the other tells them from real ones.

    python examples/gan.py --seed 0 --out digits.png

A generative adversarial network (Goodfellow et al., 2014) that is told which digit to draw. The
two take turns: each turn is one graph with a loss and an optimizer of its own. The goal: 90 % of
the drawings are recognised as the digit that was asked for.
"""

import argparse

import numpy as np
from digit_judge import judge, real_digits

import edgeml
from edgeml import layers, losses, ops
from edgeml.optimizers import Adam
from edgeml.training import minimize

NOISE, BATCH = 16, 64


def build_forger():
    noise, digit = edgeml.Input((NOISE,)), edgeml.Input((10,))
    inside = layers.Concatenate()([noise, digit])
    for _ in range(2):
        inside = layers.Dense(256, activation="relu")(inside)
    drawn = layers.Reshape((8, 8, 1))(layers.Dense(64, activation="sigmoid")(inside))
    return edgeml.Model([noise, digit], drawn)


def build_critic():
    x, digit = edgeml.Input((8, 8, 1)), edgeml.Input((10,))
    noisy = layers.GaussianNoise(0.3)(layers.Flatten()(x))  # the task is not to be easy
    inside = layers.Concatenate()([noisy, digit])
    for _ in range(2):
        inside = layers.LeakyReLU(0.2)(layers.Dense(256)(inside))
    return edgeml.Model([x, digit], layers.Dense(1)(inside))


def main(seed=0, epochs=200, out=None):
    layers.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    (x, y), _ = real_digits()
    digit = np.eye(10, dtype=np.float32)
    forger, critic = build_forger(), build_critic()
    cross_entropy = losses.BinaryCrossentropy(from_logits=True)

    def is_real(answer, truth):
        return cross_entropy(ops.zeros_like(answer) + truth, answer)

    def unmask(x, digit, wanted):  # the critic's turn
        forged = forger([ops.random_normal((BATCH, NOISE)), wanted])
        return is_real(critic([x, digit]), 0.9) + is_real(critic([forged, wanted]), 0.0)

    def fool(wanted):  # the forger's
        forged = forger([ops.random_normal((BATCH, NOISE)), wanted])
        return is_real(critic([forged, wanted]), 1.0)

    critic_step = minimize(unmask, critic, Adam(1e-3, beta_1=0.5), seed=seed, threads=1)
    forger_step = minimize(fool, forger, Adam(1e-3, beta_1=0.5), seed=seed + 1, threads=1)
    for epoch in range(epochs):
        order = rng.permutation(len(x))
        for i in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[i : i + BATCH]
            wanted = digit[rng.integers(0, 10, BATCH)]
            against = critic_step(x[chosen], digit[y[chosen]], wanted)
            by = forger_step(wanted)
        if epoch % 50 == 49:
            print(f"epoch {epoch + 1}: loss {against:.2f} of the critic, {by:.2f} of the forger")

    asked = np.repeat(np.arange(10), 100)
    noise = rng.normal(size=(len(asked), NOISE))
    return judge(forger.predict([noise, digit[asked]]), asked, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--out", help="a PNG file for the drawings")
    main(**vars(parser.parse_args()))
