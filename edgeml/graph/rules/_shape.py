"""Rules of operators that move values about."""

from __future__ import annotations

import numpy as np

from edgeml.graph._ir import Node, Tensor, emit
from edgeml.graph._rules import no_grad, rule

Grads = tuple[Tensor | None, ...]


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(node: Node, g: Tensor) -> Grads:
    return (emit("Reshape", g, np.array(node.x.static_shape, np.int64)),)


@rule("Transpose")
def transpose(node: Node, g: Tensor) -> Grads:
    perm = node.attr("perm") or list(range(node.x.ndim))[::-1]
    return (emit("Transpose", g, perm=[int(i) for i in np.argsort(perm)]),)


no_grad("Shape", "Size", reason="its output is a shape")
no_grad("Range", "ConstantOfShape", "EyeLike", "NonZero", "OneHot",
        "RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli",
        reason="its output does not depend on real numbers")  # fmt: skip
