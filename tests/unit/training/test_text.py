"""Texts, categories and bins: adapted, encoded, saved inside the model."""

import os

import numpy as np
import onnxruntime
import pytest
from sklearn.feature_extraction.text import CountVectorizer

import edgeml
from edgeml import layers
from edgeml.errors import ConfigError, DataError, ShapeError
from edgeml.graph import emit_many
from edgeml.layers import (
    CategoryEncoding,
    Discretization,
    IntegerLookup,
    StringLookup,
    TextVectorization,
)  # fmt: skip

TEXTS = [
    "The quick brown fox, the lazy dog.", "A fox! A fox?", "Dogs (and foxes) don't fly...",
    "über den Wolken", "one  two\tthree\nfour", "the the THE the", "",
]  # fmt: skip


def test_words_are_counted_and_numbered_as_in_keras():
    words = TextVectorization()
    words.adapt(TEXTS)
    counts = CountVectorizer(token_pattern=r"\S+", preprocessor=_clean).fit(TEXTS)
    totals = counts.transform(TEXTS).sum(0).A1
    expected = sorted(counts.vocabulary_, key=lambda w: (totals[counts.vocabulary_[w]], w))[::-1]
    assert words.get_vocabulary() == ["", "[UNK]", *expected]
    found = words([*TEXTS, "the unknown fox"])
    vocabulary = words.get_vocabulary()
    for text, row in zip([*TEXTS, "the unknown fox"], found, strict=True):
        terms = [t if t in vocabulary else "[UNK]" for t in _clean(text).split()]
        assert [vocabulary[i] for i in row if i] == terms


def _clean(text):
    punctuation = str.maketrans("", "", "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'")
    lower = "".join(c.lower() if c.isascii() else c for c in text)
    return lower.translate(punctuation)


@pytest.mark.parametrize("ngrams", [None, 2, 3, (2,), (1, 3)])
def test_bags_of_words_are_those_of_scikit_learn(ngrams):
    words = TextVectorization(ngrams=ngrams, output_mode="count")
    words.adapt(TEXTS)
    span = (min(ngrams), max(ngrams)) if isinstance(ngrams, tuple) else (1, ngrams or 1)
    vocabulary = words.get_vocabulary()[1:]
    judge = CountVectorizer(token_pattern=r"\S+", preprocessor=_clean, ngram_range=span,
                            vocabulary=vocabulary)  # fmt: skip
    expected = judge.transform(TEXTS).toarray()
    np.testing.assert_array_equal(words(TEXTS)[:, 1:], expected)
    many = TextVectorization(ngrams=ngrams, output_mode="multi_hot", vocabulary=vocabulary)
    np.testing.assert_array_equal(many(TEXTS)[:, 1:], expected > 0)
    weighted = TextVectorization(ngrams=ngrams, output_mode="tf_idf")
    weighted.adapt(TEXTS)
    idf = np.log(1 + len(TEXTS) / (1 + (expected > 0).sum(0)))
    np.testing.assert_allclose(weighted(TEXTS)[:, 1:], expected * idf, rtol=1e-5)


def test_sequences_of_fixed_length_and_ngrams_in_order():
    words = TextVectorization(ngrams=2, output_sequence_length=6,
                              vocabulary=["a", "b", "c", "a b", "b c"])  # fmt: skip
    found = words(["a b c", "c", "", "a b c a b c"])
    assert found.tolist() == [
        [2, 3, 4, 5, 6, 0], [4, 0, 0, 0, 0, 0], [0] * 6, [2, 3, 4, 2, 3, 4]]  # fmt: skip


def test_a_limit_and_padding_of_the_vocabulary():
    words = TextVectorization(4, output_mode="count", pad_to_max_tokens=True)
    words.adapt(["a a a b b c d"])
    assert words.get_vocabulary() == ["[UNK]", "a", "b", "d"]
    short = TextVectorization(9, output_mode="count", pad_to_max_tokens=True, vocabulary=["a"])
    assert short(["a z z"]).tolist() == [[2, 1, 0, 0, 0, 0, 0, 0, 0]]


def test_functions_of_ones_own():
    words = TextVectorization(
        standardize=None, vocabulary=["x", "y"],
        split=lambda t: emit_many(2, "StringSplit", t, delimiter="|")[0],
    )  # fmt: skip
    assert words(["x|Y|y"]).tolist() == [[2, 1, 3]]
    whole = TextVectorization(split=None, standardize="lower", vocabulary=["new york"])
    assert whole([["New York"]]).tolist() == [[2]]


