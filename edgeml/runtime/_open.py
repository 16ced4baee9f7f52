"""Opening an ONNX model on a delegate."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from edgeml._require import require
from edgeml.errors import DelegateError
from edgeml.runtime._backend import Backend, Delegate
from edgeml.runtime._delegate import DelegateLike, first
from edgeml.runtime._errors import reason, translated
from edgeml.runtime._placement import CPU

log = logging.getLogger("edgeml.runtime")

# What the runtime raises of a file that no delegate could run.
_OF_THE_FILE = ("InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile")


def open_onnx(
    model: str | bytes,
    delegate: DelegateLike,
    *,
    threads: int,
    name: str,
    configure: Callable[[Any], None],
    disabled_optimizers: Sequence[str] | None = None,
) -> tuple[Any, Delegate]:
    """Return an ``onnxruntime.InferenceSession``, and the delegate that it is on.

    Args:
        model: A file's path, or a serialized ModelProto.
        delegate: Where to run it; the first that can be had.
        threads: Threads of one call.
        name: What errors call the model.
        configure: Sets what the caller wants in the session's options.
        disabled_optimizers: Rewritings of the graph that the runtime should not do.

    Raises:
        DelegateError: no delegate can be had.
        ModelFormatError: the runtime does not take the model.
    """

    def make(entry: Delegate, backend: Backend) -> Any:
        if "xnnpack" in entry.options:
            raise DelegateError(f"xnnpack= is for TFLite models, and {name} is ONNX")
        strict = entry.required and backend.name != "cpu"
        try:
            session = _session(entry, backend, strict)
        except DelegateError:
            raise
        except Exception as error:
            if backend.name == "cpu" or type(error).__name__ in _OF_THE_FILE:
                with translated(name, loading=True):
                    raise
            if strict and "CPU EP has been explicitly disabled" in str(error):
                left = _left(_session(entry, backend, False), entry, name)
                raise DelegateError(
                    f"{left}, and ! asks it to take all; without the ! they run on the CPU"
                ) from error
            raise DelegateError(f"it failed to open {name}: {reason(error)}") from error
        if backend.provider not in session.get_providers():
            raise DelegateError(
                f"the runtime opened {name} without {backend.provider} and does not say why; "
                "their versions may not fit together"
            )
        if not strict and (left := _left(session, entry, name)):
            log.warning("delegate %s: %s: they run on the CPU", entry, left)
        return session

    def _session(entry: Delegate, backend: Backend, strict: bool) -> Any:
        ort = require("onnxruntime", extra="cpu", purpose="An ONNX model")
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors come as exceptions
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if strict:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        for dim, size in entry.options.get("dims", {}).items():
            options.add_free_dimension_override_by_name(dim, size)
        configure(options)
        providers = backend.attach(options, entry, threads)
        return ort.InferenceSession(
            model, options, providers=providers or None, enable_fallback=0,
            disabled_optimizers=disabled_optimizers,
        )  # fmt: skip

    return first(delegate, "onnx", make)


def assigned(session: Any) -> list[tuple[str, list[Any]]]:
    """Return (provider, nodes) of each part of the graph; [] where the runtime does not tell."""
    if not hasattr(session, "get_provider_graph_assignment_info"):  # before 1.24
        return []
    return [
        (part.ep_name, list(part.get_nodes()))
        for part in session.get_provider_graph_assignment_info()
    ]


def _left(session: Any, entry: Delegate, name: str) -> str:
    """Return in words which nodes a delegate left to the CPU; nothing when there are none."""
    parts = assigned(session)
    left = Counter(node.op_type for part, nodes in parts if part == CPU for node in nodes)
    if not left or entry.name == "cpu":
        return ""
    of = sum(len(nodes) for _, nodes in parts)
    ops = ", ".join(f"{count} {op}" for op, count in left.most_common(5))
    more = f" and {len(left) - 5} more kinds" if len(left) > 5 else ""
    return f"it does not take {left.total()} of the {of} nodes of {name} ({ops}{more})"
