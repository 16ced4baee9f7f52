"""A table: is a breast tumour benign? 30 measurements, a small MLP, early stopping.

python examples/tabular.py
"""

import numpy as np
from sklearn.datasets import load_breast_cancer

import edgeml
from edgeml.callbacks import EarlyStopping
from edgeml.data import Dataset
from edgeml.layers import Dense, Dropout, Normalization


def main():
    data = load_breast_cancer()
    x, y = data.data.astype(np.float32), data.target
    parts = Dataset.from_arrays(x, y).split([0.6, 0.2, 0.2], by="label", seed=0)
    (x_train, y_train), validation, (x_test, y_test) = (part.to_arrays() for part in parts)

    scale = Normalization()
    scale.adapt(x_train)
    model = edgeml.Sequential([
        edgeml.Input((30,)), scale,
        Dense(32, activation="relu"), Dropout(0.3), Dense(16, activation="relu"),
        Dense(1, activation="sigmoid"),
    ])  # fmt: skip
    model.compile("adam", "binary_crossentropy", metrics=["accuracy", "auc"])
    model.fit(
        x_train, y_train, epochs=60, validation_data=validation, verbose=0,
        callbacks=[EarlyStopping(patience=8, restore_best_weights=True)],
    )  # fmt: skip

    result = model.evaluate(x_test, y_test)
    majority = max(y_test.mean(), 1 - y_test.mean())
    print(f"accuracy {result['accuracy']:.3f}, AUC {result['auc']:.3f} on {len(y_test)} patients")
    print(f"always saying the commoner answer: {majority:.3f}")
    return result["accuracy"], majority


if __name__ == "__main__":
    main()
