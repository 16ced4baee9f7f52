"""The rule of Einsum: the gradient of each operand is an Einsum of the others."""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import rule

Term = tuple[Tensor, str]  # an operand and one letter for each of its axes, all different


@dataclass
class _Equation:
    operands: list[str]
    result: str


def _parse(equation: str, ranks: Sequence[int]) -> _Equation:
    """Write an equation out: explicit result, letters instead of an ellipsis."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    free = [c for c in string.ascii_letters if c not in equation]
    hidden = max(
        (rank - len(term) + 3 for term, rank in zip(terms, ranks, strict=True) if "..." in term),
        default=0,
    )
    letters = "".join(free[:hidden])
    if not arrow:
        plain = "".join(c for c in left if c.isalpha())
        right = "..." * ("..." in left) + "".join(
            c for c in sorted(set(plain)) if plain.count(c) == 1
        )
    operands = []
    for term, rank in zip(terms, ranks, strict=True):
        used = rank - len(term) + 3
        operands.append(term.replace("...", letters[hidden - used :] if "..." in term else ""))
    return _Equation(operands, right.replace("...", letters))


def _terms(node: Node, equation: _Equation) -> list[Term]:
    """Return the operands; a letter that comes twice in one is a product with the identity."""
    spare = [c for c in string.ascii_letters
             if not any(c in term for term in equation.operands)]  # fmt: skip
    found: list[Term] = []
    extra: list[Term] = []
    for x, term in zip(node.inputs, equation.operands, strict=True):
        assert x is not None
        letters = ""
        for axis, letter in enumerate(term):
            if letter not in letters:
                letters += letter
                continue
            other = spare.pop()
            letters += other
            eye = np.eye(x.static_shape[axis], dtype=x.dtype)
            extra.append((x.graph.constant(eye), letter + other))
        found.append((x, letters))
    return found + extra


@rule("Einsum")
def einsum(node: Node, g: Tensor) -> tuple[Tensor | None, ...]:
    ranks = [x.ndim for x in node.inputs if x is not None]
    equation = _parse(node.attr("equation"), ranks)
    terms = _terms(node, equation)
    sizes: dict[str, int] = {}
    for x, letters in terms:
        for letter, size in zip(letters, x.static_shape, strict=True):
            known = sizes.get(letter, 1)
            sizes[letter] = size if known == 1 else known
    return tuple(
        _operand(terms[i], [(g, equation.result), *terms[:i], *terms[i + 1 :]], sizes)
        for i in range(len(ranks))
    )


def _operand(term: Term, others: list[Term], sizes: dict[str, int]) -> Tensor:
    """Return the gradient of one operand, given that of the result and the other operands."""
    x, letters = term
    shape = x.static_shape
    there: dict[str, int] = {}
    for other, axes in others:
        for letter, size in zip(axes, other.static_shape, strict=True):
            there[letter] = size if there.get(letter, 1) == 1 else there[letter]
    # An axis of size 1 that was broadcast is summed over; one that nothing else has is repeated.
    kept = [c for c, n in zip(letters, shape, strict=True) if c in there and n == sizes[c]]
    scalars = [other for other, axes in others if not axes]
    rest = [(other, axes) for other, axes in others if axes]
    if rest:
        equation = ",".join(axes for _, axes in rest) + "->" + "".join(kept)
        made = emit("Einsum", *(other for other, _ in rest), equation=equation)
        for scalar in scalars:
            made = made * scalar
    else:
        made = scalars[0]
        for scalar in scalars[1:]:
            made = made * scalar
    full = [there[c] if c in kept else 1 for c in letters]
    if made.shape != tuple(full):
        made = emit("Reshape", made, np.array(full, np.int64))
    return made if tuple(full) == shape else emit("Expand", made, np.array(shape, np.int64))
