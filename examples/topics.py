"""Text: which part of Python's library a sentence of its documentation comes from.

    python examples/topics.py

The sentences are the docstrings of the Python that runs this. A small Transformer reads them.
"""

import ast
import re
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np

import edgeml
from edgeml.callbacks import EarlyStopping
from edgeml.layers import (
    Dense,
    Dropout,
    GlobalAveragePooling1D,
    TokenAndPositionEmbedding,
    TransformerEncoder,
)  # fmt: skip

TOPICS = ("asyncio", "email", "http", "logging", "multiprocessing", "unittest", "xml", "json")
WORDS, LENGTH = 1000, 24


def sentences():
    """Return (text, topic, file) of every docstring."""
    library = Path(sysconfig.get_path("stdlib"))
    for topic, name in enumerate(TOPICS):
        for file in sorted((library / name).rglob("*.py")):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
                    text = ast.get_docstring(node) or ""
                    if len(text.split()) > 4:
                        yield text, topic


def tokens(texts, vocabulary=None):
    split = [re.findall(r"[a-z]+", text.lower())[:LENGTH] for text in texts]
    if vocabulary is None:
        common = Counter(word for words in split for word in words).most_common(WORDS - 2)
        vocabulary = {word: i + 2 for i, (word, _) in enumerate(common)}
    x = np.zeros((len(split), LENGTH), np.int64)  # 0: no word, 1: an unknown one
    for row, words in zip(x, split, strict=True):
        row[: len(words)] = [vocabulary.get(word, 1) for word in words]
    return x, vocabulary


def main():
    found = list(dict(sentences()).items())
    order = np.random.default_rng(0).permutation(len(found))
    texts = [found[i][0] for i in order]
    y = np.array([found[i][1] for i in order])
    cut = int(len(texts) * 0.8)
    x, vocabulary = tokens(texts[:cut])
    x_test, _ = tokens(texts[cut:], vocabulary)

    model = edgeml.Sequential([
        edgeml.Input((LENGTH,), dtype="int64"),
        TokenAndPositionEmbedding(WORDS, LENGTH, 32, mask_zero=True),
        TransformerEncoder(64, num_heads=2, dropout=0.2),
        GlobalAveragePooling1D(), Dropout(0.4), Dense(len(TOPICS)),
    ])  # fmt: skip
    loss = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(edgeml.optimizers.AdamW(2e-3), loss, metrics=["accuracy"])
    model.fit(x, y[:cut], epochs=20, validation_split=0.1, verbose=0,
              callbacks=[EarlyStopping(patience=4, restore_best_weights=True)])  # fmt: skip

    accuracy = model.evaluate(x_test, y[cut:])["accuracy"]
    majority = np.bincount(y[cut:]).max() / len(y[cut:])
    print(f"{len(texts)} docstrings of {len(TOPICS)} packages")
    print(f"accuracy {accuracy:.3f}; always saying the commonest: {majority:.3f}")
    return accuracy, majority


if __name__ == "__main__":
    main()
