"""What benchmarks/personalize.py kills: collecting, training, accepting, each said when done."""

import sys

import numpy as np

from edgeml.personalize import Learner


def main(folder: str) -> None:
    rng = np.random.default_rng()
    with Learner("edgeml:activity_watch_int8.onnx", store=folder) as learner:
        print("ready", learner.predict(rng.normal(0, 1, (100, 6))).label, flush=True)
        while True:
            for kind in range(3):
                window = rng.normal(0, 1, (100, 6))
                window[:, kind] += 5 * np.sin(np.arange(100) / 8)
                print("added", learner.add(f"class {kind}", window), flush=True)
            candidate = learner.train()
            learner.store.propose(candidate.content, candidate.info)  # as `edgeml teach` does
            print("accepted", learner.accept(candidate, force=True), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
