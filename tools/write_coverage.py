"""Write docs/coverage.md: which operators of the standard have a gradient, and which do not.

python tools/write_coverage.py [FILE]
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
from onnx import helper
from onnxruntime.capi import onnxruntime_pybind11_state as native

from edgeml.graph import supported_ops
from edgeml.graph._rules import _lowerings, _rules

PAGE = Path(__file__).resolve().parents[1] / "docs" / "coverage.md"
Category = onnx.defs.OpSchema.DifferentiationCategory

# Operators that take real numbers and have no gradient here: why, and the nearest way out.
MISSING = {
    "Compress": "how many values it returns depends on the data; `Gather` with constant indices",
    "ConcatFromSequence": "sequences have no gradient; `Concat`",
    "MelWeightMatrix": "has no rule, and needs none: it is a constant; `edgeml.ops.mel_filterbank`",
    "QLinearConv": "integers in one operator; export with QuantizeLinear and DequantizeLinear",
    "QLinearMatMul": "integers in one operator; export with QuantizeLinear and DequantizeLinear",
    "SequenceMap": "sequences have no gradient; `Scan`",
    "SplitToSequence": "sequences have no gradient; `Split`",
    "Unique": "how many values it returns depends on the data",
}
SEQUENCES = "sequences and optional values have no gradient; tensors with `Split` and `Concat`"
# What of an operator with a rule is refused.
LIMITS = {
    "CumProd": "with a constant axis",
    "Col2Im": "with constant sizes",
    "DFT": "with constant length and axis",
    "GRU": "without `clip`",
    "If": "sides of equal shapes",
    "LSTM": "without `clip`, `input_forget` and peepholes",
    "Loop": "a constant number of steps, at most 512; it may end early if it gives out no values",
    "MaxRoiPool": "places count as constants",
    "Pad": "with constant widths",
    "RNN": "without `clip`",
    "Resize": "with constant sizes",
    "RoiAlign": "mode `avg`; places count as constants",
    "STFT": "with constant step and length",
    "Scan": "at most 512 steps",
    "Slice": "with constant ranges",
    "Tile": "with constant repeats",
}

HEAD = """# Operator coverage

Which operators can be differentiated: what stands between a loss and the weights that are trained,
or the inputs that a gradient is taken of. What comes before is only run, and may be anything.
This page is written by `tools/write_coverage.py`, with onnx {onnx} (opset {opset}) and
ONNX Runtime {ort} (up to opset {newest}).

- **Gradient**: *rule*: a recipe for the gradient, in that file of `edgeml/graph/rules`. *Lowered*:
  replaced, in the training graph, by operators that have rules. *Definition*: replaced by the
  function that the standard defines the operator with. *None*: it passes no gradient on.
  **Refused**: `NoGradient` is raised before anything is run; then comes the nearest way out.
- **Kernel**: the opset since which ONNX Runtime's CPU provider has a kernel for it. *Definition*:
  it has none, and runs the standard's function. *Newer*: the operator is newer than the runtime.

