"""What a model looks at, and how little fools it: gradients with respect to the picture.

python examples/saliency.py
"""

import numpy as np
from digits import train

import edgeml
from edgeml import losses, ops

STEP = 0.15  # of the brightness range


def main():
    model, x, y = train(epochs=6)
    loss = losses.SparseCategoricalCrossentropy()

    def score(picture, label):  # the probability of one class
        return ops.sum(model(picture) * ops.one_hot(label, 10))

    def cost(picture, label):
        return loss(label, model(picture))

    saliency = np.abs(edgeml.grad(score)(x[:1], y[:1]))[0, ..., 0]
    for row in saliency / saliency.max():
        print("".join(" .:-=+*#%@"[int(value * 9.99)] for value in row))

    # The fast gradient sign method (Goodfellow et al., 2014): a small step uphill for all pixels.
    fooled = x + STEP * np.sign(edgeml.grad(cost)(x, y))
    fooled = np.clip(fooled, 0.0, 1.0).astype(np.float32)
    before = float((model.predict(x).argmax(1) == y).mean())
    after = float((model.predict(fooled).argmax(1) == y).mean())
    rng = np.random.default_rng(0)
    noise = np.clip(x + STEP * rng.choice([-1, 1], x.shape), 0, 1).astype(np.float32)
    random = float((model.predict(noise).argmax(1) == y).mean())
    print(f"accuracy {before:.3f}; {after:.3f} after a step of {STEP}; {random:.3f} by chance")
    return before, after, random


if __name__ == "__main__":
    main()
