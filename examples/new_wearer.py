"""A new wearer of the watch, who wears it the other way round: ten seconds of each exercise teach.

    python examples/new_wearer.py

The shipped net knows seven exercises. The recording that ships is of a person whom it has never
seen; here the watch is turned by 180 degrees on top. The first half of each exercise teaches, the
second half judges. The watch as it was worn before is kept among the examples, so that learning
the new way does not unlearn the old one.
"""

import csv
import tempfile
from importlib.resources import files

import numpy as np

import edgeml
from edgeml.personalize import Backbone, Learner

MODEL = "edgeml:activity_watch_int8.onnx"
TURNED = np.array([-1, -1, 1, -1, -1, 1], np.float32)  # by 180 degrees about z


def windows():
    """Return windows of two seconds, their exercise, and whether they are of the second half."""
    text = (files("edgeml") / "media" / "watch.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    found = []
    for label in dict.fromkeys(row["label"] for row in rows):
        own = [[float(row[c]) for c in ("ax", "ay", "az", "gx", "gy", "gz")]
               for row in rows if row["label"] == label]  # fmt: skip
        half = len(own) // 2
        for first, last in ((0, half), (half, len(own))):
            found += [(own[at : at + 100], label, first > 0) for at in range(first, last - 99, 25)]
    x, labels, late = zip(*found, strict=True)
    return np.array(x, np.float32), np.array(labels), np.array(late)


def share(learner, x, labels):
    said = [learner.predict(window).label for window in x]
    return np.mean(np.array(said) == labels)


def main():
    x, labels, late = windows()
    with edgeml.load(MODEL) as session:
        names = np.array(session.metadata.labels)
        said = names[session.run({"input": x[late] * TURNED})["probabilities"].argmax(1)]
    print(f"the net as it is, the watch turned: {np.mean(said == labels[late]):.2f}")

    # With the cut, what goes into the last layers is kept, so that these can learn, too, should
    # the features as they are not be enough; the report says which head it is, and why.
    with (
        tempfile.TemporaryDirectory() as store,
        Backbone(MODEL, cut="auto") as backbone,
        Learner(backbone, store=store, keep=1.0) as learner,
    ):
        for window, label in zip(x[~late], labels[~late], strict=True):
            learner.add(str(label), window, subject="before")
            learner.add(str(label), window * TURNED, subject="turned")
        candidate = learner.train()
        print(candidate.report)
        learner.accept(candidate)
        print(f"after: {share(learner, x[late] * TURNED, labels[late]):.2f} turned, "
              f"{share(learner, x[late], labels[late]):.2f} as before")  # fmt: skip


if __name__ == "__main__":
    main()
