"""What in a picture speaks for a class: Grad-CAM."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml._require import require
from edgeml.errors import ConfigError, ModelError, NoGradient
from edgeml.graph import Graph, Node, Tensor, gradients, live_nodes, to_onnx
from edgeml.graph._execute import open_session
from edgeml.plots._inputs import Given, Pixels, as_given, only_input
from edgeml.plots._picture import Picture, new_figure, shown
from edgeml.plots._probe import Array, Part, Probe, find_parts
from edgeml.runtime._errors import translated
from edgeml.tasks._outputs import sigmoid, softmax

_STARTS = frozenset({
    "Conv", "ConvInteger", "ConvTranspose", "QLinearConv", "MaxPool", "AveragePool", "LpPool",
    "Resize", "DepthToSpace", "SpaceToDepth", "Upsample",
})  # fmt: skip
_OTHERS = frozenset({"Transpose", "Reshape", "Flatten", "MatMul", "Gemm", "Gather", "Softmax"})
_PASSING = frozenset({"QuantizeLinear", "DequantizeLinear", "Identity", "Cast", "Reshape",
                      "Flatten", "Squeeze"})  # fmt: skip


@dataclass
class GradCam(Picture):
    """Where the evidence for a class is; see `grad_cam`.

    Attributes:
        layer: The layer whose map it is.
        target: Number of the class.
        label: Name of the class.
        score: Its probability; where the model has no softmax or sigmoid, its raw score.
        heat: float32 [rows, columns] of the layer's map: how much each place speaks for the
            class, 0 or more; all 0 when nothing does.
        picture: uint8 [height, width, 3] RGB.
        overlay: float32 [height, width]: the heat over the picture, 0 to 1.
    """

    layer: str
    target: int
    label: str
    score: float
    heat: NDArray[np.float32]
    picture: Pixels = field(repr=False)
    overlay: NDArray[np.float32] = field(repr=False)

    def _draw(self) -> Any:
        height, width = self.picture.shape[:2]
        tall = float(np.clip(3.6 * height / width, 2.0, 6.0))
        figure = new_figure(2 * tall * width / height + 0.9, tall + 0.6)
        left, right = figure.subplots(1, 2)
        left.imshow(self.picture)
        left.set_title("picture", fontsize=10)
        grey = self.picture.mean(axis=2)
        right.imshow(grey, cmap="gray", vmin=0, vmax=255)
        image = right.imshow(self.overlay, cmap="inferno", vmin=0, vmax=1,
                             alpha=0.15 + 0.6 * self.overlay)  # fmt: skip
        right.set_title(f"{shown(self.label, 30)}  {self.score:.2f}", fontsize=10)
        bar = figure.colorbar(image, ax=right, fraction=0.046, pad=0.02, ticks=[0, 0.5, 1])
        bar.solids.set_alpha(1)
        said = "speaks for the class, of the most" if self.heat.max() else "nothing speaks for it"
        bar.set_label(said, fontsize=8)
        bar.ax.tick_params(labelsize=8)
        figure.supxlabel(f"Grad-CAM of {shown(self.layer, 50)}", fontsize=8)
        for axis in (left, right):
            axis.set_axis_off()
        return figure


def grad_cam(
    model: Any, x: Any, target: int | str | None = None, *, layer: str | None = None,
    labels: Sequence[str] | None = None, preprocess: Any = None,
) -> GradCam:  # fmt: skip
    """Return where in a picture a classifier sees a class.

    The gradient of the class's score (before softmax) says how much each channel of the last
    picture-like map counts; the channels are added up with these weights, and what is negative
    is left out (Selvaraju et al., "Grad-CAM", 2017). Quantized models (QuantizeLinear) work, too:
    the gradient passes the rounding unchanged.

    Args:
        model: An `edgeml.Model`, an ``onnx.ModelProto`` or a file, as for `edgeml.plots.layers`.
        x: A picture uint8 [height, width, 3] BGR, its path, or an array as the model takes it.
        target: Name or number of the class, or a word that is in one name only; None: the one
            that the model says.
        layer: Name of a layer with a picture-like map; None: the last one.
        labels: Names of the classes, instead of the metadata's.
        preprocess: An `edgeml.tasks.ImagePreprocess`, or the same as a dict, instead of the
            metadata's.

    Raises:
        ConfigError: there is no such class or layer; the message has the nearest names.
        ModelError: the model has no picture-like map, or not one score a class.
        NoGradient: an operator after the map has no gradient rule.

    Example:
        >>> from importlib.resources import files
        >>> from edgeml import plots
        >>> photo = files("edgeml") / "media" / "espresso.jpg"
        >>> cam = plots.grad_cam("edgeml:efficientnet_lite0_int8.onnx", str(photo))
        >>> cam.label, cam.heat.shape
        ('espresso', (7, 7))
    """
    probe = Probe.open(model)
    free = probe.graph()
    given = as_given(x, only_input(probe, free), probe, preprocess)
    graph = probe.graph({str(free.inputs[0].name): given.x.shape})
    scores, squash = _scores(graph, probe)
    part, features = _map(probe, graph, scores, layer)
    names = _labels(labels if labels is not None else probe.metadata.labels, scores, probe)
    values = _run(graph, {"scores": scores}, given, probe)["scores"].reshape(-1)
    chosen = _target(target, values, names, probe)
    seed = np.zeros(scores.static_shape, np.float32)
    single = values.size == 1  # one score for the second of two classes
    seed.reshape(-1)[0 if single else chosen] = -1.0 if single and chosen == 0 else 1.0
    slope = slope_of(scores, features, probe, graph.constant(seed))
    found = _run(graph, {"map": features, "slope": slope}, given, probe)
    heat = cam(found["map"][0], found["slope"][0])
    picture, overlay = _over(heat, given, probe)
    return GradCam(part.name, chosen, names[chosen], _share(values, chosen, squash), heat,
                   picture, overlay)  # fmt: skip


def cam(features: Array, slope: Array) -> NDArray[np.float32]:
    """Return the class activation map of features and their gradient, [channels, rows, columns]."""
    importance = slope.mean(axis=(1, 2))
    return np.maximum(np.tensordot(importance, features, 1), 0).astype(np.float32)


def slope_of(outputs: Tensor, wrt: Tensor, probe: Probe, seed: Tensor | None = None) -> Tensor:
    """Return the gradient of outputs within a model.

    Raises:
        NoGradient: an operator in between has none; of integer operators, with what to do.
        ModelError: the outputs do not depend on `wrt`.
    """
    whole = [n.op for n in live_nodes([outputs]) if "Integer" in n.op or n.op.startswith("QLinear")]
    try:
        (slope,) = gradients([outputs], [wrt], None if seed is None else [seed])
    except NoGradient:
        if not whole:
            raise
        slope = None
    if slope is not None:
        return slope
    if not whole:
        raise ModelError(f"{probe.name}: {outputs!r} does not depend on {wrt!r}")
    raise NoGradient(
        f"{probe.name} computes with integers ({whole[0]}), which have no gradient: give the float "
        "model, or one quantized with QuantizeLinear and DequantizeLinear (QDQ)",
        op=whole[0],
    )


def _run(graph: Graph, outputs: dict[str, Tensor], given: Given, probe: Probe) -> dict[str, Array]:
    graph.outputs = outputs
    session = open_session(to_onnx(graph), name=probe.name)
    with translated(probe.name):
        made = session.run(None, {session.get_inputs()[0].name: given.x})
    return dict(zip(outputs, made, strict=True))


def _scores(graph: Graph, probe: Probe) -> tuple[Tensor, str]:
    """Return the class scores before softmax or sigmoid, and which of them follows."""
    spec = probe.metadata.postprocess
    name = spec.get("output")
    if name not in graph.outputs:
        if len(graph.outputs) > 1:
            raise ModelError(
                f"{probe.name} has several outputs ({', '.join(graph.outputs)}), and does not say "
                "which has the classes: Grad-CAM needs a classifier"
            )
        (name,) = graph.outputs
    output = tensor = graph.outputs[name]
    while tensor.producer is not None and tensor.producer.op in _PASSING:
        tensor = tensor.producer.x
    last = tensor.producer
    squash = str(spec.get("activation", "none"))
    if last is not None and last.op in ("Softmax", "Sigmoid"):
        return last.x, last.op.lower()
    return output, squash


def _map(probe: Probe, graph: Graph, scores: Tensor, layer: str | None) -> tuple[Part, Tensor]:
    """Return the layer, and its map [1, channels, rows, columns] on the way to the scores."""
    maps = _maps(live_nodes([scores]))
    parts = find_parts(graph)
    home = {y: part for part in parts for node in part.nodes for y in node.outputs}
    usable = [x for x in maps if x is not scores and x in home]
    if layer is not None:
        part = probe.part(parts, layer)
        own = [x for x in usable if home[x] is part]
        if not own:
            near = list(dict.fromkeys(home[x].name for x in usable))[-5:]
            raise ConfigError(
                f"{probe.name}: layer {part.name!r} has no picture-like map on the way to the "
                f"classes; the last that have are {', '.join(near) or 'none'}"
            )
        return part, own[-1]
    if not usable:
        raise ModelError(
            f"{probe.name} has no picture-like map: Grad-CAM needs a model with convolutions over "
            "pictures"
        )
    return home[usable[-1]], usable[-1]


def _maps(nodes: Sequence[Node]) -> list[Tensor]:
    """Return the float tensors [1, channels, rows, columns] that convolutions lead to."""
    found: dict[Tensor, None] = {}
    for node in nodes:
        y = node.output
        if y.shape is None or y.ndim != 4 or node.op in _OTHERS:
            continue
        shape = y.static_shape
        before = [x for x in node.uses() if x in found]
        same = any(x.static_shape[2:] == shape[2:] for x in before)
        if shape[2] * shape[3] > 1 and (node.op in _STARTS or same):
            found[y] = None
    return [y for y in found if y.dtype.kind == "f"]


def _labels(given: Sequence[str], scores: Tensor, probe: Probe) -> list[str]:
    shape = scores.static_shape
    count = int(np.prod(shape))
    if len(shape) < 2 or count not in (shape[1], shape[-1]):
        raise ModelError(
            f"{probe.name}: expected one score a class, received the shape {list(shape)}: Grad-CAM "
            "needs a classifier of whole pictures"
        )
    classes = max(count, 2)
    if given and len(given) != classes:
        raise ConfigError(f"{probe.name} has {classes} classes, but there are {len(given)} labels")
    return list(map(str, given)) if given else [f"class {i}" for i in range(classes)]


def _target(target: int | str | None, values: Array, names: Sequence[str], probe: Probe) -> int:
    if target is None:
        return int(values.argmax()) if values.size > 1 else int(values[0] > 0)
    if isinstance(target, str) and target.casefold() in (lower := [n.casefold() for n in names]):
        return lower.index(target.casefold())
    if isinstance(target, int | np.integer) or target.isdecimal():
        if 0 <= int(target) < len(names):
            return int(target)
        raise ConfigError(
            f"{probe.name}: there is no class {target}; they are 0 to {len(names) - 1}"
        )
    within = [n for n in names if f" {target.casefold()} " in f" {n.casefold()} "]
    if len(within) == 1:  # "tabby" of "tabby cat"
        return names.index(within[0])
    near = difflib.get_close_matches(target, names, 3, 0.5)
    hint = ", ".join(list(dict.fromkeys([*within, *near]))[:5]) or f"{', '.join(names[:5])} …"
    raise ConfigError(f"{probe.name} has no class {target!r}; the nearest are {hint}")


def _share(values: Array, chosen: int, squash: str) -> float:
    if values.size == 1:
        second = float(sigmoid(values)[0])
        return second if chosen else 1.0 - second
    if squash == "softmax":
        return float(softmax(values)[chosen])
    return float(sigmoid(values)[chosen] if squash == "sigmoid" else values[chosen])


def _over(heat: Array, given: Given, probe: Probe) -> tuple[Pixels, NDArray[np.float32]]:
    """Return the picture, and the heat over it, 0 to 1."""
    if given.picture is None:
        raise ModelError(
            f"{probe.name} takes {list(given.x.shape)}, which is no picture: Grad-CAM shows the "
            "places of pictures with 1 or 3 channels"
        )
    most = float(heat.max()) or 1.0
    spec = given.place
    if spec is None:
        return given.picture, _stretched(heat / most, *given.picture.shape[:2])
    height, width = given.x.shape[1:3] if given.x.shape[-1] == 3 else given.x.shape[2:4]
    whole = _stretched(heat / most, height, width)
    top, left = round(spec.offset_y), round(spec.offset_x)
    inside = whole[top : top + round(spec.height / spec.scale_y),
                   left : left + round(spec.width / spec.scale_x)]  # fmt: skip
    return given.picture, _stretched(inside, spec.height, spec.width)


def _stretched(heat: Array, height: int, width: int) -> NDArray[np.float32]:
    """Return a map in another size, linear between its cells."""
    cv2 = require("cv2", extra="camera", purpose="Grad-CAM")
    made = cv2.resize(np.ascontiguousarray(heat, np.float32), (width, height))
    return np.asarray(made, np.float32)
