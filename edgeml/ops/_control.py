"""What the gradient sees: stops and rules of one's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeml.graph import Tensor, as_tensor, emit
from edgeml.graph._ir import held, with_vjp
from edgeml.graph._tree import leaves


def stop_gradient(x: Any) -> Tensor:
    """Return `x`; gradients do not go through.

    Example:
        >>> import edgeml
        >>> float(edgeml.grad(lambda x: x * edgeml.ops.stop_gradient(x))(3.0))
        3.0
    """
    value = as_tensor(x)
    return emit("StopGradient", value, domain="edgeml")


def custom_gradient(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function a gradient of its own.

    Args:
        fn: Takes tensors and returns ``(value, vjp)``, where ``vjp(g)`` returns the gradient of
            each argument (None for zero), given that of the value.

    Example:
        >>> import edgeml
        >>> @edgeml.ops.custom_gradient
        ... def clipped(x):
        ...     return x * 1.0, lambda g: edgeml.ops.clip(g, -1.0, 1.0)
        >>> float(edgeml.grad(lambda x: clipped(x) * 5.0)(2.0))
        1.0
    """

    def wrapped(*args: Any) -> Any:
        tensors = [as_tensor(arg) for arg in args]
        made, vjp = fn(*(held(x) for x in tensors))
        outputs = with_vjp(leaves(made), tensors, vjp)
        return outputs[0] if isinstance(made, Tensor) else type(made)(outputs)

    return wrapped
