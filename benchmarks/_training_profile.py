"""Where a training step's time goes, by operator, from ONNX Runtime's own profile."""

from __future__ import annotations

import json
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnxruntime as ort
from _report import Report, Row
from _training_models import CASES

import edgeml
from edgeml.platform import cores
from edgeml.training import _step

LOSS = edgeml.losses.SparseCategoricalCrossentropy(from_logits=True)
# The steps that do not reach what was aimed at.
PROFILED = (("CNN 28x28", 32), ("depthwise-separable", 8), ("LSTM", 32), ("MLP", 32))
STEPS, SHOWN = 20, 5


def run(report: Report) -> None:
    """Add a row for each of the operators that take most of a step."""
    for name, batch in PROFILED:
        case = next(case for case in CASES if name in case.name)
        took, whole = _profile(case, batch)
        for op, microseconds in sorted(took.items(), key=lambda item: -item[1])[:SHOWN]:
            report.add(Row(
                f"{case.name}, batch {batch}", f"of which in {op}", "ms", "lower",
                ours=microseconds / 1e3, threads=cores(), batch=batch,
                note=f"{microseconds / whole:.0%} of the run's {whole / 1e3:.3g} ms, which the "
                "profiler makes longer",
            ))  # fmt: skip


def _profile(case: Any, batch: int) -> tuple[dict[str, float], float]:
    """Return microseconds a step by operator, and of the whole run."""
    from training import data_for

    with tempfile.TemporaryDirectory() as folder, _profiled(Path(folder)) as sessions:
        model = case.ours()
        model.compile(edgeml.optimizers.Adam(1e-3), LOSS)
        x, y = data_for(case, batch * STEPS)
        for _ in range(2):
            model.fit(x, y, batch_size=batch, verbose=0, shuffle=False)
        events = json.loads(Path(sessions[-1].end_profiling()).read_text())
    runs = [event for event in events if event["name"] == "model_run"][STEPS:]
    kernels = [
        event for event in events
        if event["name"].endswith("_kernel_time") and event["ts"] >= runs[0]["ts"]
    ]  # fmt: skip
    took: dict[str, float] = defaultdict(float)
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in _outermost(kernels):
        nodes[event["args"]["op_name"], event["name"]].append(event["dur"])
    for (op, _), durations in nodes.items():
        took[op] += statistics.median(durations)
    return took, statistics.median(event["dur"] for event in runs)


def _outermost(kernels: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what does not run within another kernel: a Scan's body counts as the Scan."""
    end = 0
    for event in sorted(kernels, key=lambda event: (event["ts"], -event["dur"])):
        if event["ts"] >= end:
            end = event["ts"] + event["dur"]
            yield event


@contextmanager
def _profiled(folder: Path) -> Iterator[list[Any]]:
    """Open steps with the profiler on."""
    plain, opened = _step.open_session, []

    def profiled(model: Any, *, threads: int | None = None, **_: Any) -> Any:
        options = ort.SessionOptions()
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "step")
        options.intra_op_num_threads = threads or cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.force_spinning_stop", "1")
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"],
            disabled_optimizers=["NchwcTransformer"],
        )  # fmt: skip
        opened.append(session)
        return session

    _step.open_session = profiled
    try:
        yield opened
    finally:
        _step.open_session = plain
