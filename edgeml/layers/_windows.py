"""What layers with windows share: sizes, padding, and the convolution itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from edgeml import activations, ops
from edgeml.errors import ConfigError, ShapeError
from edgeml.graph import Tensor, emit
from edgeml.layers._layer import Layer
from edgeml.layers._layout import channels_last, check_data_format


class Windowed(Layer):
    """A layer with windows: its sizes as one number for each dimension, and checked."""

    rank = 2
    paddings: ClassVar[Sequence[str]] = ("valid", "same")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.supports_masking = False
        for what in ("kernel_size", "pool_size", "strides", "dilation_rate"):
            value = getattr(self, what, None)
            if value is not None:
                setattr(self, what, spread(value, self.rank, what))
        padding = getattr(self, "padding", "valid")
        if padding not in self.paddings:
            raise ConfigError(
                f"{type(self).__name__}: padding: expected {', '.join(self.paddings)}, "
                f"received {padding!r}"
            )
        strides, dilation = getattr(self, "strides", (1,)), getattr(self, "dilation_rate", (1,))
        # Keras refuses the two together as well: "same" would be ambiguous.
        if max(dilation) > 1 and max(strides) > 1 and "Transpose" not in type(self).__name__:
            raise ConfigError(
                f"{type(self).__name__}: strides {strides} and dilation_rate {dilation}: one of "
                "the two has to be 1"
            )
        check_data_format(getattr(self, "data_format", None))


def spread(value: Any, rank: int, what: str) -> tuple[int, ...]:
    """Return one positive number for each dimension.

    Raises:
        ConfigError: it is neither a number nor as many numbers as there are dimensions.
    """
    found = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(found) != rank or any(int(n) < 1 for n in found):
        raise ConfigError(f"{what}: expected {rank} positive numbers, received {value!r}")
    return tuple(int(n) for n in found)


def channels_of(shape: Any, rank: int, what: str) -> int:
    """Return the channels of a channels-last shape.

    Raises:
        ShapeError: the rank is another, or the channels are not known.
    """
    if not isinstance(shape, tuple) or len(shape) != rank + 2 or shape[-1] is None:
        sizes = ("steps",), ("rows", "columns"), ("depth", "rows", "columns")
        raise ShapeError(
            f"{what} takes (batch, {', '.join(sizes[rank - 1])}, channels), received {shape}",
            expected=rank + 2, received=shape,
        )  # fmt: skip
    return int(shape[-1])


def same_pads(
    sizes: Sequence[int | None], window: Sequence[int], strides: Sequence[int]
) -> list[int] | None:
    """Return ONNX's pads for "same" (more at the end), or None when a size is not known."""
    before, after = [], []
    for size, k, stride in zip(sizes, window, strides, strict=True):
        if size is None:
            if stride > 1:
                return None
            total = k - 1
        else:
            total = max((-(-size // stride) - 1) * stride + k - size, 0)
        before.append(total // 2)
        after.append(total - total // 2)
    return before + after


def pads_of(
    padding: str, x: Tensor, window: Sequence[int], strides: Sequence[int]
) -> dict[str, Any]:
    """Return the ONNX attributes of a padding of channels-first `x`: valid, same or causal."""
    sizes = [None if isinstance(n, str) else int(n) for n in x.known_shape[2:]]
    if padding == "same":
        pads = same_pads(sizes, window, strides)
        return {"auto_pad": "SAME_UPPER"} if pads is None else {"pads": pads}
    if padding == "causal":
        return {"pads": [window[0] - 1, 0]}
    for size, k in zip(sizes, window, strict=True):
        if size is not None and size < k:
            raise ShapeError(
                f"a window of {tuple(window)} does not fit into {tuple(sizes)}: make it smaller, "
                'or use padding="same"',
                expected=tuple(window), received=tuple(sizes),
            )  # fmt: skip
    return {}


def kernel_first(kernel: Any, rank: int) -> Tensor:
    """Return a kernel (..., inputs, outputs) as ONNX's (outputs, inputs, ...)."""
    return ops.transpose(kernel, [rank + 1, rank, *range(rank)])


def convolve(
    x: Tensor, kernel: Tensor, *, strides: Sequence[int], padding: str,
    dilations: Sequence[int], groups: int, bias: Any,
) -> Tensor:  # fmt: skip
    """Emit a Conv on channels-first tensors with Keras's padding."""
    taps = kernel.static_shape[2:]
    window = [(k - 1) * d + 1 for k, d in zip(taps, dilations, strict=True)]
    return emit(
        "Conv", x, kernel, bias, strides=list(strides), dilations=list(dilations), group=groups,
        kernel_shape=list(taps), **pads_of(padding, x, window, strides),
    )  # fmt: skip


def finish(y: Tensor, activation: Any) -> Tensor:
    """Apply an activation to a channels-first tensor, and return it channels-last."""
    fn = activations.get(activation)
    if activations.is_elementwise(fn):
        return channels_last(fn(y))
    return fn(channels_last(y))
