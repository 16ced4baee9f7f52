"""Models of layers as files: one ``.onnx`` that any tool runs, with the layers in its metadata."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.errors import ModelFormatError, ModelNotFound, ShapeError
from edgeml.graph import Graph, Node, Tensor, from_onnx, to_onnx
from edgeml.graph._infer import onnx
from edgeml.graph._tree import leaves, map_leaves
from edgeml.layers._config import deserialize, serialize
from edgeml.layers._functional import Input, replay
from edgeml.layers._layer import Call, Layer, shape_of
from edgeml.layers._lora import adapters_of, without_adapters
from edgeml.layers._parameter import Parameter
from edgeml.training._files import writing
from edgeml.training._model import Model
from edgeml.training._sequential import Sequential

SCHEMA = 1
_log = logging.getLogger("edgeml.training")


def inference_graph(model: Model) -> Graph:
    """Return the model's graph for inference: any batch, dropout and normalization as nodes."""
    if not model.built or not (model.inputs or model.known_inputs):
        raise ModelFormatError(
            f"{model.name} is not built yet: train it, call it once, or start it with an Input"
        )
    graph = Graph()
    with graph:
        if model.inputs:
            x = [graph.input(x.name, x.dtype, x.shape) for x in model.inputs]
            result = model(x[0] if len(x) == 1 else x)
        else:
            known = {
                name: graph.input(name, dtype, ("batch", *shape[1:]))
                for name, (shape, dtype) in model.known_inputs.items()
            }
            result = model(model.arrange(known))
    made = leaves(result)
    names = model.output_names if len(set(model.output_names)) == len(made) else []
    for i, tensor in enumerate(made):
        graph.outputs[names[i] if names else "output" if len(made) == 1 else f"output_{i}"] = tensor
    return graph


def save(model: Model, path: Path) -> None:
    """Write a model; see `Model.save`. Adapters are merged into the weights that they change."""
    adapters = {adapter.weight: adapter for adapter in adapters_of(model)}
    beside = {id(p) for adapter in adapters.values() for p in (adapter.a, adapter.b)}
    weights = [p for p in model.weights if id(p) not in beside]
    with without_adapters():
        graph = inference_graph(model)
    names: dict[Tensor, str] = {}
    proto = to_onnx(graph, name=model.name, names=names)
    changed = {
        names[tensor]: adapters[tensor.parameter].merged()
        for tensor in graph.parameters if tensor in names and tensor.parameter in adapters
    }  # fmt: skip
    set_initializers(proto, changed)
    index = {id(parameter): i for i, parameter in enumerate(weights)}
    parameters = {
        names[tensor]: _described(tensor.parameter, index[id(tensor.parameter)])
        for tensor in graph.parameters
        if tensor in names
    }
    seen = {entry["index"] for entry in parameters.values()}
    for i, parameter in enumerate(weights):
        if i not in seen:  # not used by inference: loading gives it back all the same
            name = f"unused/{parameter.path}"
            proto.graph.initializer.append(onnx().numpy_helper.from_array(parameter.value, name))
            parameters[name] = _described(parameter, i)
    for key, value in (
        ("edgeml.schema", SCHEMA), ("edgeml.layers", describe(model)),
        ("edgeml.parameters", parameters), ("edgeml.compile", _compiled(model)),
        ("edgeml.user", model.get_user_defined_metadata()),
    ):  # fmt: skip
        if not value:
            continue
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, json.dumps(value)
    content = proto.SerializeToString()
    with writing(path) as file:
        file.write(content)


def _compiled(model: Model) -> dict[str, Any]:
    try:
        return model.get_compile_config()
    except ModelFormatError as error:
        _log.info("the file of %s does not say how it was compiled: %s", model.name, error)
        return {}


def set_initializers(proto: Any, values: Mapping[str, Any]) -> None:
    """Give initializers of a ModelProto other values, by name."""
    for tensor in proto.graph.initializer:
        if tensor.name in values:
            tensor.CopyFrom(onnx().numpy_helper.from_array(values[tensor.name], tensor.name))


