"""A diffusion model that draws the digit one asks for, out of noise.

    python examples/diffusion.py --seed 0 --out digits.png

A network learns to tell noise and picture apart, at any ratio (Ho et al., 2020). Asked again and
again, from all noise to none, it draws (Song et al., 2021). It says how the mixture moves
(Salimans & Ho, 2022), which is well-defined at both ends. The goal: 90 % of the drawings are
recognised as the digit that was asked for.
"""

import argparse

import numpy as np
from digit_judge import judge, real_digits

import edgeml
from edgeml import layers, ops, optimizers
from edgeml.data import Dataset

STEPS = 20  # from noise to picture
DIGITS = np.eye(10, dtype=np.float32)


def shares(time):
    """Return the amplitudes of picture and noise, from time 0 (picture) to 1 (noise)."""
    angle = 0.5 * np.pi * np.asarray(time, np.float32)
    return np.cos(angle), np.sin(angle)


def mix(rng):
    """Return what makes a batch of digits one of examples: mixtures, and how they move."""

    def mixed(x, y):
        time = rng.uniform(size=(len(x), 1))
        noise = rng.normal(size=x.shape)
        picture, noisy = (share[..., None, None] for share in shares(time))
        inputs = picture * x + noisy * noise, time, DIGITS[y]
        return inputs, picture * noise - noisy * x

    return mixed


def build():
    x, time, digit = edgeml.Input((8, 8, 1)), edgeml.Input((1,)), edgeml.Input((10,))
    waves = time * np.pi * np.array([0.5, 1, 2, 4], np.float32)
    given = layers.Concatenate()([digit, ops.sin(waves), ops.cos(waves)])
    y = layers.Dense(128)(layers.Flatten()(x))
    for _ in range(3):
        told = layers.Concatenate()([layers.LayerNormalization()(y), given])
        y = y + layers.Dense(128)(layers.Dense(256, activation="silu")(told))
    moves = layers.Dense(64)(layers.LayerNormalization()(y))
    return edgeml.Model([x, time, digit], layers.Reshape((8, 8, 1))(moves))


def painter(model):
    """Return a function that draws; all its steps are one graph."""

    @edgeml.function
    def draw(x, digit):
        for now, then in zip(range(STEPS, 0, -1), range(STEPS - 1, -1, -1), strict=True):
            time = ops.zeros_like(digit[:, :1]) + now / STEPS
            moves = model([x, time, digit])
            (picture, noisy), (less, more) = shares(now / STEPS), shares(then / STEPS)
            clean = ops.clip(x * picture - moves * noisy, -1.0, 1.0)
            noise = (x - clean * picture) / noisy
            x = clean * less + noise * more
        return x

    return draw


def main(seed=0, epochs=150, out=None):
    layers.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    (x, y), _ = real_digits()
    digits = Dataset.from_arrays(x * 2.0 - 1.0, y).shuffle(len(x), seed=seed)
    mixtures = digits.batch(64, drop_last=True).map(mix(rng))
    model = build()
    rate = optimizers.schedules.CosineDecay(2e-3, epochs * (len(x) // 64))
    model.compile(optimizers.Adam(rate, use_ema=True, ema_momentum=0.99), "mse")
    history = model.fit(mixtures, epochs=epochs, verbose=0, seed=seed)
    print(f"loss {history.history['loss'][0]:.3f}, at the end {history.history['loss'][-1]:.3f}")

    asked = np.repeat(np.arange(10), 100)
    drawn = painter(model)(rng.normal(size=(len(asked), 8, 8, 1)), DIGITS[asked])
    return judge(np.clip((drawn + 1.0) / 2.0, 0.0, 1.0), asked, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--out", help="a PNG file for the drawings")
    main(**vars(parser.parse_args()))
