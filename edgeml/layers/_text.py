"""Texts as numbers of words."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Graph, Tensor, emit, emit_many, function
from edgeml.layers._category import batches_of
from edgeml.layers._layer import Layer
from edgeml.layers._lookup import StringLookup
from edgeml.layers._parameter import Array

_OPSET = 20  # the first with string operators
_STANDARDIZE = (None, "lower", "strip_punctuation", "lower_and_strip_punctuation")
_CHUNK = 1024


class TextVectorization(Layer):
    """Texts as numbers of words, or as bags of words.

    Everything, from lower case to the vocabulary, is done by ONNX's operators: a model with this
    layer in front is saved as one file that takes strings. Training steps take numbers only:
    vectorize in the pipeline of data, and put the layer before the trained model::

        words = TextVectorization(1000, output_sequence_length=40)
        words.adapt(texts)
        model.fit(words(texts), labels)
        text = edgeml.Input((), dtype="string")
        edgeml.Model(text, model(words(text))).save("from-text.onnx")

    Args:
        max_tokens: Most terms of the vocabulary, the special ones included.
        standardize: "lower_and_strip_punctuation", "lower" (ASCII letters), "strip_punctuation",
            None, or a function of a tensor of strings (batch,).
        split: "whitespace", None (a text is one term), or a function from strings (batch,) to
            (batch, terms), filled up with "". There is no operator for "character": put blanks
            between the characters before.
        ngrams: Most words that a term is made of, or a tuple of numbers of words.
        output_mode: "int" (0 is nothing, 1 unknown), "multi_hot", "count" or "tf_idf".
        output_sequence_length: With "int": how many numbers; None: those of the longest text.
        pad_to_max_tokens: Whether bags have the size `max_tokens`, however many terms there are.
        vocabulary: The terms, or the path of a file with one in each line; None: call `adapt`.
        idf_weights: Weight of each term, with "tf_idf".
        sparse: False.
        ragged: False.
        encoding: "utf-8".

    Input shape: (batch,) or (batch, 1), strings. Output shape: (batch, terms), int64, or (batch,
    size of the vocabulary), float32.

    Example:
        >>> from edgeml.layers import TextVectorization
        >>> words = TextVectorization(output_sequence_length=4)
        >>> words.adapt(["the cat", "the dog!"])
        >>> words.get_vocabulary()
        ['', '[UNK]', 'the', 'dog', 'cat']
        >>> words(["The bird. The cat."]).tolist()
        [[2, 1, 2, 4]]
    """

    max_tokens: int | None = None
    standardize: Any = "lower_and_strip_punctuation"
    split: Any = "whitespace"
    ngrams: Any = None
    output_mode: str = "int"
    output_sequence_length: int | None = None
    pad_to_max_tokens: bool = False
    vocabulary: Any = None
    idf_weights: Any = None
    sparse: bool = False
    ragged: bool = False
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (callable(self.standardize) or self.standardize in _STANDARDIZE):
            raise ConfigError(
                f"TextVectorization: standardize: expected one of {_STANDARDIZE[1:]}, None or a "
                f"function, received {self.standardize!r}"
            )
        if not (callable(self.split) or self.split in (None, "whitespace")):
            hint = ": ONNX has no operator for it" if self.split == "character" else ""
            raise ConfigError(
                f"TextVectorization: split: expected 'whitespace', None or a function, received "
                f"{self.split!r}{hint}"
            )
        if self.ragged:
            raise ConfigError("TextVectorization: ragged: tensors have one length for all rows")
        if self.output_sequence_length is not None and self.output_mode != "int":
            raise ConfigError("TextVectorization: output_sequence_length goes with 'int'")
        widths = range(1, self.ngrams + 1) if isinstance(self.ngrams, int) else self.ngrams or (1,)
        self._widths = tuple(widths)
        self._lookup = StringLookup(
            self.max_tokens, mask_token="", vocabulary=self.vocabulary,
            idf_weights=self.idf_weights, output_mode=self.output_mode, sparse=self.sparse,
            pad_to_max_tokens=self.pad_to_max_tokens, name=f"{self.name}_lookup",
        )  # fmt: skip
        self._tokenize = function(self._terms)

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the terms; see `StringLookup.set_vocabulary`."""
        self._lookup.set_vocabulary(vocabulary, idf_weights)

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[str]:
        """Return the terms in the order of their numbers."""
        return self._lookup.get_vocabulary(include_special_tokens)

    def vocabulary_size(self) -> int:
        """Return the number of terms, the special ones included."""
        return self._lookup.vocabulary_size()

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take the vocabulary of texts: the most frequent terms first.

        Args:
            data: An array or a list of texts, or batches of them.
            batch_size: As in Keras, and without effect.
            steps: Batches after which it ends.

        Raises:
            DataError: there is no data.
        """
        self._lookup.adapt_to(self._documents(data, steps))

    def _documents(self, data: Any, steps: int | None) -> Iterable[list[str]]:
        for batch in batches_of("TextVectorization", data, steps):
            texts = np.ravel(batch)
            for at in range(0, len(texts), _CHUNK):
                for row in self._tokenize(texts[at : at + _CHUNK].astype(object)):
                    yield [term for term in row.tolist() if term]

    def __call__(self, x: Any, **kwargs: Any) -> Any:
        """Vectorize; lists are arrays."""
        return super().__call__(x if isinstance(x, Tensor) else _texts(x), **kwargs)

    def call(self, x: Tensor) -> Tensor:
        """Return the numbers of the terms, or bags of them."""
        found = self._lookup.call(self._terms(x))
        if self.output_mode != "int" or self.output_sequence_length is None:
            return found
        length = self.output_sequence_length
        padded = ops.pad(found, [(0, 0), (0, length)])
        made = ops.slice_(padded, [0], [length], [1])
        return ops.reshape(made, [-1, length])

    def _terms(self, x: Tensor) -> Tensor:
        """Return the terms (batch, terms), filled up with ""."""
        if x.ndim == 2 and x.known_shape[1] == 1:
            x = ops.squeeze(x, 1)
        if x.ndim != 1:
            raise ShapeError(
                f"TextVectorization takes texts (batch,) or (batch, 1), received {x!r}",
                received=x.shape,
            )
        opsets = x.graph.root().opsets
        opsets[""] = max(opsets[""], _OPSET)
        opsets.setdefault("ai.onnx.ml", 4)
        terms = _split(self.split, _standardized(self.standardize, x))
        return terms if self._widths == (1,) else _joined(terms, self._widths)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal layer, with its vocabulary."""
        known = self._lookup.get_config()
        return {**super().get_config(), **{k: known[k] for k in ("vocabulary", "idf_weights")}}


