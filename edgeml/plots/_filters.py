"""What a layer's units look for: pictures made by gradient ascent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml import ops
from edgeml.errors import ConfigError, ModelError
from edgeml.graph import Graph, Tensor, to_onnx
from edgeml.graph._execute import open_session
from edgeml.plots._cam import slope_of
from edgeml.plots._inputs import channels_axis, only_input
from edgeml.plots._picture import Picture, grid_of, new_figure, shown
from edgeml.plots._probe import Array, Probe, find_parts
from edgeml.runtime._errors import translated

_AT_ONCE = 8
_COLUMNS = 6


@dataclass
class Filters(Picture):
    """Pictures that excite the units of a layer; see `filters`.

    Attributes:
        layer: Name of the layer.
        units: Numbers of its channels.
        labels: Names of the units, where the layer is the last and the model names its classes.
        before: Mean activation of each unit for the noise that its picture began as.
        after: The same for the picture.
        pictures: float32 [units, height, width, 1 or 3], 0 to 1, RGB.
    """

    layer: str
    units: list[int]
    labels: list[str]
    before: NDArray[np.float32]
    after: NDArray[np.float32]
    pictures: NDArray[np.float32] = field(repr=False)

    def _draw(self) -> Any:
        rows, columns = grid_of(len(self.units), _COLUMNS)
        figure = new_figure(1.6 * max(columns, 2), 1.8 * rows + 0.3)
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for i, axis in enumerate(panels):
            axis.set_axis_off()
            if i < len(self.units):
                picture = self.pictures[i]
                axis.imshow(picture if picture.shape[2] == 3 else picture[..., 0], cmap="gray")
                name = self.labels[i] if self.labels else f"unit {self.units[i]}"
                change = f"{self.before[i]:.2g} → {self.after[i]:.2g}"
                axis.set_title(f"{shown(name, 24)}\n{change}", fontsize=7)
        figure.suptitle(f"what excites {shown(self.layer, 50)}", fontsize=10)
        return figure


def filters(
    model: Any, layer: str, units: int | str | Sequence[int | str] = 12, *, steps: int = 40,
    rate: float = 0.04, size: int | None = None, seed: int = 0, preprocess: Any = None,
) -> Filters:  # fmt: skip
    """Return for each unit of a layer a picture that excites it, found by gradient ascent.

    It begins with noise, and follows the gradient of the unit's mean activation (before its
    activation function) with respect to the pixels, on pictures shifted a little in each step:
    what is found then does not hang on single pixels.

    Args:
        model: An `edgeml.Model`, an ``onnx.ModelProto`` or a file, as for `edgeml.plots.layers`;
            it takes pictures.
        layer: Name of the layer.
        units: How many of its units, from the first, or which: numbers; of a layer of classes,
            names, too.
        steps: Steps of ascent.
        rate: Mean change of a step, in shares of the range of pixel values.
        size: Height and width of the pictures, pixels, where the model takes any; None: the
            model's, else 96.
        seed: Of the noise.
        preprocess: An `edgeml.tasks.ImagePreprocess`, or the same as a dict, instead of the
            metadata's; it says which values are black and white.

    Raises:
        ConfigError: there is no such layer or unit; the message has the nearest names.
        ModelError: the model takes no pictures.
        NoGradient: an operator before the layer has no gradient rule.

    Example:
        >>> import edgeml
        >>> from edgeml import layers, plots
        >>> conv = layers.Conv2D(2, 3, name="edges")
        >>> model = edgeml.Sequential([edgeml.Input((16, 16, 1)), conv])
        >>> found = plots.filters(model, "edges", steps=5)
        >>> bool((found.after > found.before).all()), found.pictures.shape
        (True, (2, 16, 16, 1))
    """
    probe = Probe.open(model)
    wanted = units if isinstance(units, int) else 1 if isinstance(units, str) else len(units)
    climber = _Climber(probe, layer, size, preprocess, min(max(wanted, 1), _AT_ONCE))
    labels = list(probe.metadata.labels) if climber.is_last else []
    labels = labels if len(labels) == climber.count else []
    chosen = _units(units, climber, labels, probe)
    rng = np.random.default_rng(seed)
    pictures: list[Array] = []
    before: list[Array] = []
    after: list[Array] = []
    for start in range(0, len(chosen), climber.batch):
        some = chosen[start : start + climber.batch]
        made = climber.climb(some, steps, rate, rng)
        for found, part in zip((pictures, before, after), made, strict=True):
            found.append(part[: len(some)])
    return Filters(
        climber.part.name, chosen, [labels[i] for i in chosen] if labels else [],
        np.concatenate(before), np.concatenate(after), np.concatenate(pictures),
    )  # fmt: skip


def _units(
    units: int | str | Sequence[int | str], climber: _Climber, labels: Sequence[str], probe: Probe
) -> list[int]:
    if isinstance(units, int):
        if units < 1:
            raise ConfigError(f"units: expected at least 1, received {units}")
        return list(range(min(units, climber.count)))
    found = []
    for unit in [units] if isinstance(units, str) else units:
        if isinstance(unit, str) and unit in labels:
            found.append(labels.index(unit))
        elif str(unit).isdecimal() and int(unit) < climber.count:
            found.append(int(unit))
        else:
            raise ConfigError(
                f"{probe.name}: layer {climber.part.name!r} has no unit {unit!r}; they are 0 to "
                f"{climber.count - 1}" + (", or names of classes" if labels else "")
            )
    return found


class _Climber:
    """A model as a function of its pixels that is climbed."""

    def __init__(
        self, probe: Probe, layer: str, size: int | None, preprocess: Any, most: int
    ) -> None:
        self.probe = probe
        free = only_input(probe, probe.graph())
        shape, self.axis = free.known_shape, channels_axis(free.known_shape)
        if self.axis is None:
            raise ModelError(
                f"{probe.name} takes {list(shape)}: filters are shown as pictures, of models that "
                "take pictures with 1 or 3 channels"
            )
        self.batch = shape[0] if isinstance(shape[0], int) else most
        side = size or 96
        fixed = [dim if isinstance(dim, int) else side for dim in shape[1:]]
        graph = probe.graph({str(free.name): (self.batch, *fixed)})
        self.low, self.high, self.color = _range(probe, preprocess)
        self.pixels = self._real_input(graph)
        parts = find_parts(graph)
        self.part = probe.part(parts, layer)
        tensor = self.part.linear
        self.is_last = self.part is parts[-1]
        self.count = tensor.static_shape[1] if tensor.ndim > 1 else 0
        if tensor.ndim not in (2, 4) or tensor.dtype.kind != "f":
            raise ConfigError(
                f"{probe.name}: layer {self.part.name!r} puts out {tensor.dtype} "
                f"{list(tensor.static_shape)}: choose one of channels [batch, channels, height, "
                "width], or of units [batch, units]"
            )
        self._compile(graph, tensor)

    def _real_input(self, graph: Graph) -> Tensor:
        """Return the input as real numbers: integers have no gradient, what they stand for has."""
        (given,) = graph.inputs
        if given.dtype.kind == "f":
            return given
        readers = [n for n in graph.nodes if given in n.uses()]
        made = readers[0].output if len(readers) == 1 else None
        if made is None or made.dtype.kind != "f":
            raise ModelError(
                f"{self.probe.name} takes {given.dtype} and computes with it: give the float model"
            )
        if readers[0].op == "DequantizeLinear":
            scale, zero = (x.value if x is not None else None
                           for x in (readers[0].input(1), readers[0].input(2)))  # fmt: skip
            ends = np.array([self.low, self.high]) - (0 if zero is None else float(zero))
            self.low, self.high = (float(v) for v in ends * float(np.asarray(scale).max()))
        pixels = graph.input("pixels", made.dtype, made.shape)
        graph.replace({made: pixels})
        graph.inputs = [pixels]
        return pixels

    def _compile(self, graph: Graph, tensor: Tensor) -> None:
        mask = graph.input("mask", np.float32, (self.batch, self.count, *[1] * (tensor.ndim - 2)))
        with graph:
            value = ops.sum(tensor * mask, axis=tuple(range(1, tensor.ndim)))
            value = value / float(np.prod(tensor.static_shape[2:]))
        slope = slope_of(value, self.pixels, self.probe)
        graph.outputs = {"value": value, "slope": slope}
        self._session = open_session(to_onnx(graph), name=self.probe.name)

    def climb(
        self, units: Sequence[int], steps: int, rate: float, rng: np.random.Generator
    ) -> tuple[Array, Array, Array]:
        """Return the pictures, and the mean activation before and after."""
        mask = np.zeros((self.batch, self.count), np.float32)
        mask[range(len(units)), units] = 1
        shape, span = self.pixels.static_shape, self.high - self.low
        mask = mask.reshape(*mask.shape, *[1] * (self._rank - 2)) if self._rank > 2 else mask
        x = (self.low + span * rng.normal(0.5, 0.05, shape)).astype(np.float32)
        rows = (2, 3) if self.axis == 1 else (1, 2)
        before = None
        for _ in range(steps):
            shift = rng.integers(-self._shift, self._shift + 1, 2).tolist()
            value, slope = self._run(np.roll(x, shift, rows), mask)
            before = value if before is None else before
            slope = _smoothed(np.roll(slope, (-shift[0], -shift[1]), rows), rows)
            size = np.sqrt(np.mean(slope**2, axis=(1, 2, 3), keepdims=True)) + 1e-12
            x = np.clip(x + rate * span * slope / size, self.low, self.high, dtype=np.float32)
        after, _ = self._run(x, mask)
        return self._shown(x), after if before is None else before, after

    @property
    def _rank(self) -> int:
        return self.part.linear.ndim

    @property
    def _shift(self) -> int:
        """How far pictures are shifted: where a layer's grid is fine, each place is its own."""
        shape = self.part.linear.static_shape
        size = self.pixels.static_shape[2]
        return 4 if len(shape) == 2 or size // shape[2] >= 8 else 0

    def _run(self, x: Array, mask: Array) -> tuple[Array, Array]:
        with translated(self.probe.name):
            value, slope = self._session.run(None, {self.pixels.name: x, "mask": mask})
        return value, slope

    def _shown(self, x: Array) -> Array:
        x = (x - self.low) / (self.high - self.low)
        x = x.transpose(0, 2, 3, 1) if self.axis == 1 else x
        return x[..., ::-1] if self.color == "BGR" and x.shape[-1] == 3 else x


def _smoothed(slope: Array, axes: tuple[int, int]) -> Array:
    """Return the gradient with fine detail damped as it is in photographs: by its frequency."""
    height, width = (slope.shape[axis] for axis in axes)
    f = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    f = np.maximum(f, 1 / max(height, width))
    f = f if axes == (2, 3) else f[..., None]
    return np.fft.irfft2(np.fft.rfft2(slope, axes=axes) / f, (height, width), axes)


def _range(probe: Probe, preprocess: Any) -> tuple[float, float, str]:
    """Return the values of black and white, and the order of the channels."""
    from edgeml.tasks._image import ImagePreprocess

    spec = preprocess or probe.metadata.preprocess
    if not spec:
        return 0.0, 1.0, "RGB"
    found = ImagePreprocess.parse(spec, model=probe.name)
    mean, std = np.mean(found.mean), np.mean(found.std)
    return float((0 - mean) / std), float((255 - mean) / std), found.color
