"""Super-resolution: pictures of twice the size, with the detail that enlarging them lacks.

    python examples/super_resolution.py --seed 0 --out larger.png

A small network works at the low resolution and says four pixels for each one (ESPCN, Shi et al.,
2016): what to add to the picture that bicubic interpolation makes. It sees how a pixel differs
from its neighbours, not how bright both are. It learns from pieces of some photographs, and is
tested on others. PSNR is in decibels: 3 dB more is half the squared error. The goal: 0.8 dB.
"""

import argparse
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import sklearn.datasets

import edgeml
from edgeml import layers, ops

PIECE = 24  # pixels that a training example sees
SCALE = 20.0  # what a network sees and says should be about 1, and details are small
TEST = ("cat", "flower")


def photographs():
    """Return the pictures by name, as float32 RGB from 0 to 1, of an even size."""
    own = [files("edgeml") / "media" / f"{name}.jpg" for name in ("cat", "espresso", "portrait",
                                                                  "rocket")]  # fmt: skip
    others = Path(sklearn.datasets.__file__).parent / "images"
    found = {}
    for path in (*own, others / "china.jpg", others / "flower.jpg"):
        picture = cv2.imread(str(path))[:, :, ::-1] / np.float32(255)
        rows, columns = (n // 2 * 2 for n in picture.shape[:2])
        found[Path(path).stem] = picture[:rows, :columns]
    return found


def halved(picture):
    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def bicubic(picture):
    return cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def detail(small):
    return SCALE * (small - cv2.GaussianBlur(small, (0, 0), 2))


def pieces(pictures, count, rng):
    """Cut pieces out: details at the low resolution, and what bicubic interpolation lacks."""
    x, y = [], []
    smalls = [halved(picture) for picture in pictures]
    lacks = [SCALE * (p - bicubic(small)) for p, small in zip(pictures, smalls, strict=True)]
    details = [detail(small) for small in smalls]
    for _ in range(count):
        which = rng.integers(len(details))
        top, left = (rng.integers(0, n - PIECE + 1) for n in details[which].shape[:2])
        small = details[which][top : top + PIECE, left : left + PIECE]
        lack = lacks[which][2 * top : 2 * (top + PIECE), 2 * left : 2 * (left + PIECE)]
        turn, mirror = rng.integers(4), rng.choice([-1, 1])
        x.append(np.rot90(small, turn)[:, ::mirror])
        y.append(np.rot90(lack, turn)[:, ::mirror])
    return np.stack(x), np.stack(y)


class PixelShuffle(layers.Layer):
    """Four values of each pixel and colour become four pixels."""

    def call(self, x):
        rows, columns = x.shape[1:3]
        x = ops.reshape(x, [-1, rows, columns, 2, 2, 3])
        return ops.reshape(ops.transpose(x, [0, 1, 3, 2, 4, 5]), [-1, 2 * rows, 2 * columns, 3])


def build():
    return edgeml.Sequential([
        layers.Conv2D(32, 5, padding="same", activation="relu"),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(32, 3, padding="same", activation="relu"),
        layers.Conv2D(12, 3, padding="same"), PixelShuffle(),
    ])  # fmt: skip


def psnr(picture, truth):
    inner = (slice(4, -4), slice(4, -4))  # edges are another problem
    error = np.mean((np.clip(picture, 0, 1)[inner] - truth[inner]) ** 2)
    return -10 * np.log10(error)


def main(seed=0, epochs=12, out=None):
    layers.set_random_seed(seed)
    photos = photographs()
    known = [picture for name, picture in photos.items() if name not in TEST]
    x, y = pieces(known, 3000, np.random.default_rng(seed))
    model = build()
    rate = edgeml.optimizers.schedules.CosineDecay(4e-3, epochs * -(-len(x) // 16))
    model.compile(edgeml.optimizers.Adam(rate), "mse")
    model.fit(x, y, batch_size=16, epochs=epochs, verbose=2, seed=seed)

    gains = []
    for name in TEST:
        small = halved(photos[name])
        plain = bicubic(small)
        better = np.clip(plain + model.predict(detail(small)[None])[0] / SCALE, 0.0, 1.0)
        before, after = psnr(plain, photos[name]), psnr(better, photos[name])
        gains.append(after - before)
        print(f"{name}: {before:.2f} dB bicubic, {after:.2f} dB with the network")
        if out is not None:
            both = np.concatenate([plain, better, photos[name]], axis=1)
            path = Path(out).with_stem(f"{Path(out).stem}-{name}")
            cv2.imwrite(str(path), np.uint8(255 * np.clip(both, 0, 1) + 0.5)[:, :, ::-1])
    print(f"gain {np.mean(gains):.2f} dB on {len(TEST)} photographs never seen")
    return np.mean(gains)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--out", help="a PNG file: bicubic, network, truth")
    main(**vars(parser.parse_args()))
