"""Gradients checked against finite differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def check_gradient(
    fn: Callable[..., Any], *args: Any, argnums: Sequence[int] | None = None, eps: float = 1e-2,
    rtol: float = 2e-2, atol: float = 2e-3, directions: int = 3, seed: int = 0,
    opset: int = 18,
) -> list[Array]:  # fmt: skip
    """Check the gradient of a traced function against central differences.

    The function is projected on random weights, and its slope along random directions is
    compared; that finds a wrong gradient with a few runs, whatever the size of the arguments.

    Args:
        fn: Function of tensors that returns a tensor or several; smooth around `args`.
        args: Arrays.
        argnums: Which arguments to check; None is all that hold floats.
        eps: Length of the step.
        rtol: Relative tolerance: float32 and the curvature leave about 1e-3.
        atol: Absolute tolerance.
        directions: How many directions to try.
        seed: Seed of projection and directions.
        opset: Version of ONNX's operators to trace with.

    Returns:
        The gradient of the projection with respect to each argument checked.

    Raises:
        AssertionError: a slope differs; the message has both values, the argument and the seed.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.testing import check_gradient
        >>> g = check_gradient(edgeml.ops.tanh, np.array([0.1, 0.5]))
    """
    from edgeml.graph import Function, as_tensor, value_and_grad
    from edgeml.graph._tree import leaves

    arrays = [np.asarray(a, np.float32) if np.asarray(a).dtype.kind == "f" else a for a in args]
    if argnums is None:
        argnums = [i for i, a in enumerate(arrays) if np.asarray(a).dtype.kind == "f"]
    rng = np.random.default_rng(seed)
    shapes = [value.shape for value in leaves(Function(fn, opset=opset)(*arrays))]
    weights = [rng.standard_normal(shape).astype(np.float32) for shape in shapes]

    def projected(*inputs: Any) -> Any:
        total: Any = 0.0
        for value, weight in zip(leaves(fn(*inputs)), weights, strict=True):
            total = total + _total(as_tensor(value) * weight)
        return total

    run = Function(projected, opset=opset)
    both = Function(value_and_grad(projected, argnums).fn, opset=opset)
    _, found = both(*arrays)
    for i, g in zip(argnums, found, strict=True):
        for _ in range(directions):
            direction = rng.standard_normal(arrays[i].shape).astype(np.float32)
            direction /= max(float(np.linalg.norm(direction)), 1e-6)
            ahead, behind = list(arrays), list(arrays)
            ahead[i], behind[i] = arrays[i] + eps * direction, arrays[i] - eps * direction
            expected = (float(run(*ahead)) - float(run(*behind))) / (2 * eps)
            received = float(np.sum(g * direction))
            assert abs(received - expected) <= atol + rtol * abs(expected), (
                f"argument {i}: the gradient says {received:.6g}, differences say "
                f"{expected:.6g} (eps {eps}, seed {seed})"
            )
    return list(found)


def _total(value: Any) -> Any:
    from edgeml import ops

    return ops.sum(value)
