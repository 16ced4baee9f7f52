"""A variational autoencoder that draws the digit one asks for.

    python examples/vae.py --seed 0 --out digits.png

An encoder says where a digit lies among all ways to write it, a decoder draws what lies there
(Kingma & Welling, 2014). Both are told which digit it is, so a place may be chosen by chance.
The goal: 90 % of the drawings are recognised as the digit that was asked for.
"""

import argparse

import numpy as np
from digit_judge import judge, real_digits

import edgeml
from edgeml import layers, ops

WAYS = 8  # numbers that say how a digit is written
SHARPNESS = 4.0  # what the picture counts, beside the place: more is sharper, and less likely


class Sample(layers.Layer):
    """Draws a place from a normal distribution; what makes it unlike N(0, 1) costs."""

    def call(self, mean, log_variance, training=False):
        surplus = ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0
        self.add_loss(0.5 * ops.mean(ops.sum(surplus, axis=-1)))
        if not training:
            return mean
        return mean + ops.exp(0.5 * log_variance) * ops.random_normal(mean.static_shape)


def error(x, drawn):
    each = edgeml.losses.BinaryCrossentropy(reduction=None)(x, drawn)
    return SHARPNESS * ops.sum(each, axis=(1, 2))


def build():
    x, digit = edgeml.Input((8, 8, 1)), edgeml.Input((10,))
    inside = layers.Concatenate()([layers.Flatten()(x), digit])
    inside = layers.Dense(256, activation="relu")(inside)
    inside = layers.Dense(128, activation="relu")(inside)
    place = Sample()(layers.Dense(WAYS)(inside), layers.Dense(WAYS)(inside))

    way, wanted = edgeml.Input((WAYS,)), edgeml.Input((10,))
    inside = layers.Dense(128, activation="relu")(layers.Concatenate()([way, wanted]))
    inside = layers.Dense(256, activation="relu")(inside)
    drawn = layers.Reshape((8, 8, 1))(layers.Dense(64, activation="sigmoid")(inside))
    decoder = edgeml.Model([way, wanted], drawn)
    return edgeml.Model([x, digit], decoder([place, digit])), decoder


def main(seed=0, epochs=150, out=None):
    layers.set_random_seed(seed)
    (x, y), _ = real_digits()
    digit = np.eye(10, dtype=np.float32)
    model, decoder = build()
    model.compile("adam", error)
    history = model.fit([x, digit[y]], x, batch_size=64, epochs=epochs, verbose=0, seed=seed)
    print(f"loss {history.history['loss'][0]:.1f}, at the end {history.history['loss'][-1]:.1f}")

    asked = np.repeat(np.arange(10), 100)
    ways = np.random.default_rng(seed).normal(size=(len(asked), WAYS))
    return judge(decoder.predict([ways, digit[asked]]), asked, out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--out", help="a PNG file for the drawings")
    main(**vars(parser.parse_args()))
