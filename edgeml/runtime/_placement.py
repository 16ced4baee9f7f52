"""Where the nodes of a model run, how long they take, and what to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, overload

CPU = "CPUExecutionProvider"

_HEAVY = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul", "ConvTranspose")


_LITTLE = 0.02  # of the time
_DTYPES = {"fp32": "float", "fp16": "float16", "bf16": "bfloat16", "tf32": "tfloat32"}
_CAST = "InsertedPrecisionFreeCast_"  # begins the names of what it made of float16 nodes


@dataclass(frozen=True)
class PlacedNode:
    """Where a node of the model runs.

    Attributes:
        name: Name in the file, or what the runtime made of it when it fused nodes.
        op: Its operator, such as ``"Conv"``; of a fused node, its kernel.
        delegate: What runs it, such as ``"CPUExecutionProvider"``.
        kernel: With ``profile=True``, what ran, such as ``"QLinearConv"``.
        precision: With ``profile=True``, dtype of its first input, such as ``"uint8"``; of what a
            delegate compiled as one, or takes in float32, what it calculates in.
        share: With ``profile=True``, its part of the time of all nodes, 0 to 1.
    """

    name: str
    op: str
    delegate: str
    kernel: str | None = None
    precision: str | None = None
    share: float | None = None


@dataclass(frozen=True)
class Placement(Sequence[PlacedNode]):
    """Where each node of a model runs: a sequence of `PlacedNode`.

    Attributes:
        nodes: In the file's order; with ``profile=True``, the kernels that ran, the slowest
            first.
        advice: One sentence: what to change.
        partitions: With ``profile=True``, stretches of nodes that follow one another on the
            same delegate; each change between them costs a hand-over.
        copies: With ``profile=True``, copies between the memories of devices.
    """

    nodes: tuple[PlacedNode, ...]
    advice: str
    partitions: int | None = None
    copies: int | None = None

    @overload
    def __getitem__(self, index: int) -> PlacedNode: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[PlacedNode, ...]: ...
    def __getitem__(self, index: int | slice) -> PlacedNode | tuple[PlacedNode, ...]:
        """Return one node, or several."""
        return self.nodes[index]

    def __len__(self) -> int:
        """Return how many nodes there are."""
        return len(self.nodes)

    def __str__(self) -> str:
        """Return the nodes by delegate and operator, and the advice."""
        groups = Counter((node.delegate, node.op) for node in self.nodes)
        lines = [f"{n:5} {op} on {delegate}" for (delegate, op), n in groups.most_common()]
        return "\n".join([*lines, self.advice])


def from_profile(events: Iterable[dict[str, Any]], ops: dict[str, str], warm: int) -> Placement:
    """Return the placement that a profile of ONNX Runtime tells; its advice is still empty.

    Args:
        events: Of the profile, all runs one after another.
        ops: Operator by name of the nodes before they were fused.
        warm: How many runs to leave out.
    """
    runs: list[list[dict[str, Any]]] = [[]]
    for event in events:
        if event.get("name") == "model_run":
            runs.append([])
        elif event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            runs[-1].append(event)
    times: dict[tuple[str, ...], float] = {}
    for run in runs[warm:]:
        for event, own in _own_times(run):
            times[_key(event)] = times.get(_key(event), 0.0) + own
    total = sum(times.values()) or 1
    nodes = tuple(
        PlacedNode(
            name,
            ops.get(name.rpartition("_token_")[0] or name, kernel),
            provider,
            kernel,
            precision or None,
            time / total,
        )
        for (name, provider, kernel, precision), time in sorted(times.items(), key=lambda i: -i[1])
    )
    last = sorted(runs[-2], key=lambda event: event["ts"])
    stretches = [provider for provider, _ in groupby(e["args"]["provider"] for e in last)]
    copies = sum(event["args"]["op_name"].startswith("Memcpy") for event in last)
    return Placement(nodes, "", len(stretches), copies)


def with_precision(
    profiled: Placement, placed: Iterable[PlacedNode], provider: str, precision: str
) -> Placement:
    """Return a profile with what a delegate calculates in, where inputs do not tell.

    Args:
        profiled: Of the runtime.
        placed: The model's nodes.
        provider: The delegate's, as the runtime calls it.
        precision: What it calculates float32 models in, such as ``"fp16"``.
    """
    ops = {node.op for node in placed if node.delegate == provider}
    is_quantized = any(op.endswith("QuantizeLinear") for op in ops)

    def changed(node: PlacedNode) -> PlacedNode:
        is_fused = node.kernel not in ops  # many nodes, compiled as one
        if node.delegate != provider or node.precision in ("float16", "bfloat16"):
            return node
        if is_fused and is_quantized:
            return replace(node, precision="int8")
        if is_fused or node.precision == "float":
            return replace(node, precision=_DTYPES.get(precision, precision))
        return node

    return replace(profiled, nodes=tuple(map(changed, profiled)))


def _own_times(run: list[dict[str, Any]]) -> Iterable[tuple[dict[str, Any], float]]:
    """Yield each event with its time less that of the events in it: bodies of If and Loop."""
    own = {id(event): float(event["dur"]) for event in run}
    stack: list[dict[str, Any]] = []
    for event in sorted(run, key=lambda event: (event["ts"], -event["dur"])):
        while stack and stack[-1]["ts"] + stack[-1]["dur"] <= event["ts"]:
            stack.pop()
        if stack:
            own[id(stack[-1])] -= event["dur"]
        stack.append(event)
    return [(event, max(own[id(event)], 0.0)) for event in run]


def _key(event: dict[str, Any]) -> tuple[str, ...]:
    details = event["args"]
    shapes = details.get("input_type_shape") or [{}]
    precision = next(iter(shapes[0]), "")
    name = event["name"].removesuffix("_kernel_time")
    return name, details["provider"], details["op_name"], precision


def advise(placement: Placement, delegate: str, provider: str, free: Sequence[str]) -> str:
    """Return one sentence that says what to change.

    Args:
        placement: Of the model.
        delegate: What the user calls the delegate.
        provider: What the runtime calls it.
        free: Names of the model's free dimensions.
    """
    profiled = placement.partitions is not None
    if provider == CPU:
        return _of_cpu(placement) if profiled else f"All {len(placement)} nodes run on the CPU."
    left = [node for node in placement if node.delegate == CPU]
    if not left:
        return f"Every node runs on {delegate}: nothing is left to the CPU."
    if len(left) == len(placement):
        fix = f"; fix its free dimensions with dims= ({', '.join(free)})" if free else ""
        return f"{delegate} takes none of the model's nodes, so all run on the CPU{fix}."
    ops = Counter(node.op for node in left)
    if not profiled:
        return f"{_named(ops)} stay on the CPU; placement(profile=True) tells what time they take."
    share = sum(node.share or 0 for node in left)
    if share < _LITTLE:
        return f"{_named(ops)} stay on the CPU for {share:.1%} of the time: nothing to gain there."
    return (
        f"{_named(ops)} keep {share:.0%} of the time on the CPU, in {placement.partitions} "
        f"partitions; export the model with operators that {delegate} takes instead."
    )


def _named(ops: Counter[str]) -> str:
    """Return such as "12 HardSwish and 3 Resize nodes"."""
    shown = [f"{n} {op}" for op, n in ops.most_common(3)]
    if len(ops) > 3:
        shown.append(f"{ops.total() - sum(n for _, n in ops.most_common(3))} other")
    text = " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
    return f"{text} nodes"


def _of_cpu(placement: Placement) -> str:
    shares: dict[tuple[str, str], float] = {}
    for node in placement:
        key = (node.kernel or node.op, node.precision or "")
        shares[key] = shares.get(key, 0.0) + (node.share or 0.0)
    if not shares:
        return "No node is left to run: the runtime calculated all when it loaded the model."
    (kernel, precision), share = max(shares.items(), key=lambda item: item[1])
    text = f"All {len(placement)} kernels run on the CPU; {kernel} takes {share:.0%} of the time"
    if any(node.name.startswith(_CAST) for node in placement):
        return (
            f"{text}; its float16 is calculated in float32 on a CPU, with casts and less fused: "
            "use a float32 file, or edgeml optimize to make it int8."
        )
    if precision == "float" and kernel in _HEAVY:
        return f"{text}, in float32: edgeml optimize makes it int8."
    return f"{text}."
