"""Structured pruning: channels that matter least are cut out of the graph."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeml._require import require
from edgeml.errors import ConfigError, ModelFormatError
from edgeml.quantize._channel_rules import channels_of
from edgeml.quantize._channels import Channels, check_float
from edgeml.quantize._cut import cut, masked
from edgeml.quantize._importance import Scores, by_size, by_taylor
from edgeml.quantize._model import Model, load
from edgeml.quantize._parity import difference

_log = logging.getLogger("edgeml.quantize")
_TOLERANCE = 1e-3  # float32 sums of other lengths, through deep nets


@dataclass(frozen=True)
class PruneReport:
    """What a pruning did, and what it left alone.

    Args:
        channels: Channels before and after, by layer, in the graph's order.
        left: Why a layer kept all its channels, by layer.
        asked: Share of the channels that was to go; None when it was given by layer.
        share: Share of the channels that can be pruned that went.
        parameters: Numbers in initializers, before and after.
        difference: Largest difference from the model in which the same channels are zero, relative
            to its largest output; None where inputs of open shapes left it unmeasured.
    """

    channels: dict[str, tuple[int, int]]
    left: dict[str, str]
    asked: float | None
    share: float
    parameters: tuple[int, int]
    difference: float | None


@dataclass(frozen=True)
class Pruned:
    """What `prune_channels` returns.

    Args:
        model: The smaller ``onnx.ModelProto``.
        removed: Numbers of the channels that went, by layer.
        report: What was done and what was left.
    """

    model: Model
    removed: dict[str, tuple[int, ...]]
    report: PruneReport


@dataclass
class _Group:
    """Channels that stand in the same layers: one decision on how many stay."""

    layers: frozenset[str]
    roots: list[int] = field(default_factory=list)
    """The least important first; those that go are taken from the front."""
    gone: int = 0

    def step(self, multiple: int) -> int:
        """Return how many channels go next, so that a multiple stays; 0: no more may go."""
        kept = len(self.roots) - self.gone
        after = (kept - 1) // multiple * multiple
        return kept - after if after >= 1 else 0


def prune_channels(
    model: Model | str | os.PathLike[str], amount: float | Mapping[str, float], *,
    batches: Iterable[tuple[Any, Any]] | None = None, importance: str = "l1",
    loss: Any = "sparse_categorical_crossentropy", exclude: Iterable[str] = (), round_to: int = 8,
) -> Pruned:  # fmt: skip
    """Remove the least important output channels, and all that depends on them.

    Channels of Conv, ConvTranspose, Gemm and MatMul go, with their biases, normalisations and
    depthwise convolutions, and with the weights that read them. Channels that meet (in Add or Mul,
    say) go together. Concat, Split, Flatten, Reshape, Transpose, pools, Pad and Resize are followed
    where that can be proved safe; all else keeps its channels, and the report says why.

    1. ``importance="l1"``: the mean of the weights' sizes, relative to their layer's mean.
    2. ``importance="taylor"``: the change of the loss when a channel's weights become zero, to
       first order, squared, mean over `batches`; of all layers on one scale.
    3. What comes out equals the given model with the same channels zero, which is checked by
       running both.

    Accuracy usually comes back with some epochs of `distill`.

    Source: P. Molchanov et al., "Importance Estimation for Neural Network Pruning" (2019), for 2.

    Args:
        model: Path or ``onnx.ModelProto``, float32; run `simplify` on it first.
        amount: Share of all channels that can go, 0 to 1; or a share for each of some layers, by
            their nodes' names, and then no other layers change. A layer keeps `round_to` or more.
        batches: ``(x, y)`` for "taylor": array or dict by input name, and labels; some hundreds of
            examples are enough.
        importance: "l1" or "taylor".
        loss: Loss for "taylor": a name, or as `edgeml.training.Trainer` takes it.
        exclude: Names of layers' nodes that stay as they are.
        round_to: What the number of channels is a multiple of: kernels like 8 and 16. Layers with
            no more channels than that stay as they are.

    Raises:
        ConfigError: `amount`, `importance` or `round_to` cannot be; the message says what can.
        ModelFormatError: the model is quantized, or has no such layer or nothing to prune.
        InputError: "taylor" without batches or labels.
        DataError: labels do not fit the loss.
        NonFinite: `batches` hold NaN or infinity.

    Example:
        >>> import edgeml
        >>> from edgeml.layers import Conv2D, Dense, GlobalAveragePooling2D
        >>> from edgeml.quantize import prune_channels, simplify
        >>> net = edgeml.Sequential([edgeml.Input((8, 8, 1)), Conv2D(16, 3, activation="relu"),
        ...                          GlobalAveragePooling2D(), Dense(10)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> pruned = prune_channels(simplify("/tmp/edgeml-example.onnx"), 0.5)
        >>> list(pruned.report.channels.values())
        [(16, 8), (10, 10)]
    """
    _check(amount, importance, round_to)
    proto = load(model)
    check_float(proto)
    flow = channels_of(proto)
    excluded = _known(flow, exclude, "exclude")
    groups = _groups(flow, excluded)
    if not groups:
        reasons = "; ".join(f"{name}: {why}" for name, why in flow.left.items()) or "no layers"
        raise ModelFormatError(f"there is nothing to prune: {reasons}")
    scores = by_size(flow) if importance == "l1" else by_taylor(flow, proto, batches, loss)
    for group in groups:
        group.roots.sort(key=lambda root: (scores.get(root, 0.0), root))
    if isinstance(amount, Mapping):
        _take_by_layer(groups, _amounts(flow, amount), round_to)
    else:
        _take_over_all(flow, groups, scores, float(amount), round_to)
    gone = {root for group in groups for root in group.roots[: group.gone]}
    small = cut(proto, flow, gone)
    report = _report(flow, groups, proto, small, gone, amount)
    for name, why in report.left.items():
        _log.info("pruning leaves %s alone: %s", name, why)
    return Pruned(small, _removed(flow, gone), report)


def _check(amount: Any, importance: str, round_to: int) -> None:
    shares = list(amount.values()) if isinstance(amount, Mapping) else [amount]
    for share in shares:
        if not 0 <= share < 1:
            raise ConfigError(
                f"amount: expected a share of at least 0 and below 1, received {share!r}"
            )
    if importance not in ("l1", "taylor"):
        raise ConfigError(f"importance: expected 'l1' or 'taylor', received {importance!r}")
    if round_to < 1:
        raise ConfigError(f"round_to: expected at least 1, received {round_to!r}")


def _known(flow: Channels, names: Iterable[str], what: str) -> set[str]:
    found = set(names)
    known = list(dict.fromkeys([*flow.layers, *flow.left]))
    if unknown := sorted(found - set(known)):
        raise ModelFormatError(
            f"{what}: {unknown[0]!r} is no layer of the model; there are {', '.join(known)}"
        )
    return found


def _amounts(flow: Channels, amount: Mapping[str, float]) -> dict[str, float]:
    for name in sorted(_known(flow, amount, "amount")):
        if name in flow.left:
            raise ModelFormatError(f"{name!r} cannot be pruned: {flow.left[name]}")
    return dict(amount)


def _groups(flow: Channels, excluded: set[str]) -> list[_Group]:
    """Return what can be pruned, by the layers and parts of a Split that channels stand in."""
    where: dict[int, set[str]] = {}
    for name, layer in flow.layers.items():
        for root in flow.roots(layer.labels).tolist():
            where.setdefault(root, set()).add(name)
    for rewrite in flow.rewrites:
        for i, labels in enumerate(rewrite.labels):
            for root in flow.roots(labels).tolist():
                if rewrite.kind == "split" and root in where:
                    where[root].add(f"{rewrite.node.name}/{i}")
    found: dict[frozenset[str], _Group] = {}
    for root, names in where.items():
        if flow.reason(root) or names & excluded:
            continue
        key = frozenset(names)
        found.setdefault(key, _Group(key)).roots.append(root)
    return list(found.values())


def _take_by_layer(groups: list[_Group], amounts: Mapping[str, float], round_to: int) -> None:
    for group in groups:
        shares = [amounts[name] for name in group.layers if name in amounts]
        target = max(shares, default=0.0) * len(group.roots)
        while (step := group.step(round_to)) and _nearer(group.gone, step, target):
            group.gone += step


def _take_over_all(
    flow: Channels, groups: list[_Group], scores: Scores, amount: float, round_to: int
) -> None:
    """Take the least important step, again and again, as long as that leads to the amount."""
    counts = _counts(flow)
    target = amount * sum(counts[root] for group in groups for root in group.roots)
    gone = 0
    while True:
        steps = []
        for i, group in enumerate(groups):
            chosen = group.roots[group.gone : group.gone + group.step(round_to)]
            size = sum(counts[root] for root in chosen)
            if chosen and _nearer(gone, size, target):
                worth = float(np.mean([scores.get(root, 0.0) for root in chosen]))
                steps.append((worth, i, len(chosen), size))
        if not steps:
            return
        _, i, step, size = min(steps)
        groups[i].gone += step
        gone += size


def _nearer(gone: float, step: float, target: float) -> bool:
    """Return whether another step leads nearer to a target."""
    return abs(gone + step - target) < abs(gone - target)


def _counts(flow: Channels) -> dict[int, int]:
    """Return how many channels of layers each root stands for."""
    found: dict[int, int] = {}
    for layer in flow.layers.values():
        for root in flow.roots(layer.labels).tolist() if layer.own else ():
            found[root] = found.get(root, 0) + 1
    return found


def _removed(flow: Channels, gone: set[int]) -> dict[str, tuple[int, ...]]:
    found = {
        name: tuple(i for i, root in enumerate(flow.roots(layer.labels).tolist()) if root in gone)
        for name, layer in flow.layers.items()
    }
    return {name: numbers for name, numbers in found.items() if numbers}


def _report(
    flow: Channels, groups: list[_Group], before: Model, after: Model, gone: set[int], amount: Any
) -> PruneReport:
    counts = _counts(flow)
    all_roots = [root for group in groups for root in group.roots]
    removed = _removed(flow, gone)
    return PruneReport(
        channels={
            name: (len(layer.labels), len(layer.labels) - len(removed.get(name, ())))
            for name, layer in flow.layers.items()
        },
        left=dict(flow.left),
        asked=None if isinstance(amount, Mapping) else float(amount),
        share=sum(counts[r] for r in gone) / max(sum(counts[r] for r in all_roots), 1),
        parameters=(_parameters(before), _parameters(after)),
        difference=_checked(masked(before, flow, gone), after) if gone else 0.0,
    )


def _checked(wanted: Model, made: Model) -> float | None:
    found = difference(wanted, made)
    if found is not None and not found <= _TOLERANCE:
        raise ModelFormatError(
            f"the pruned model differs from the one with the same channels zero, by {found:.2g} of "
            "its largest output: this model's channels are not understood, exclude some layers"
        )
    return found


def _parameters(model: Model) -> int:
    onnx = require("onnx", extra="optimize", purpose="edgeml.quantize")
    kinds = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
    sizes = (int(np.prod(t.dims)) for t in model.graph.initializer if t.data_type in kinds)
    return sum(sizes)
