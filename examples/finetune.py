"""Fine-tune a quantized EfficientNet-Lite0 for new classes: its head, then its last blocks.

    python examples/finetune.py

Six photographs are the classes. Training sees pieces of their left parts, the test pieces of
their right parts. The file stays quantized: what is trained is int8 again on export.
"""

import tempfile
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
import onnx
import sklearn.datasets

import edgeml
from edgeml.training import Trainer

MODEL = files("edgeml") / "models" / "efficientnet_lite0_int8.onnx"


def photographs():
    own = [files("edgeml") / "media" / f"{name}.jpg" for name in ("cat", "espresso", "portrait",
                                                                  "rocket")]  # fmt: skip
    others = Path(sklearn.datasets.__file__).parent / "images"
    return [cv2.imread(str(path)) for path in (*own, others / "china.jpg", others / "flower.jpg")]


def pieces(pictures, count, left, seed):
    """Cut pieces out of the left 60 % or the right 40 %: uint8 BGR (count, 3, 224, 224)."""
    rng = np.random.default_rng(seed)
    x, y = [], []
    for i in range(count):
        label = i % len(pictures)
        picture = pictures[label]
        edge = int(picture.shape[1] * 0.6)
        part = picture[:, :edge] if left else picture[:, edge:]
        size = int(min(part.shape[:2]) * rng.uniform(0.35, 0.6))
        top, start = (rng.integers(0, n - size + 1) for n in part.shape[:2])
        piece = cv2.resize(part[top : top + size, start : start + size], (224, 224))
        x.append(piece[:, :: rng.choice([-1, 1])].transpose(2, 0, 1))
        y.append(label)
    return np.stack(x), np.array(y)


def with_classes(path, classes):
    """Return the model with as many outputs as there are classes, the first of its own."""
    model = onnx.load(str(path))
    arrays = {t.name: t for t in model.graph.initializer}
    for name, tensor in arrays.items():
        if name.startswith("fc.") and tensor.dims and tensor.dims[0] == 1000:
            value = onnx.numpy_helper.to_array(tensor)[:classes]
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, name))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = classes
    return model


def main():
    pictures = photographs()
    x, y = pieces(pictures, 90, left=True, seed=0)
    x_test, y_test = pieces(pictures, 90, left=False, seed=1)
    model = with_classes(MODEL, len(pictures))
    loss = "sparse_categorical_crossentropy"

    head = Trainer(model, loss=loss, trainable="head", optimizer="adam", metrics=["accuracy"],
                   cache_features=True)  # fmt: skip
    head.fit(x, y, epochs=15, batch_size=30, verbose=0)
    first = float((head.predict(x_test).argmax(1) == y_test).mean())

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "photographs.onnx"
        head.export(path)
        blocks = Trainer(path, loss=loss, trainable="last:4",
                         optimizer=edgeml.optimizers.Adam(1e-4))  # fmt: skip
        blocks.fit(x, y, epochs=2, batch_size=30, verbose=0)
        blocks.export(path)
        session = edgeml.load(path)
        logits = session.run({"input": x_test})["logits"]
        session.close()
        size = path.stat().st_size / 1e6
    second = float((logits.argmax(1) == y_test).mean())
    print(f"accuracy {first:.3f} with a new head, {second:.3f} with the last blocks; {size:.1f} MB")
    return first, second


if __name__ == "__main__":
    main()
