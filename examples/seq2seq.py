"""From one sequence to another: dates as people write them, in eight languages, to ISO 8601.

    pip install babel
    python examples/seq2seq.py --seed 0

The ways to write a date are the Unicode CLDR's, as Babel has them: "7. maaliskuuta 2024" becomes
"2024-03-07". A Transformer (Vaswani et al., 2017) reads letters and writes digits, one after the
other; days that it is tested on occur nowhere in training. The goal: 99 % right to the last sign.
"""

import argparse
from datetime import date, timedelta

import numpy as np
from babel.dates import format_date

import edgeml
from edgeml import layers, losses, ops

LANGUAGES = ("de", "en_GB", "es", "fi", "fr", "it", "nl", "pl")
FORMATS = ("medium", "long", "full")
WIDTH = 64
BEGIN, SIGNS = 0, "^-0123456789"  # what comes before the first, and what is written
WRITTEN = len("2024-03-07")


def dates(count, rng):
    """Return `count` texts with their days, and those of days that are not among them."""
    days = [date(1950, 1, 1) + timedelta(days=i) for i in range(36525)]
    rng.shuffle(days)
    known, new = days[:-2000], days[-2000:]

    def written(day):
        language, form = rng.choice(LANGUAGES), rng.choice(FORMATS)
        return format_date(day, form, locale=language).lower()

    train = [known[i] for i in rng.integers(0, len(known), count)]
    return [[(written(day), day.isoformat()) for day in part] for part in (train, new)]


def numbers(texts, letters, length):
    """Return texts as numbers of letters, int64 (n, length); 0 is none, 1 an unknown one."""
    x = np.zeros((len(texts), length), np.int64)
    for row, text in zip(x, texts, strict=True):
        row[: len(text)] = [letters.get(letter, 1) for letter in text[:length]]
    return x


def build(letters, length):
    """Return the model that is trained, and its two halves."""
    text = edgeml.Input((length,), dtype="int64")
    y = layers.TokenAndPositionEmbedding(letters, length, WIDTH, mask_zero=True)(text)
    encoder = edgeml.Model(text, layers.TransformerEncoder(128, num_heads=4)(y))

    memory = edgeml.Input((length, WIDTH))
    before = edgeml.Input((WRITTEN,), dtype="int64")
    y = layers.TokenAndPositionEmbedding(len(SIGNS), WRITTEN, WIDTH)(before)
    y = layers.TransformerDecoder(128, num_heads=4)(y, memory)
    decoder = edgeml.Model([before, memory], layers.Dense(len(SIGNS))(y))
    return edgeml.Model([text, before], decoder([before, encoder(text)])), encoder, decoder


def translator(encoder, decoder):
    """Return a function that writes what it thinks most likely, sign by sign, in one graph."""

    @edgeml.function
    def translate(text):
        memory = encoder(text)
        before = text[:, :WRITTEN] * 0 + BEGIN
        for i in range(WRITTEN):
            sign = ops.argmax(decoder([before, memory])[:, i], axis=-1)
            written = ops.concatenate([before[:, 1 : i + 1], sign[:, None]], axis=1)
            before = ops.concatenate([before[:, :1], written, before[:, i + 2 :]], axis=1)
        return written

    return translate


def main(seed=0, epochs=5, count=20_000):
    layers.set_random_seed(seed)
    train, test = dates(count, np.random.default_rng(seed))
    texts, days = zip(*train, strict=True)
    letters = {letter: i + 2 for i, letter in enumerate(sorted(set("".join(texts))))}
    length = max(map(len, texts))
    signs = {sign: i for i, sign in enumerate(SIGNS)}
    x, y = numbers(texts, letters, length), numbers(days, signs, WRITTEN)
    before = np.concatenate([np.full((len(y), 1), BEGIN), y[:, :-1]], axis=1)

    model, encoder, decoder = build(len(letters) + 2, length)
    rate = edgeml.optimizers.schedules.CosineDecay(2e-3, epochs * -(-count // 64))
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(edgeml.optimizers.Adam(rate, global_clipnorm=1.0), loss, metrics=["accuracy"])
    model.fit([x, before], y, batch_size=64, epochs=epochs, verbose=2, seed=seed)

    texts, days = zip(*test, strict=True)
    written = translator(encoder, decoder)(numbers(texts, letters, length))
    written = ["".join(SIGNS[i] for i in row) for row in written]
    for text, found in list(zip(texts, written, strict=True))[:5]:
        print(f"{text:>36s}  {found}")
    right = np.mean([found == day for found, day in zip(written, days, strict=True)])
    print(f"right {right:.4f} of {len(days)} dates, on days never seen")
    return right


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--count", type=int, default=20_000, help="dates to learn from")
    main(**vars(parser.parse_args()))