def _described(parameter: Parameter, index: int) -> dict[str, Any]:
    return {
        "index": index, "path": parameter.path, "shape": list(parameter.shape),
        "trainable": parameter.trainable,
    }  # fmt: skip


def describe(model: Model) -> dict[str, Any]:
    """Return the layers, and how they are connected, as JSON values."""
    if isinstance(model, Sequential):
        start = model.inputs[0] if model.inputs else None
        return {
            "kind": "sequential", "name": model.name,
            "input": _input_config(start) if start is not None else None,
            "layers": [_layer_config(layer) for layer in model.layers],
        }  # fmt: skip
    if not model.inputs:
        return {"kind": "subclass", "name": model.name, "class": type(model).__name__,
                "module": type(model).__module__, "config": model.get_config()}  # fmt: skip
    return _describe_functional(model)


def _layer_config(layer: Layer) -> dict[str, Any]:
    if isinstance(layer, Model) and (layer.inputs or isinstance(layer, Sequential)):
        return {"model": describe(layer)}
    return serialize(layer)  # type: ignore[no-any-return]


def _input_config(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": str(tensor.dtype), "shape": list(shape_of(tensor))[1:]}


def _describe_functional(model: Model) -> dict[str, Any]:
    numbers: dict[Tensor, int] = {}

    def number(tensor: Tensor) -> int:
        return numbers.setdefault(tensor, len(numbers))

    def refer(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return serialize(value)
        if value in numbers or value.value is None:
            return {"tensor": number(value)}
        return {"constant": serialize(np.asarray(value.value))}

    inputs = [{**_input_config(x), "tensor": number(x)} for x in model.inputs]
    layers = {id(layer): i for i, layer in enumerate(model.layers)}
    calls = []
    for entry in model.entries:
        if isinstance(entry, Call):
            calls.append({
                "layer": layers[id(entry.layer)], "args": _refer(refer, entry.args),
                "kwargs": _refer(refer, entry.kwargs),
                "result": [number(y) for y in leaves(entry.result)],
            })  # fmt: skip
        else:
            calls.append(_describe_node(entry, refer, number))
    return {
        "kind": "functional", "name": model.name, "inputs": inputs, "calls": calls,
        "layers": [_layer_config(layer) for layer in model.layers],
        "outputs": _refer(refer, model.output_tree),
        "input_tree": _refer(refer, model.input_tree),
    }  # fmt: skip


def _refer(refer: Any, tree: Any) -> Any:
    return map_leaves(refer, list(tree) if isinstance(tree, tuple) else tree)


def _describe_node(node: Node, refer: Any, number: Any) -> dict[str, Any]:
    return {
        "op": node.op, "domain": node.domain,
        "attributes": {key: serialize(value) for key, value in node.attributes.items()},
        "inputs": [None if x is None else refer(x) for x in node.inputs],
        "result": [number(y) for y in node.outputs if y is not None],
    }  # fmt: skip


def build(config: dict[str, Any]) -> Model:
    """Return the model that `describe` described, with new weights."""
    if config["kind"] == "subclass":
        found = deserialize({"class": config["class"], "module": config["module"],
                             "config": config["config"]})  # fmt: skip
        if not isinstance(found, Model):
            raise ModelFormatError(f"{config['class']} is no edgeml.Model")
        return found
    layers = [
        build(entry["model"]) if "model" in entry else deserialize(entry)
        for entry in config["layers"]
    ]
    if config["kind"] == "sequential":
        start = config["input"]
        first = [Input(start["shape"], dtype=start["dtype"], name=start["name"])] if start else []
        return Sequential([*first, *layers], name=config["name"])
    return _build_functional(config, layers)


def _build_functional(config: dict[str, Any], layers: Sequence[Layer]) -> Model:
    tensors: dict[int, Tensor] = {
        entry["tensor"]: Input(entry["shape"], dtype=entry["dtype"], name=entry["name"])
        for entry in config["inputs"]
    }
    first = next(iter(tensors.values()))
    for other in tensors.values():
        if other.graph is not first.graph:
            first.graph.merge(other.graph)

    def find(value: Any) -> Any:
        if isinstance(value, dict) and "tensor" in value:
            return tensors[value["tensor"]]
        if isinstance(value, dict) and "constant" in value:
            array = deserialize(value["constant"])
            return first.graph.constant(array, array.dtype)
        if isinstance(value, list):
            return [find(item) for item in value]
        if isinstance(value, dict) and not {"class", "function", "array"} & set(value):
            return {key: find(item) for key, item in value.items()}
        return deserialize(value)

    for call in config["calls"]:
        if "layer" in call:
            result = layers[call["layer"]](*find(call["args"]), **find(call["kwargs"]))
            made = leaves(result)
        else:
            attributes = {key: deserialize(value) for key, value in call["attributes"].items()}
            inputs = [None if x is None else find(x) for x in call["inputs"]]
            node = first.graph.node(
                call["op"], inputs, attributes, outputs=len(call["result"]), domain=call["domain"]
            )
            made = [y for y in node.outputs if y is not None]
        tensors.update(zip(call["result"], made, strict=True))
    return Model(find(config["input_tree"]), find(config["outputs"]), name=config["name"])


def load_model(path: Any, compile: bool = True) -> Model:
    """Read a model that `Model.save` wrote.

    A file whose layers are not known here (of an unregistered class, or written by another tool)
    becomes a model of its graph: it predicts and trains, and has no layers to look at.

    Args:
        path: An ``.onnx`` file.
        compile: Whether to compile it as it was when it was saved; a loss or metric of one's own
            must be registered (`edgeml.layers.register`), or the model is not compiled.

    Raises:
        ModelNotFound: there is no such file.
        ModelFormatError: it is no ONNX model, or of a newer schema.

    Example:
        >>> import numpy as np, edgeml
        >>> model = edgeml.Sequential([edgeml.Input((2,)), edgeml.layers.Dense(1)])
        >>> model.save("/tmp/edgeml-example.onnx")
        >>> again = edgeml.load_model("/tmp/edgeml-example.onnx")
        >>> bool(np.all(again.predict(np.ones((1, 2))) == model.predict(np.ones((1, 2)))))
        True
    """
    file = Path(path)
    if not file.is_file():
        raise ModelNotFound(f"there is no model file {file}", path=str(file))
    try:
        proto = onnx().load(str(file))
    except Exception as error:
        raise ModelFormatError(f"{file} is not an ONNX model: {error}", path=str(file)) from error
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    if int(metadata.get("edgeml.schema", SCHEMA)) > SCHEMA:
        raise ModelFormatError(
            f"{file} has schema {metadata['edgeml.schema']}, and this version reads up to "
            f"{SCHEMA}: update edgeml-runtime",
            path=str(file),
        )
    if "edgeml.layers" not in metadata:
        return _graph_model(proto)
    try:
        model = build(json.loads(metadata["edgeml.layers"]))
    except ModelFormatError:
        return _graph_model(proto)
    _ensure_built(model, proto)
    arrays = {t.name: onnx().numpy_helper.to_array(t) for t in proto.graph.initializer}
    described = json.loads(metadata["edgeml.parameters"])
    _set_weights(model, described, arrays)
    model.set_user_defined_metadata(json.loads(metadata.get("edgeml.user", "{}")))
    if compile:
        try:
            model.compile_from_config(json.loads(metadata.get("edgeml.compile", "{}")))
        except ModelFormatError as error:
            _log.info("%s is loaded, and not compiled: %s", file, error)
    return model


def _ensure_built(model: Model, proto: Any) -> None:
    if model.built and model.inputs:
        return
    graph = from_onnx(proto)
    shapes = [
        (x.name, (2, *[d if isinstance(d, int) else 1 for d in x.known_shape[1:]]), x.dtype)
        for x in graph.inputs
    ]
    model.build_from({str(name): (shape, dtype) for name, shape, dtype in shapes})


def _set_weights(model: Model, described: dict[str, Any], arrays: dict[str, Any]) -> None:
    """Set the weights by their place: automatic names count on from model to model."""
    own = model.weights
    places = {entry["index"]: name for name, entry in described.items()}
    if sorted(places) != list(range(len(own))):
        raise ModelFormatError(
            f"the file holds {len(places)} weights, and its layers have {len(own)}"
        )
    for i, parameter in enumerate(own):
        parameter.value = arrays[places[i]]


class OnnxGraph(Layer):
    """The graph of an ONNX file as one layer; its float initializers are the parameters.

    Args:
        content: The file's bytes.
    """

    def __init__(self, content: bytes, *, name: str = "", trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self._source = from_onnx(onnx().load_from_string(content))
        self._weights: dict[str, Any] = {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Layer:
        """Refuse: a description holds no graph, and the whole file becomes one layer again."""
        raise ModelFormatError(f"{config.get('name')}: the layer is the graph of another file")

    def build(self, input_shape: Any) -> None:
        """Take over the initializers."""
        from edgeml.graph import live_nodes

        for node in live_nodes(self._source.outputs.values()):
            for x in node.inputs:
                value = x.value if x is not None and x.producer is None else None
                if (x is not None and value is not None and x.name and not x.from_constant
                        and value.dtype.kind == "f" and x.name not in self._weights):  # fmt: skip
                    array = np.array(value)
                    self._weights[x.name] = self.add_weight(
                        x.name, value.shape, lambda _s, _r, a=array: a, dtype=value.dtype
                    )

    def call(self, *args: Any) -> Any:
        """Run the file's nodes on other inputs."""
        from edgeml.graph import current_graph, live_nodes

        graph = current_graph()
        assert graph is not None
        known: dict[Tensor, Tensor] = dict(zip(self._source.inputs, leaves(list(args)),
                                               strict=True))  # fmt: skip
        nodes = live_nodes(self._source.outputs.values())
        for node in nodes:
            for x in node.inputs:
                if x is not None and x.name in self._weights and x not in known:
                    known[x] = graph.parameter(self._weights[x.name])
        replay(nodes, known, graph)
        made = [known[y] for y in self._source.outputs.values()]
        return made[0] if len(made) == 1 else made


def _graph_model(proto: Any) -> Model:
    layer = OnnxGraph(proto.SerializeToString())
    inputs = [Input(shape_of(x)[1:], dtype=x.dtype, name=str(x.name)) for x in layer._source.inputs]
    return Model(inputs if len(inputs) > 1 else inputs[0], layer(*inputs))


def save_weights(model: Model, path: Path) -> None:
    """Write all weights by path; see `Model.save_weights`."""
    arrays = {p.path: p.value for p in model.weights}
    with writing(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def load_weights(model: Model, path: Path) -> None:
    """Read weights by path; see `Model.load_weights`."""
    if path.suffix == ".onnx":
        model.set_weights(load_model(path).get_weights())
        return
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise ModelNotFound(f"there is no file {path}", path=str(path)) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelFormatError(f"{path} holds no weights: {error}", path=str(path)) from error
    for parameter in model.weights:
        if parameter.path not in arrays:
            raise ShapeError(
                f"{path} lacks the weights {parameter.path!r}; it has {', '.join(arrays)}",
                where=parameter.path,
            )
        parameter.value = arrays[parameter.path]


def model_from_json(text: str) -> Model:
    """Return the model that `Model.to_json` described, with new weights.

    Raises:
        ModelFormatError: a layer's class is not known here.

    Example:
        >>> import edgeml
        >>> model = edgeml.Sequential([edgeml.Input((2,)), edgeml.layers.Dense(3)])
        >>> edgeml.training.model_from_json(model.to_json()).output_shape
        (None, 3)
    """
    return build(json.loads(text))
