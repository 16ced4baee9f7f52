"""A graph as a session of ONNX Runtime."""

from __future__ import annotations

from typing import Any

from edgeml.platform import cores
from edgeml.runtime._delegate import DelegateLike
from edgeml.runtime._open import open_onnx


def open_session(
    model: Any,
    *,
    threads: int | None = None,
    name: str = "the graph",
    delegate: DelegateLike = "cpu",
    spin: bool = False,
    plan_memory: bool = True,
) -> Any:
    """Return an ``onnxruntime.InferenceSession`` of a ModelProto.

    Args:
        model: An ``onnx.ModelProto``.
        threads: Threads of one call; None is all cores that the process may use.
        name: What errors call the graph.
        delegate: Where it runs, as in `edgeml.load`.
        spin: Whether its threads wait actively within a run; between runs they sleep.
        plan_memory: Whether later runs take their memory as one block, as the first one's pieces
            would fit into it: faster, for about twice the memory.

    Raises:
        DelegateError: no delegate can be had.
        ModelFormatError: the runtime does not take the graph.
    """

    def configure(options: Any) -> None:
        options.enable_mem_pattern = plan_memory
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.add_session_config_entry("session.force_spinning_stop", "1")

    session, _ = open_onnx(
        model.SerializeToString(), delegate, threads=threads or cores(), name=name,
        configure=configure,
        disabled_optimizers=None if _has_fixed_kernels(model) else ["NchwcTransformer"],
    )  # fmt: skip
    return session


def _has_fixed_kernels(model: Any) -> bool:
    """Return whether a convolution's weights are constants.

    Only those run in the runtime's blocked layout. Without any, pools alone would be taken there
    and back.
    """
    constants = {constant.name for constant in model.graph.initializer}
    return any(n.op_type == "Conv" and n.input[1] in constants for n in model.graph.node)