Each rule is tested against finite differences and, where it has the operator, PyTorch.
For an operator that is refused, train only what comes after it (`trainable="head"`), stop the
gradient before it (`edgeml.ops.stop_gradient`), or give it a rule (`edgeml.graph.rule`).
"""

OTHERS = """The standard does not call these differentiable; those that are have a gradient all the
same. What takes no real numbers is left out.
"""


def schemas() -> dict[str, Any]:
    """Return the newest version of each standard operator that is not deprecated."""
    found: dict[str, Any] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        older = found.get(schema.name)
        if not schema.domain and (older is None or older.since_version < schema.since_version):
            found[schema.name] = schema
    return {name: schema for name, schema in sorted(found.items()) if not schema.deprecated}


def is_differentiable(schema: Any) -> bool:
    """Return whether the standard says so of an input and an output."""
    return all(
        any(x.differentiation_category == Category.Differentiable for x in side)
        for side in (schema.inputs, schema.outputs)
    )


def has_definition(schema: Any) -> bool:
    """Return whether the standard has a function for it that can be written out."""
    bodies = any(a.type == onnx.defs.OpSchema.AttrType.GRAPH for a in schema.attributes.values())
    return not bodies and bool(schema.has_function or schema.has_context_dependent_function)


def takes_reals(schema: Any) -> bool:
    return any("float" in kind for x in schema.inputs for kind in x.types)


def gradient(schema: Any, known: dict[str, str]) -> str:
    """Return how an operator is differentiated, or why not.

    Raises:
        LookupError: nothing is said about it here.
    """
    key, how = ("", schema.name), known.get(schema.name)
    if how in ("rule", "lowered"):
        where = (_rules if how == "rule" else _lowerings)[key].__module__.rpartition(".")[2]
        limit = f"; {LIMITS[schema.name]}" if schema.name in LIMITS else ""
        return f"{how}, `{where}.py`{limit}"
    if how is not None:
        return how
    if has_definition(schema):
        return "definition"
    reason = MISSING.get(schema.name)
    if reason is None and schema.name.startswith(("Sequence", "Optional")):
        reason = SEQUENCES
    if reason is not None:
        return f"**refused**: {reason}"
    raise LookupError(f"{schema.name} has no gradient: give it a rule, or say here why it has none")


def newest_opset() -> int:
    """Return the newest opset that the installed runtime takes."""
    value = helper.make_tensor_value_info("x", 1, [1])
    other = helper.make_tensor_value_info("y", 1, [1])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [value], [other])
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    for opset in range(onnx.defs.onnx_opset_version(), 0, -1):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # the runtime's own classes of errors have no common base
            continue
        return opset
    raise RuntimeError("the runtime takes no opset")


def kernels() -> dict[str, int]:
    """Return the version of the newest kernel of each standard operator on the CPU."""
    found: dict[str, int] = {}
    for kernel in native.get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider" and kernel.domain in ("", "ai.onnx"):
            found[kernel.op_name] = max(kernel.version_range[0], found.get(kernel.op_name, 0))
    return found


def kernel(schema: Any, made: dict[str, int], newest: int) -> str:
    if schema.name in made:
        return str(made[schema.name])
    if min(_versions(schema.name)) > newest:
        return "newer"
    has_function = schema.has_function or schema.has_context_dependent_function
    return "definition" if has_function else "no"


def _versions(name: str) -> list[int]:
    every = onnx.defs.get_all_schemas_with_history()
    return [x.since_version for x in every if x.name == name and not x.domain]


def table(chosen: list[Any], known: dict[str, str], newest: int) -> list[str]:
    made = kernels()
    rows = [
        f"| {schema.name} | {schema.since_version} | {gradient(schema, known)} | "
        f"{kernel(schema, made, newest)} |"
        for schema in chosen
    ]
    return ["| Operator | Since | Gradient | Kernel |", "|---|---|---|---|", *rows, ""]


def page() -> str:
    """Return the page's text."""
    known, newest = supported_ops(), newest_opset()
    every = schemas()
    differentiable = [schema for schema in every.values() if is_differentiable(schema)]
    others = [
        schema for name, schema in every.items()
        if not is_differentiable(schema) and (name in known or takes_reals(schema))
    ]  # fmt: skip
    head = HEAD.format(
        onnx=onnx.__version__, opset=onnx.defs.onnx_opset_version(),
        ort=onnxruntime.__version__, newest=newest,
    )  # fmt: skip
    given = sum(schema.name not in MISSING for schema in differentiable)
    lines = [
        head,
        "## Differentiable, says the standard\n",
        f"{given} of {len(differentiable)} have a gradient, or are known to pass none on.\n",
        *table(differentiable, known, newest),
        "## The others\n",
        OTHERS,
        *table(others, known, newest),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    target.write_text(page(), encoding="utf-8")