def test_a_model_from_text_is_one_file(tmp_path):
    words = TextVectorization(output_sequence_length=5)
    words.adapt(edgeml.data.Dataset.from_arrays(np.array(TEXTS)).batch(3))
    layers.set_random_seed(1)
    model = edgeml.Sequential([
        edgeml.Input((5,), dtype="int64"), layers.Embedding(words.vocabulary_size(), 4),
        layers.GlobalAveragePooling1D(), layers.Dense(1),
    ])  # fmt: skip
    model.compile("adam", "mse")
    model.fit(words(TEXTS), np.arange(7.0), epochs=2, verbose=0)
    text = edgeml.Input((), dtype="string", name="text")
    whole = edgeml.Model(text, model(words(text)))
    expected = model.predict(words(TEXTS))
    np.testing.assert_allclose(whole.predict(TEXTS), expected, rtol=1e-6)
    whole.save(tmp_path / "text.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "text.onnx")
    made = session.run(None, {"text": np.array(TEXTS, object)})[0]
    np.testing.assert_allclose(made, expected, rtol=1e-6)
    again = edgeml.load_model(tmp_path / "text.onnx")
    np.testing.assert_allclose(again.predict(np.array(TEXTS)), expected, rtol=1e-6)
    whole.compile("sgd", "mse")
    with pytest.raises(DataError, match="'text' is text, and training steps take numbers"):
        whole.fit(TEXTS, np.arange(7.0))


def test_strings_looked_up_and_back(tmp_path):
    lookup = StringLookup(mask_token="")
    lookup.adapt([["b", "a"], ["b", ""], ["c", "b"]])
    assert lookup.get_vocabulary() == ["", "[UNK]", "b", "c", "a"]
    numbers = lookup([["a", "", "zebra"], ["b", "c", "b"]])
    assert numbers.tolist() == [[4, 0, 1], [2, 3, 2]]
    back = StringLookup(vocabulary=lookup.get_vocabulary(), mask_token="", invert=True)
    assert back(numbers).tolist() == [["a", "", "[UNK]"], ["b", "c", "b"]]
    path = tmp_path / "terms.txt"
    path.write_text("x\ny\n")
    assert StringLookup(vocabulary=path, num_oov_indices=0)(["y", "x", "z"]).tolist() == [1, 0, -1]
    hot = StringLookup(vocabulary=["x", "y"], mask_token="", output_mode="multi_hot")
    assert hot([["y", "", "?"], ["x", "x", ""]]).tolist() == [[1, 0, 1], [0, 1, 0]]
    copied = layers.deserialize(layers.serialize(lookup))
    assert copied.get_vocabulary() == lookup.get_vocabulary()


def test_integers_looked_up_and_back():
    lookup = IntegerLookup(num_oov_indices=2, mask_token=0)
    lookup.adapt(np.array([[7, 7, 5], [0, 9, 7]]))
    assert lookup.get_vocabulary() == [0, -1, -1, 7, 9, 5]
    assert lookup(np.array([7, 5, 0, 4, 11])).tolist() == [3, 5, 0, 1, 2]
    back = IntegerLookup(vocabulary=[7, 9], invert=True)
    assert back(np.array([0, 1, 2])).tolist() == [-1, 7, 9]
    weighted = IntegerLookup(vocabulary=[7, 9], idf_weights=[0.5, 2.0], output_mode="tf_idf")
    assert weighted(np.array([[7, 7, 9], [1, 1, 1]])).tolist() == [[0, 1, 2], [3.75, 0, 0]]


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 3), (2, 3, 2)])
def test_categories_as_in_keras(mode, shape):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="the oracles are not installed: make oracles")
    x = np.random.default_rng(0).integers(0, 5, shape)
    expected = keras.layers.CategoryEncoding(5, mode)(x).numpy()
    np.testing.assert_array_equal(CategoryEncoding(5, mode)(x), expected)
    bounds = [0.5, 2.0, 3.5]
    values = x + np.linspace(-1, 1, x.size).reshape(shape)
    expected = keras.layers.Discretization(bounds, output_mode=mode)(values).numpy()
    np.testing.assert_array_equal(Discretization(bounds, output_mode=mode)(values), expected)


