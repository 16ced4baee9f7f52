"""Several training steps as one graph: the step is the body of a Scan over the batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeml.graph._infer import onnx
from edgeml.training._state import State

_BODY = "step/"


def several(step: Any, state: State, count: int) -> Any:
    """Return the ModelProto of `count` steps, one after the other.

    Inputs and outputs keep their names. What a step changes goes from step to step; everything
    else (batches, learning rates, seeds; losses, outputs) has the steps as its first axis.

    Args:
        step: The ModelProto of one step.
        state: What it changes.
        count: Number of steps.
    """
    helper = onnx().helper
    held = [*state.vectors, *(f"other/{i}" for i in range(len(state.others)))]
    body = onnx().compose.add_prefix(step, _BODY).graph
    given = {info.name.removeprefix(_BODY): info for info in body.input}
    made = {info.name.removeprefix(_BODY): info for info in body.output}
    carried = [name for name in held if name in given or f"new/{name}" in made]
    _cut_parameters(body, state, [name for name in given if name.startswith("parameter/")])
    for name in carried:
        _carry(body, name, given, made)
    fed = [name for name in given if name not in carried and not name.startswith("parameter/")]
    told = [name for name in made if not name.startswith("new/")]
    scan = helper.make_node(
        "Scan", [*carried, *fed], [*(f"new/{name}" for name in carried), *told],
        body=helper.make_graph(
            body.node, "step", [given[name] for name in (*carried, *fed)],
            [*(made[f"new/{name}"] for name in carried), *(made[name] for name in told)],
            body.initializer,
        ), num_scan_inputs=len(fed),
    )  # fmt: skip
    graph = helper.make_graph(
        [scan], "steps",
        [_info(n, given[n]) for n in carried] + [_info(n, given[n], count) for n in fed],
        [_info(f"new/{n}", made[f"new/{n}"]) for n in carried]
        + [_info(n, made[n], count) for n in told],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=step.opset_import)
    model.ir_version = step.ir_version
    model.metadata_props.extend(step.metadata_props)
    return model


def _cut_parameters(body: Any, state: State, names: list[str]) -> None:
    """Cut the vector in the body: within a Scan a parameter cannot be a view of given memory."""
    helper = onnx().helper
    pieces = [f"{_BODY}piece/{i}" for i in range(len(state.sizes))]
    sizes = onnx().numpy_helper.from_array(np.array(state.sizes, np.int64), f"{_BODY}sizes")
    nodes = [helper.make_node("Split", [f"{_BODY}parameters", sizes.name], pieces, axis=0)]
    body.initializer.append(sizes)
    for name in names:
        i = int(name.removeprefix("parameter/"))
        shape = onnx().numpy_helper.from_array(
            np.array(state.shapes[i], np.int64), f"{_BODY}shape/{i}"
        )
        body.initializer.append(shape)
        nodes.append(helper.make_node("Reshape", [pieces[i], shape.name], [_BODY + name]))
    nodes += body.node
    del body.node[:]
    body.node.extend(nodes)


def _carry(body: Any, name: str, given: dict[str, Any], made: dict[str, Any]) -> None:
    """Make sure that a body takes and returns what goes from step to step."""
    result = f"new/{name}"
    if result not in made:
        made[result] = onnx().ValueInfoProto()
        made[result].CopyFrom(given[name])
        made[result].name = _BODY + result
        body.node.append(onnx().helper.make_node("Identity", [_BODY + name], [_BODY + result]))
    elif name not in given:
        given[name] = onnx().ValueInfoProto()
        given[name].CopyFrom(made[result])
        given[name].name = _BODY + name


def _info(name: str, like: Any, count: int | None = None) -> Any:
    """Return the type of an input or output, for all steps together."""
    tensor = like.type.tensor_type
    shape = [dim.dim_value for dim in tensor.shape.dim]
    return onnx().helper.make_tensor_value_info(
        name, tensor.elem_type, shape if count is None else [count, *shape]
    )
