"""Opening an ONNX model on a delegate."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from edgeml._require import require
from edgeml.errors import DelegateError
from edgeml.runtime._backend import Backend, Delegate
from edgeml.runtime._cache import CONTEXT, Assigned, engine_for
from edgeml.runtime._delegate import DelegateLike, first
from edgeml.runtime._errors import reason, translated
from edgeml.runtime._placement import CPU

log = logging.getLogger("edgeml.runtime")

_ASSIGNED: WeakKeyDictionary[Any, Assigned] = WeakKeyDictionary()

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
    opening = _Opening(model, threads, name, configure, disabled_optimizers)
    return first(delegate, "onnx", opening.on)


@dataclass(frozen=True)
class _Opening:
    """One model with all that its session shall have, whatever the delegate."""

    model: str | bytes
    threads: int
    name: str
    configure: Callable[[Any], None]
    disabled_optimizers: Sequence[str] | None

    def on(self, entry: Delegate, backend: Backend) -> Any:
        """Return a session on a delegate.

        Raises:
            DelegateError: the delegate cannot run the model.
            ModelFormatError: no delegate could.
        """
        name = self.name
        if "xnnpack" in entry.options:
            raise DelegateError(f"xnnpack= is for TFLite models, and {name} is ONNX")
        strict = entry.required and backend.name != "cpu"
        try:
            session = self._session(entry, backend, strict)
        except DelegateError:
            raise
        except Exception as error:
            if backend.name == "cpu" or type(error).__name__ in _OF_THE_FILE:
                with translated(name, loading=True):
                    raise
            if strict and "CPU EP has been explicitly disabled" in str(error):
                left = _left(self._session(entry, backend, False), entry, name)
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
        return backend.wrap(session, entry)

    def _session(self, entry: Delegate, backend: Backend, strict: bool) -> Any:
        """Return a session, with the engine that is kept where there is one."""

        def create(folder: Path | None, *, ready: bool) -> tuple[Any, Assigned]:
            source, options = self.model, self._options(entry, strict)
            changed = entry
            if backend.engines == "folder":
                kept = {**entry.options, "cache": str(folder) if folder else False}
                changed = Delegate(entry.name, entry.device, entry.required, **kept)
            elif folder is not None and ready:
                source = str(folder / CONTEXT)
            elif folder is not None:
                options.add_session_config_entry("ep.context_enable", "1")
                options.add_session_config_entry("ep.context_file_path", str(folder / CONTEXT))
                options.add_session_config_entry("ep.context_embed_mode", "0")  # loads faster
            providers = backend.attach(options, changed, self.threads)
            session = _runtime().InferenceSession(
                source, options, providers=providers or None, enable_fallback=0,
                disabled_optimizers=self.disabled_optimizers,
            )  # fmt: skip
            return session, assigned(session)

        engine = engine_for(self.model, entry, backend, self.threads, self.name)
        if engine is None:
            return create(None, ready=False)[0]
        session, nodes = engine.open(create)
        _ASSIGNED[session] = nodes
        return session

    def _options(self, entry: Delegate, strict: bool) -> Any:
        options = _runtime().SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # its errors come as exceptions
        options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
        if strict:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        for dim, size in entry.options.get("dims", {}).items():
            options.add_free_dimension_override_by_name(dim, size)
        self.configure(options)
        return options


def _runtime() -> Any:
    return require("onnxruntime", extra="cpu", purpose="An ONNX model")


def assigned(session: Any) -> Assigned:
    """Return (provider, nodes) of each part of the graph; [] where the runtime does not tell."""
    if (kept := _ASSIGNED.get(session)) is not None:  # a compiled engine is one node
        return kept
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