def test_counts_with_weights_and_out_of_range():
    x, weights = np.array([[0, 1, 1], [2, 7, -1]]), np.array([[0.5, 1.0, 2.0], [3.0, 4.0, 5.0]])
    found = CategoryEncoding(3, "count")(x, count_weights=weights)
    assert found.tolist() == [[0.5, 3.0, 0.0], [0.0, 0.0, 3.0]]
    assert CategoryEncoding(3, "one_hot")(x)[1].tolist() == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_bins_of_equal_content():
    values = np.random.default_rng(0).gamma(2.0, size=(1000, 1))
    bins = Discretization(num_bins=8)
    bins.adapt(iter([values[:300], values[300:]]))
    assert np.bincount(bins(values).ravel()).tolist() == [125] * 8
    copied = layers.deserialize(layers.serialize(bins))
    np.testing.assert_array_equal(copied(values), bins(values))
    assert Discretization([0.0, 1.0])(np.array([-1.0, 0.0, 0.5, 1.0])).tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(("make", "told"), [
    (lambda: TextVectorization(split="character"), "blanks|no operator"),
    (lambda: TextVectorization(standardize="upper"), "standardize"),
    (lambda: TextVectorization(ragged=True), "ragged"),
    (lambda: TextVectorization(output_mode="count", output_sequence_length=3), "goes with"),
    (lambda: StringLookup(num_oov_indices=2), "hashes strings"),
    (lambda: StringLookup(vocabulary=["a", "a"]), "more than once"),
    (lambda: StringLookup(vocabulary=["a"], output_mode="tf_idf"), "idf_weights"),
    (lambda: StringLookup(3, vocabulary=["a", "b", "c"]), "max_tokens=3"),
    (lambda: StringLookup(invert=True, output_mode="count"), "invert"),
    (lambda: StringLookup(output_mode="two_hot"), "output_mode"),
    (lambda: StringLookup(sparse=True), "sparse"), (lambda: StringLookup()(["a"]), "adapt"),
    (lambda: CategoryEncoding(0), "num_tokens"), (lambda: Discretization(), "bin_boundaries"),
    (lambda: Discretization([2, 1]), "ascend"), (lambda: Discretization([1]).adapt([1]), "adapt"),
    (lambda: Discretization(num_bins=3)([1.0]), "no bins yet"),
])  # fmt: skip
def test_bad_arguments_are_told(make, told):
    with pytest.raises(ConfigError, match=told):
        make()


def test_bad_data_is_told():
    with pytest.raises(DataError, match="no data"):
        TextVectorization().adapt([])
    with pytest.raises(ShapeError, match=r"texts \(batch,\)"):
        TextVectorization(vocabulary=["a"])([["a", "b"]])


LETTERS = [["A"], ["B"], ["C"], ["D"], ["E"]]


def test_hashes_are_those_of_keras():
    """The numbers are those in Keras's documentation."""
    assert layers.Hashing(3)(LETTERS).ravel().tolist() == [1, 0, 1, 1, 2]
    masked = layers.Hashing(3, mask_value="")
    assert masked([["A"], ["B"], [""], ["C"], ["D"]]).ravel().tolist() == [1, 1, 0, 2, 2]
    assert layers.Hashing(3, salt=[133, 137])(LETTERS).ravel().tolist() == [1, 2, 1, 0, 2]
    assert layers.Hashing(3, salt=133)(LETTERS).ravel().tolist() == [0, 0, 2, 1, 0]
    features = np.array(list("ABABA")), np.array([101, 101, 101, 102, 102])
    assert layers.HashedCrossing(5)(features).tolist() == [1, 4, 1, 1, 3]
    hot = layers.HashedCrossing(5, output_mode="one_hot")(features)
    assert hot.argmax(1).tolist() == [1, 4, 1, 1, 3]
    assert layers.Hashing(4, output_mode="count")([[7, 7, 7]]).max() == 3
    np.testing.assert_array_equal(layers.Hashing(9)([12, 5]), layers.Hashing(9)(["12", "5"]))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (3, 0x73D7FA164971735C),
        (6, 0x0D352B3293A9639D),
        (12, 0xDD745800D6C6CC43),
        (24, 0x61E2DD64B3A649C4),
        (48, 0x022F5BFCBFBB379C),
        (64, 0x12FEDE3529AB9C54),
        (65, 0xCF2859CA838961D9),
        (200, 0x4FBA577D4F843AC3),
    ],
)
def test_fingerprints_of_all_lengths(size, expected):
    """The numbers are those of the reference implementation."""
    from edgeml.layers._fingerprint import fingerprint64

    text = ("0123456789abcdefghijklmnopqrstuvwxyz" * 9)[:size].encode()
    assert fingerprint64(text) == expected


def test_hashes_stay_out_of_graphs():
    text = edgeml.Input((1,), dtype="string")
    with pytest.raises(edgeml.errors.GraphError, match="pipeline of data"):
        layers.Hashing(3)(text)
    with pytest.raises(ShapeError, match="arrays of one shape"):
        layers.HashedCrossing(5)((["A"], [1, 2]))
    with pytest.raises(ConfigError, match="at least 2"):
        layers.Hashing(1, mask_value="")(["a"])
    with pytest.raises(ConfigError, match="num_bins"):
        layers.Hashing(0)
