"""Five things from five pictures of each, with a backbone that stays as it is.

    python examples/objects.py             # handwritten digits, from scikit-learn
    python examples/objects.py FOLDER      # pictures: a folder for each thing

The head that learns is a nearest mean or a linear layer on EfficientNet-Lite0's int8 features. It
is tested on pictures that it has not seen, and on those of a thing that it was never shown: one
picture of each of the others, as "unknown", teaches it what to turn away. Debian's
tuxpaint-stamps-default has folders of cut-out photographs to try.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from edgeml.personalize import UNKNOWN, Learner

THINGS, SHOTS, MOST = 5, 5, 10  # things, pictures shown of each, and asked about at most


def digits():
    """Return pictures of each digit, enlarged."""
    from sklearn.datasets import load_digits

    data = load_digits()
    made = np.uint8(255 - data.images * 255 / 16)
    return {str(n): [cv2.cvtColor(cv2.resize(image, (96, 96)), cv2.COLOR_GRAY2BGR)
                     for image in made[data.target == n][: SHOTS + MOST]]
            for n in range(10)}  # fmt: skip


def photos(folder):
    """Return the pictures of each folder that has enough; what is transparent becomes white."""
    found = {}
    for each in sorted(p for p in Path(folder).rglob("*") if p.is_dir()):
        names = [p for p in sorted(each.glob("*.png")) + sorted(each.glob("*.jpg"))
                 if not p.stem.endswith(("_mirror", "_flip"))]  # fmt: skip
        if len(names) >= SHOTS + 5:
            found[each.name] = [on_white(name) for name in names[: SHOTS + MOST]]
    return found


def on_white(file):
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image.dtype == np.uint16:
        image = np.uint8(image // 257)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 3:
        return image
    alpha = image[:, :, 3:] / 255
    return np.uint8(image[:, :, :3] * alpha + 255 * (1 - alpha))


def main(folder=None):
    pictures = digits() if folder is None else photos(folder)
    names = list(pictures)
    if len(names) < THINGS + 2:
        raise SystemExit(f"{folder}: expected {THINGS + 2} folders of {SHOTS + 5} pictures or more")
    things, others, never = names[:THINGS], names[THINGS:-1], names[-1]
    with (
        tempfile.TemporaryDirectory() as store,
        Learner("edgeml:efficientnet_lite0_int8.onnx", store=store) as learner,
    ):
        for name in things:
            for picture in pictures[name][:SHOTS]:
                learner.add(name, picture)
        for name in others:
            learner.add(UNKNOWN, pictures[name][0])
        candidate = learner.train()
        print(candidate.report)
        learner.accept(candidate)
        asked = [(p, name) for name in things for p in pictures[name][SHOTS:]]
        right = np.mean([learner.predict(p).label == name for p, name in asked])
        away = np.mean([learner.predict(p).label == UNKNOWN for p in pictures[never]])
    print(f"accuracy {right:.3f} on {len(asked)} pictures of {', '.join(things)}; "
          f"unknown {away:.3f} of {len(pictures[never])} of {never}, never shown")  # fmt: skip
    return right, away


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="a folder for each thing")
    main(**vars(parser.parse_args()))