def _texts(x: Any) -> Array:
    found = np.asarray(x, object)
    return found if found.ndim else found[None]


def _standardized(how: str | Callable[[Tensor], Tensor] | None, x: Tensor) -> Tensor:
    if callable(how):
        return how(x)
    if how is not None and how.startswith("lower"):  # in the locale "C", that every device has
        lower = emit("StringNormalizer", x, case_change_action="LOWER", locale="C")
        lower.shape = x.shape
        x = lower
    if how is not None and how.endswith("strip_punctuation"):
        for character in string.punctuation:
            x = _replaced(x, character, "")
    return x


def _replaced(x: Tensor, character: str, by: str) -> Tensor:
    """Return strings with a character replaced: split there, and joined again in a loop.

    After the last piece, `by` stands once more.
    """
    pieces = emit_many(
        2, "StringSplit", x, delimiter=character,
        types=[(object, (*x.known_shape, "pieces")), (np.int64, x.shape)],
    )[0]  # fmt: skip
    count = emit("Gather", emit("Shape", pieces), np.array(1, np.int64), axis=0)
    body = Graph(parent=x.graph)
    number = body.input(None, np.int64, ())
    going = body.input(None, np.bool_, ())
    before = body.input(None, object, x.shape)
    with body:
        piece = emit("Gather", pieces, number, axis=1, types=[(object, x.shape)])
        joined = emit("StringConcat", before, piece, types=[(object, x.shape)])
        if by:
            joined = emit("StringConcat", joined, np.array(by, object), types=[(object, x.shape)])
        body.outputs = {"going": emit("Identity", going), "joined": joined}
    empty = emit("Expand", np.array("", object), emit("Shape", x), types=[(object, x.shape)])
    return x.graph.node(
        "Loop", [count, None, empty], {"body": body}, types=[(object, x.shape)]
    ).output


def _split(how: str | Callable[[Tensor], Tensor] | None, x: Tensor) -> Tensor:
    if callable(how):
        return how(x)
    if how is None:
        return ops.expand_dims(x, 1)
    for character in string.whitespace.replace(" ", ""):  # the operator splits at blanks only
        x = _replaced(x, character, " ")
    return emit_many(
        2, "StringSplit", x, types=[(object, (*x.known_shape, "terms")), (np.int64, x.shape)]
    )[0]


def _joined(terms: Tensor, widths: tuple[int, ...]) -> Tensor:
    """Return terms of so many words each, "" last in each row."""
    shape = (terms.known_shape[0], "ngrams")
    parts = []
    for width in widths:
        words = [_shifted(terms, i, i - width + 1) for i in range(width)]
        joined = words[0]
        for word in words[1:]:
            blank = emit("StringConcat", joined, np.array(" ", object), types=[(object, shape)])
            joined = emit("StringConcat", blank, word, types=[(object, shape)])
        # Where the last word is nothing, there are not so many.
        parts.append(emit("Where", _is_word(words[-1]), joined, np.array("", object),
                          types=[(object, shape)]))  # fmt: skip
    every = emit("Concat", *parts, axis=1, types=[(object, shape)])
    gaps = ops.cast(ops.logical_not(_is_word(every)), np.float32)
    places = ops.cumsum(gaps * 0.0 + 1.0, axis=1)
    key = places + gaps * 1e6  # words first, in their order
    size = emit("Shape", every, start=1, end=2)
    order = emit_many(2, "TopK", key, size, largest=0, sorted=1,
                      types=[(np.float32, shape), (np.int64, shape)])[1]  # fmt: skip
    return emit("GatherElements", every, order, axis=1, types=[(object, shape)])


def _shifted(terms: Tensor, start: int, end: int) -> Tensor:
    shape = (terms.known_shape[0], "ngrams")
    stop = end if end < 0 else 2**62
    return emit(
        "Slice", terms, np.array([start]), np.array([stop]), np.array([1]), types=[(object, shape)]
    )


def _is_word(terms: Tensor) -> Tensor:
    found = emit("LabelEncoder", terms, domain="ai.onnx.ml", keys_strings=[""], values_int64s=[0],
                 default_int64=1, types=[(np.int64, terms.shape)])  # fmt: skip
    return ops.cast(found, np.bool_)
