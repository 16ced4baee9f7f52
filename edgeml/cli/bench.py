"""``edgeml bench``: how fast a model is on this machine, over thread counts or delegates."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgeml.cli._arguments import positive_seconds
from edgeml.cli._energy import added, described, millijoules, sentence
from edgeml.cli._output import human_bytes, print_json, print_table
from edgeml.platform import resident

if TYPE_CHECKING:
    from edgeml.devices import EnergyMeter
    from edgeml.runtime import Session

SCHEMA = 1

_WARM_UP = 5  # calls
_ROUND = 0.1  # seconds that each thread count has its turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    # Not argparse's own, which has MODEL last: --delegates would take it for its list.
    parser.usage = "%(prog)s MODEL [--delegates [LIST]] [options]"
    parser.add_argument("model", metavar="MODEL", help=".onnx or .tflite file, or edgeml:NAME")
    parser.add_argument(
        "--seconds",
        type=positive_seconds,
        default=10.0,
        help="time to measure in all (default: 10)",
    )
    parser.add_argument(
        "--threads", type=_threads, metavar="N[,N…]",
        help="thread counts to compare (default: powers of two up to the cores)",
    )  # fmt: skip
    parser.add_argument(
        "--shape", type=_shape, action="append", default=[], metavar="INPUT=N,N…",
        help="shape of an input whose dimensions are free (default: 1 each)",
    )  # fmt: skip
    parser.add_argument(
        "--delegates", nargs="?", const="all", metavar="LIST",
        help="compare delegates, such as npu,openvino (default: all that can be had), check their "
        "outputs, and remember the fastest that is right: delegate=auto takes it",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(args: argparse.Namespace) -> int:
    """Measure a model with random inputs."""
    if args.delegates is not None:
        from edgeml.cli._bench_delegates import compare

        return compare(args)
    from edgeml.devices import EnergyMeter

    before = resident()
    candidates = [_load(args.model, n, dict(args.shape)) for n in args.threads or _default_counts()]
    memory = candidates[0].resident - before
    with EnergyMeter() as meter:
        _measure(candidates, args.seconds, meter)
        energy = described(meter)
    model = candidates[0].session.path  # a URL without its password
    rows = [candidate.row() for candidate in candidates]
    shapes = {name: list(array.shape) for name, array in candidates[0].inputs.items()}
    for candidate in candidates:
        candidate.close()
    if args.json:
        from edgeml.runtime._download import file_hash
        from edgeml.runtime._load import resolve

        print_json(
            {
                "type": "bench", "schema": SCHEMA, "model": model,
                "sha256": file_hash(resolve(args.model)),
                "machine": describe_machine(), "inputs": shapes,
                "memory_bytes": memory, "energy": energy, "rows": rows,
            }
        )  # fmt: skip
        return 0
    print(f"{model}, inputs {', '.join(f'{k} {v}' for k, v in shapes.items())}")
    print(f"{describe_machine()}; memory {human_bytes(memory)} with the runtime\n")
    print_table(
        ("THREADS", "MEDIAN MS", "P99 MS", "PER SECOND", "CALLS", "MJ A CALL"),
        [
            (
                str(r["threads"]), f"{r['median_ms']:.3f}", f"{r['p99_ms']:.3f}",
                f"{r['per_second']:.1f}", str(r["calls"]), millijoules(r["joules_per_call"]),
            )
            for r in rows
        ],
    )  # fmt: skip
    print(f"\n{sentence(energy)}")
    return 0


@dataclass
class _Candidate:
    """A model with a number of threads, and what its calls took."""

    threads: int
    session: Session
    call: Callable[[Mapping[str, Any]], Any]
    inputs: Mapping[str, Any]
    resident: int
    times: list[int] = field(default_factory=list)
    joules: float | None = 0.0

    def row(self) -> dict[str, Any]:
        """Return the figures."""
        import numpy as np

        times = np.asarray(self.times) / 1e6
        return {
            "threads": self.threads,
            "median_ms": round(float(np.median(times)), 4),
            "p99_ms": round(float(np.percentile(times, 99)), 4),
            "per_second": round(1e3 / float(times.mean()), 2),
            "calls": len(self.times),
            "joules_per_call": None if self.joules is None else self.joules / len(self.times),
        }

    def close(self) -> None:
        """Let the model go."""
        self.session.close()


def _load(model: str, threads: int, shapes: Mapping[str, list[int]]) -> _Candidate:
    import edgeml

    session = edgeml.load(model, threads=threads)
    inputs = random_inputs(session.inputs, shapes)
    call = callable_of(session, inputs)
    for _ in range(_WARM_UP):
        call(inputs)
    return _Candidate(threads, session, call, inputs, resident())


def callable_of(session: Session, inputs: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Return what runs the model: a model that keeps its state itself runs in a stream only."""
    from edgeml.errors import ModelError

    try:
        session.run(inputs)
    except ModelError as error:
        try:
            stream = session.stream()
            stream.run(inputs)
        except ModelError:
            free = [s.name for s in session.inputs if not all(type(n) is int for n in s.shape)]
            hint = f"; give the free dimensions of {', '.join(free)} by --shape" if free else ""
            raise ModelError(f"{error}{hint}", path=session.path) from error
        return stream.run
    return session.run


def _measure(candidates: list[_Candidate], seconds: float, meter: EnergyMeter) -> None:
    """Time calls in turns, so that a clock that changes or a busy moment meets all alike."""
    end = time.monotonic() + seconds
    while True:
        for candidate in candidates:
            before = meter.joules
            turn_ends = time.monotonic() + _ROUND
            while True:
                began = time.perf_counter_ns()
                candidate.call(candidate.inputs)
                candidate.times.append(time.perf_counter_ns() - began)
                if time.monotonic() >= turn_ends:
                    break
            candidate.joules = added(candidate.joules, before, meter.joules)
        if time.monotonic() >= end:
            return


def random_inputs(specs: Any, shapes: Mapping[str, list[int]]) -> dict[str, Any]:
    """Return random arrays of the model's dtypes and shapes.

    Args:
        specs: The model's inputs.
        shapes: Shapes by input name; where there is none, a free dimension is 1.

    Raises:
        InputError: a shape is for an input that the model does not have.
    """
    from edgeml.errors import InputError
    from edgeml.runtime import _random

    names = [spec.name for spec in specs]
    if unknown := [name for name in shapes if name not in names]:
        raise InputError(
            f"--shape: the model has no input {unknown[0]!r}; expected one of {', '.join(names)}",
            name=unknown[0],
        )
    return _random.random_inputs(specs, shapes)


def _default_counts() -> list[int]:
    from edgeml.platform import cores

    counts = [1]
    while counts[-1] * 2 <= cores():
        counts.append(counts[-1] * 2)
    return counts


def describe_machine() -> str:
    """Return the instruction set, cores and Python of this machine."""
    from edgeml.platform import cores, cpu_name

    return (
        f"{cpu_name()}, {platform.machine()}, {cores()} cores, Python {platform.python_version()}"
    )


def _counts(text: str) -> list[int]:
    try:
        counts = [int(part) for part in text.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected counts such as 1,2,4")
    return counts


def _threads(text: str) -> list[int]:
    counts = _counts(text)
    if max(counts) > 1024:  # the runtime's own most: it would only be refused later
        raise argparse.ArgumentTypeError(f"{text!r}: expected at most 1024 threads")
    return counts


def _shape(text: str) -> tuple[str, list[int]]:
    name, _, dims = text.rpartition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a shape such as input=1,576")
    return name, _counts(dims)
