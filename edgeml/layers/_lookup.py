"""Words and numbers looked up in a vocabulary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError, DataError
from edgeml.graph import Tensor, emit
from edgeml.layers._category import MODES, batches_of, check_mode, encode
from edgeml.layers._layer import Layer
from edgeml.layers._parameter import Array


class Vocabulary:
    """Terms and their numbers: a mask's, then those of what is unknown, then the terms'.

    Args:
        terms: The terms.
        mask: What stands for nothing, or None.
        oov: Numbers for what is unknown.
        idf: Weight of each term, or None.
    """

    def __init__(
        self, terms: Sequence[Any], mask: Any, oov: int, idf: Sequence[float] | None = None
    ) -> None:
        self.terms, self.mask, self.oov = list(terms), mask, oov
        self.idf = None if idf is None else [float(w) for w in idf]
        if self.idf is not None and len(self.idf) != len(self.terms):
            raise ConfigError(
                f"idf_weights: expected one for each of {len(self.terms)} terms, received "
                f"{len(self.idf)}"
            )
        double = [term for term, n in Counter(self.terms).items() if n > 1]
        if double:
            raise ConfigError(f"vocabulary: {double[0]!r} is in it more than once")

    @classmethod
    def counted(
        cls, documents: Iterable[Sequence[Any]], special: Sequence[Any], limit: int | None,
        mask: Any, oov: int,
    ) -> Vocabulary:  # fmt: skip
        """Return the vocabulary of documents: the most frequent terms first.

        Ties go to the term that comes last in order, as in Keras. The weights are
        ``log(1 + documents / (1 + documents with the term))``.
        """
        terms: Counter[Any] = Counter()
        within: Counter[Any] = Counter()
        count = 0
        for document in documents:
            terms.update(document)
            within.update(set(document))
            count += 1
        if not count:
            raise DataError("adapt: there is no data")
        for token in special:
            terms.pop(token, None)
        found = sorted(terms, key=lambda term: (terms[term], term), reverse=True)
        found = found if limit is None else found[: max(limit, 0)]
        idf = [float(np.log(1.0 + count / (1.0 + within[term]))) for term in found]
        return cls(found, mask, oov, idf)


class BaseLookup(Layer):
    """What lookups share; see `StringLookup`."""

    kind = "strings"

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self
        modes = (*MODES, "tf_idf")
        check_mode(given, modes)
        if given.invert and given.output_mode != "int":
            raise ConfigError(f"{self._who}: invert goes with output_mode='int'")
        if given.num_oov_indices > 1 and self.kind == "strings":
            raise ConfigError(
                f"{self._who}: num_oov_indices: ONNX has no operator that hashes strings: 0 or 1"
            )
        self._known: Vocabulary | None = None
        if given.vocabulary is not None:
            self.set_vocabulary(given.vocabulary, given.idf_weights)

    @property
    def _who(self) -> str:
        return type(self).__name__

    def set_vocabulary(self, vocabulary: Any, idf_weights: Any = None) -> None:
        """Set the terms: a sequence, or the path of a file with one in each line.

        Args:
            vocabulary: The terms, with or without the mask and the unknown before them.
            idf_weights: Weight of each term, with "tf_idf".

        Raises:
            ConfigError: a term is double, or weights are missing.
        """
        own: Any = self
        terms = vocabulary
        if isinstance(vocabulary, (str, Path)):
            terms = Path(vocabulary).read_text("utf-8").splitlines()
        terms = [self._term(term) for term in np.asarray(terms, object).tolist()]
        special = self._special()
        if special and terms[: len(special)] == special:
            terms = terms[len(special) :]
            idf_weights = None if idf_weights is None else idf_weights[-len(terms) :]
        if own.output_mode == "tf_idf" and idf_weights is None:
            raise ConfigError(f"{self._who}: 'tf_idf' needs idf_weights beside the vocabulary")
        limit = own.max_tokens
        if limit is not None and len(terms) + len(special) > limit:
            raise ConfigError(
                f"{self._who}: the vocabulary has {len(terms)} terms and {len(special)} special "
                f"ones, more than max_tokens={limit}"
            )
        self._known = Vocabulary(terms, self._mask, own.num_oov_indices, idf_weights)

    def adapt(self, data: Any, batch_size: int | None = None, steps: int | None = None) -> None:
        """Take the vocabulary of data: the most frequent terms first.

        Args:
            data: An array, a list, or batches; each row is a document.
            batch_size: As in Keras, and without effect.
            steps: Batches after which it ends.

        Raises:
            DataError: there is no data.
        """
        rows = (row for batch in batches_of(self._who, data, steps) for row in batch)
        self.adapt_to([self._term(t) for t in np.ravel(row).tolist()] for row in rows)

    def adapt_to(self, documents: Iterable[Sequence[Any]]) -> None:
        """Take the vocabulary of documents, each a sequence of terms."""
        own: Any = self
        limit = own.max_tokens
        learned = None if limit is None else limit - len(self._special())
        known = [own.mask_token, own.oov_token]
        self._known = Vocabulary.counted(documents, known, learned, self._mask, own.num_oov_indices)

    @property
    def _mask(self) -> Any:
        """The mask's token, where it has a number."""
        own: Any = self
        return own.mask_token if own.output_mode == "int" else None

    def _special(self) -> list[Any]:
        own: Any = self
        mask = [] if self._mask is None else [self._mask]
        return [*mask, *[own.oov_token] * own.num_oov_indices]

    def _term(self, value: Any) -> Any:
        return value.decode() if isinstance(value, bytes) else str(value)

    def _adapted(self) -> Vocabulary:
        if self._known is None:
            raise ConfigError(
                f"{self._who}: there is no vocabulary yet: call adapt(data), or give one"
            )
        return self._known

    def get_vocabulary(self, include_special_tokens: bool = True) -> list[Any]:
        """Return the terms in the order of their numbers."""
        terms = self._adapted().terms
        return [*self._special(), *terms] if include_special_tokens else list(terms)

    def vocabulary_size(self) -> int:
        """Return the number of terms, the special ones included."""
        return len(self.get_vocabulary())

    def __call__(self, x: Any, **kwargs: Any) -> Any:
        """Look up; lists are arrays."""
        return super().__call__(x if isinstance(x, Tensor) else self._array(x), **kwargs)

    def _array(self, x: Any) -> Array:
        return np.asarray(x, np.int64) if self._takes_numbers else np.asarray(x, object)

    @property
    def _takes_numbers(self) -> bool:
        own: Any = self
        return bool(own.invert) or self.kind != "strings"

    def call(self, x: Tensor) -> Tensor:
        """Return the numbers, encoded; or the terms, inverted."""
        own: Any = self
        if own.invert:
            return self._terms_of(ops.cast(x, np.int64))
        found = self._numbers_of(x if self.kind == "strings" else ops.cast(x, np.int64))
        if own.output_mode == "int":
            return found
        size = own.max_tokens if own.pad_to_max_tokens and own.max_tokens else None
        depth = size or self.vocabulary_size()
        mode = "count" if own.output_mode == "tf_idf" else own.output_mode
        made = encode(found, mode, depth)
        return made * self._weights(depth) if own.output_mode == "tf_idf" else made

    def _weights(self, depth: int) -> Array:
        """Return the weight of each number: of what is unknown the mean, of padding 0."""
        idf = self._adapted().idf or []
        front = [float(np.mean(idf)) if idf else 0.0] * len(self._special())
        found = np.zeros(depth, np.float32)
        found[: len(front) + len(idf)] = [*front, *idf]
        return found

    def _numbers_of(self, x: Tensor) -> Tensor:
        own: Any = self
        known = self._adapted()
        start = int(self._mask is not None)
        first = start + known.oov
        keys, values = list(known.terms), list(range(first, first + len(known.terms)))
        if own.mask_token is not None:  # where it has no number, it counts nowhere
            keys, values = [own.mask_token, *keys], [0 if start else -1, *values]
        unknown = start if known.oov else -1
        table: dict[str, Any] = {f"keys_{self.kind}": keys or [_NONE[self.kind]]}
        found = emit(
            "LabelEncoder", x, domain="ai.onnx.ml", default_int64=unknown,
            values_int64s=values or [unknown], types=[(np.int64, x.shape)], **table,
        )  # fmt: skip
        x.graph.root().opsets.setdefault("ai.onnx.ml", 4)
        if known.oov > 1:
            hashed = emit("Mod", x, np.array(known.oov, np.int64)) + start
            found = ops.where(ops.equal(found, unknown), hashed, found)
        return found

    def _terms_of(self, x: Tensor) -> Tensor:
        own: Any = self
        terms = self.get_vocabulary()
        x.graph.root().opsets.setdefault("ai.onnx.ml", 4)
        default = {"strings": "default_string", "int64s": "default_int64"}[self.kind]
        table: dict[str, Any] = {f"values_{self.kind}": terms, default: own.oov_token}
        return emit(
            "LabelEncoder", x, domain="ai.onnx.ml", keys_int64s=list(range(len(terms))),
            types=[(object if self.kind == "strings" else np.int64, x.shape)], **table,
        )  # fmt: skip

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make an equal layer, with its vocabulary."""
        own: Any = self
        known = self._known
        idf = known.idf if known is not None and own.output_mode == "tf_idf" else None
        return {
            **super().get_config(), "vocabulary": None if known is None else known.terms,
            "idf_weights": idf,
        }  # fmt: skip


_NONE: dict[str, Any] = {"strings": "\x00", "int64s": np.iinfo(np.int64).min}
"""A key that nothing equals, for a vocabulary that is empty."""


class StringLookup(BaseLookup):
    """Words as numbers, or back.

    It is part of the saved model, which then takes strings. Training steps take numbers only:
    look words up in the pipeline of data, and put the layer before the trained model.

    Args:
        max_tokens: Most terms that `adapt` takes, the special ones included.
        num_oov_indices: Numbers for words that are unknown: 1, or 0 to make them -1.
        mask_token: A word that stands for nothing: its number is 0.
        oov_token: What an unknown word becomes on the way back.
        vocabulary: The terms, or the path of a file with one in each line; None: call `adapt`.
        idf_weights: Weight of each term, with "tf_idf".
        invert: Whether to go from numbers to words.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf"; see `CategoryEncoding`.
        pad_to_max_tokens: Whether vectors have the size `max_tokens`, however many terms there are.
        sparse: False.
        encoding: "utf-8".

    Input shape: any, strings. Output shape: with "int" the same, int64.

    Example:
        >>> from edgeml.layers import StringLookup
        >>> lookup = StringLookup(vocabulary=["cat", "dog"])
        >>> lookup([["dog", "cat", "bird"]]).tolist()
        [[2, 1, 0]]
    """

    max_tokens: int | None = None
    num_oov_indices: int = 1
    mask_token: str | None = None
    oov_token: str = "[UNK]"
    vocabulary: Any = None
    idf_weights: Any = None
    invert: bool = False
    output_mode: str = "int"
    pad_to_max_tokens: bool = False
    sparse: bool = False
    encoding: str = "utf-8"


class IntegerLookup(BaseLookup):
    """Any integers as numbers from 0, or back.

    Args:
        max_tokens: Most terms that `adapt` takes, the special ones included.
        num_oov_indices: Numbers for what is unknown, shared by remainder; with 0 it is -1.
        mask_token: An integer that stands for nothing: its number is 0.
        oov_token: What unknown becomes on the way back.
        vocabulary: The terms; None: call `adapt`.
        vocabulary_dtype: "int64".
        idf_weights: Weight of each term, with "tf_idf".
        invert: Whether to go back to the integers.
        output_mode: "int", "one_hot", "multi_hot", "count" or "tf_idf"; see `CategoryEncoding`.
        sparse: False.
        pad_to_max_tokens: Whether vectors have the size `max_tokens`, however many terms there are.

    Input shape: any, integers. Output shape: with "int" the same, int64.

    Example:
        >>> import numpy as np
        >>> from edgeml.layers import IntegerLookup
        >>> lookup = IntegerLookup()
        >>> lookup.adapt(np.array([[12, 1138, 42, 42]]))
        >>> lookup(np.array([[42, 7]])).tolist()
        [[1, 0]]
    """

    kind = "int64s"

    max_tokens: int | None = None
    num_oov_indices: int = 1
    mask_token: int | None = None
    oov_token: int = -1
    vocabulary: Any = None
    vocabulary_dtype: str = "int64"
    idf_weights: Any = None
    invert: bool = False
    output_mode: str = "int"
    sparse: bool = False
    pad_to_max_tokens: bool = False

    def _term(self, value: Any) -> Any:
        return int(value)
