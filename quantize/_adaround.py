"""AdaRound: which way each weight is rounded is learned, layer by layer."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import ConfigError, InputError
from edgeml.quantize._matched import Batches, Matched, Tap, matched, repeated, scales_of, stored
from edgeml.quantize._model import Model, load, set_constant

_log = logging.getLogger("edgeml.quantize")
Array = NDArray[Any]
Progress = Callable[[int, int, str], None]
_LOW, _HIGH = -0.1, 1.1  # how far the sigmoid is stretched, so that it reaches 0 and 1
_HELD_OUT = 5  # one example in so many


def adaround(
    float_model: Model | str | os.PathLike[str],
    quantized_model: Model | str | os.PathLike[str],
    batches: Batches, *, steps: int = 1000, batch_size: int = 32, learning_rate: float = 3e-2,
    regularization: float = 10.0, memory: int = 256 << 20, seed: int = 0,
    progress: Progress | None = None,
) -> Model:  # fmt: skip
    """Round each weight up or down so that its layer's output is nearest to the float one.

    1. Layers are Conv, ConvTranspose, Gemm and MatMul with weights behind DequantizeLinear (8 bits
       or 4), from input to output; each is given what the quantized layers before it make.
    2. Scales stay. Each weight becomes one of the two integers around its float value, within
       those that the layer uses already: a grid of 7 bits stays one.
    3. One example in five is held out: a layer whose output does not get nearer on those keeps its
       rounding. The log has each layer's errors.
    4. Inputs and outputs of one layer at a time are kept, of as many examples as fit `memory`.
    5. Ctrl-C ends it early: layers done are kept, the others as they were.

    Source: M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization" (2020).

    Args:
        float_model: What was quantized; layers are found by their nodes' names.
        quantized_model: Path or ``onnx.ModelProto`` with QuantizeLinear and DequantizeLinear.
        batches: ``{input name: array}`` of unlabelled examples, 200 or more; a list or dataset,
            since each layer takes a pass.
        steps: Optimizer steps for each layer.
        batch_size: Examples in a step.
        learning_rate: Of Adam, on the rounding variables.
        regularization: Weight of what pushes the rounding to 0 or 1, beside an error that is 1
            with nearest rounding.
        memory: Bytes of activations to keep.
        seed: Seed of the order of examples.
        progress: Called as ``progress(layers done, layers, name)``.

    Raises:
        ModelFormatError: the second model is not quantized, or not from the first.
        InputError: batches are empty, can be gone through once only, do not fit, or hold NaN.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import adaround, quantize_int8, simplify
        >>> net = edgeml.Sequential([edgeml.Input((4,), name="x"), edgeml.layers.Dense(2)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> model = simplify("/tmp/edgeml-example.onnx")
        >>> batches = [{"x": np.random.rand(64, 4).astype("float32")}]
        >>> better = adaround(model, quantize_int8(model, batches), batches, steps=50)
    """
    if steps < 1 or batch_size < 1 or memory < 1:
        raise ConfigError(
            f"expected steps, batch_size and memory of at least 1, received {steps}, {batch_size} "
            f"and {memory}"
        )
    original, found = load(float_model), load(quantized_model)
    layers = matched(original, found)
    settings = _Settings(steps, batch_size, learning_rate, regularization, seed)
    try:
        for i, layer in enumerate(layers):
            if progress is not None:
                progress(i, len(layers), layer.name)
            flows = _collect(original, found, layer, batches, memory)
            _round(original, found, layer, flows, settings)
    except KeyboardInterrupt:
        _log.warning("adaround was interrupted: %d of %d layers were done", i, len(layers))
        return found
    if progress is not None:
        progress(len(layers), len(layers), "")
    return found


@dataclass(frozen=True)
class _Settings:
    steps: int
    batch_size: int
    learning_rate: float
    regularization: float
    seed: int

    def penalty(self, step: int) -> tuple[float, float]:
        """Return the weight of the push to 0 or 1, and its exponent, which falls from 20 to 2."""
        warm = int(0.2 * self.steps)
        if step < warm:
            return 0.0, 20.0
        share = (step - warm) / max(self.steps - warm, 1)
        return self.regularization, 2.0 + 9.0 * (1.0 + math.cos(share * math.pi))


@dataclass(frozen=True)
class _Flows:
    """What goes into a quantized layer, and what should come out, after its activation."""

    x: Array
    y: Array

    def part(self, held_out: bool) -> _Flows:
        chosen = (np.arange(len(self.x)) % _HELD_OUT == _HELD_OUT - 1) == held_out
        return _Flows(self.x[chosen], self.y[chosen])


def _collect(
    original: Model, found: Model, layer: Matched, batches: Batches, memory: int
) -> _Flows:
    before = Tap(original, [layer.original.output[0]])
    after = Tap(found, [layer.node.input[0]])
    xs, ys, size = [], [], 0
    for number, batch in enumerate(repeated(batches)):
        (y,) = before.run(batch, number).values()
        (x,) = after.run(batch, number).values()
        if len(x) != len(y):
            raise InputError(f"{layer.name!r}: its output has no axis of examples")
        room = max((memory - size) // max((x.nbytes + y.nbytes) // len(x), 1), 0)
        xs.append(x[:room].copy())
        ys.append(np.clip(y[:room], *layer.limits).astype(np.float32))
        size += xs[-1].nbytes + ys[-1].nbytes
        if room <= len(x):
            break
    flows = _Flows(np.concatenate(xs), np.concatenate(ys))
    if len(flows.x) < 2 * _HELD_OUT:
        raise InputError(
            f"{layer.name!r}: expected at least {2 * _HELD_OUT} examples, received "
            f"{len(flows.x)}: give more batches, or more memory",
            expected=2 * _HELD_OUT, received=len(flows.x),
        )  # fmt: skip
    return flows


def _round(
    original: Model, found: Model, layer: Matched, flows: _Flows, settings: _Settings
) -> None:
    """Learn a layer's rounding, and write it when it is better."""
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    name = layer.dequantize.input[0]
    given = stored(found, name)
    nearest = given.astype(np.int32)
    weights = stored(original, layer.original.input[1]).astype(np.float32)
    scale, zero = scales_of(found, layer.dequantize, nearest.ndim)
    compute = _Compute(found, layer, onnx)
    least, most = int(nearest.min()), int(nearest.max())
    steps = weights / scale + zero
    # A float value at the end of the grid has its two integers there.
    floor = np.clip(np.floor(steps), least, max(most - 1, least))
    known = flows.part(False)
    unit = compute.error(known, (nearest - zero) * scale)
    up = _learn(compute, known, floor, steps - floor, scale, zero, unit, settings)
    rounded = np.clip(floor + up, least, most).astype(np.int32)
    tests = flows.part(True)
    before = compute.error(tests, (nearest - zero) * scale)
    after = compute.error(tests, (rounded - zero) * scale)
    better = after < before
    _log.info(
        "adaround: %s %s, error %.3g with nearest rounding, %.3g with learned",
        layer.name, "rounded" if better else "left", before, after,
    )  # fmt: skip
    if better:
        set_constant(found, name, rounded.astype(given.dtype))


def _learn(
    compute: _Compute, flows: _Flows, floor: Array, rest: Array, scale: Array, zero: Array,
    unit: float, settings: _Settings,
) -> Array:  # fmt: skip
    """Return 1 for each weight to round up, else 0; errors count in multiples of `unit`."""
    from edgeml import ops
    from edgeml.layers import Parameter
    from edgeml.optimizers import Adam
    from edgeml.training import minimize

    share = np.clip((np.clip(rest, 0, 1) - _LOW) / (_HIGH - _LOW), 1e-4, 1 - 1e-4)
    start = np.log(share / (1 - share)).astype(np.float32)
    rounding = Parameter("rounding", start)
    base = ((floor - zero) * scale).astype(np.float32)
    spread = np.broadcast_to(scale, floor.shape).copy()

    def loss(x: Any, y: Any, weight: Any, exponent: Any) -> Any:
        soft = ops.clip(ops.sigmoid(rounding) * (_HIGH - _LOW) + _LOW, 0.0, 1.0)
        off = ops.square(compute(x, soft * spread + base) - y)
        push = ops.mean(1.0 - ops.power(ops.absolute(soft * 2.0 - 1.0), exponent))
        return ops.mean(off) * (1.0 / max(unit, 1e-20)) + weight * push

    step = minimize(loss, rounding, Adam(settings.learning_rate), seed=settings.seed)
    rng = np.random.default_rng(settings.seed)
    size = min(settings.batch_size, len(flows.x))
    for i in range(settings.steps):
        chosen = rng.choice(len(flows.x), size, replace=False)
        weight, exponent = (np.float32(value) for value in settings.penalty(i))
        step(flows.x[chosen], flows.y[chosen], weight, exponent)
    return (rounding.value >= 0).astype(np.int32)


class _Compute:
    """A layer with its activation, traced with weights that are an argument."""

    def __init__(self, model: Model, layer: Matched, onnx: Any) -> None:
        self._op = layer.node.op_type
        self._limits = layer.limits
        self._attributes: dict[str, Any] = {
            a.name: value.decode() if isinstance(value, bytes) else value
            for a in layer.node.attribute
            for value in [onnx.helper.get_attribute_value(a)]
        }
        self._bias = _bias_of(model, layer)

    def __call__(self, x: Any, weights: Any) -> Any:
        from edgeml import ops
        from edgeml.graph import emit

        more = () if self._bias is None else (self._bias,)
        y = emit(self._op, x, weights, *more, **self._attributes)
        low, high = self._limits
        if low == 0.0 and high == math.inf:
            return ops.relu(y)
        return y if math.isinf(low) and math.isinf(high) else ops.clip(y, low, high)

    def error(self, flows: _Flows, weights: Array) -> float:
        """Return the mean squared error of the outputs."""
        from edgeml import function

        run = function(lambda x, w: self(x, w))
        total, each = 0.0, max(1, len(flows.x) // 4)
        for i in range(0, len(flows.x), each):
            made = run(flows.x[i : i + each], weights.astype(np.float32))
            total += float(np.square(made - flows.y[i : i + each], dtype=np.float64).sum())
        return total / flows.y.size


def _bias_of(model: Model, layer: Matched) -> Array | None:
    """Return a layer's bias in float, None where it has none."""
    if len(layer.node.input) < 3 or not layer.node.input[2]:
        return None
    name = layer.node.input[2]
    made = next((node for node in model.graph.node if name in node.output), None)
    if made is None:
        return stored(model, name).astype(np.float32)
    values = stored(model, made.input[0]).astype(np.float64)
    scale, zero = scales_of(model, made, values.ndim)
    return ((values - zero) * scale).astype(np.float32)
