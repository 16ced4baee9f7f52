"""The isolated worker: what it costs, and what is lost and left when it is killed."""

from __future__ import annotations

import os
import queue
import random
import signal
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from _report import Report, Row, compare

import edgeml
from edgeml.errors import WorkerLost
from edgeml.platform import resident
from edgeml.runtime import IsolatedSession, Isolation, Session
from edgeml.testing import FakeAccelerator

MODEL = "edgeml:efficientnet_lite0_int8.onnx"
DEPTH = 2  # calls in flight
KEPT = 0.90  # of the throughput, at least
OVERHEAD = 0.3  # ms a call, at most
RETURN = 2.0  # seconds beyond the load time, at most
GROWTH = 2.0  # MB of this process, at most: what allocators keep differs that much between runs
WARM = 5  # kills before anything is counted: threads and allocators reach their size


def worker(report: Report, quick: bool) -> None:
    """Add all rows."""
    throughput(report, rounds=3 if quick else 31, seconds=0.5 if quick else 2.0)
    overhead(report, rounds=10 if quick else 60)
    kills(report, 3 if quick else 100)
    with FakeAccelerator():
        fallbacks(report, 3 if quick else 20)


def throughput(report: Report, rounds: int, seconds: float) -> None:
    """Add inferences a second with two calls in flight, here and isolated."""
    rates: dict[bool, list[float]] = {False: [], True: []}
    with _load(False) as here, _load(True) as isolated:
        sessions = {False: here, True: isolated}
        for session in sessions.values():
            _rate(session, seconds)
        for i in range(rounds):
            for which in (False, True) if i % 2 else (True, False):
                rates[which].append(_rate(sessions[which], seconds))
        assert isinstance(isolated, IsolatedSession)
        pages = int(Path(f"/proc/{isolated.pid}/statm").read_text().split()[1])
    compare(
        report, "EfficientNet-Lite0 int8, isolated", f"throughput, {DEPTH} in flight",
        "inferences/s", rates[True], rates[False], "in this process", target=KEPT, threads=1,
    )  # fmt: skip

    report.add(
        Row(
            "EfficientNet-Lite0 int8, isolated", "memory of the worker", "MB", "lower",
            pages * os.sysconf("SC_PAGE_SIZE") / 1e6, threads=1,
        )
    )  # fmt: skip


def _load(isolated: bool | Isolation, delegate: str = "cpu") -> Session:
    return edgeml.load(MODEL, delegate, threads=1, isolated=isolated)


def _picture(session: Session) -> Any:
    spec = session.inputs[0]
    shape = [size if isinstance(size, int) else 1 for size in spec.shape]
    return np.random.default_rng(0).integers(0, 255, shape).astype(spec.dtype)


def _rate(session: Session, seconds: float) -> float:
    """Return inferences a second of as many threads as calls are in flight."""
    picture, done = _picture(session), [0] * DEPTH
    began = time.perf_counter()

    def loop(i: int) -> None:
        while time.perf_counter() - began < seconds:
            session.run(picture)
            done[i] += 1

    threads = [threading.Thread(target=loop, args=(i,)) for i in range(DEPTH)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - began)


def overhead(report: Report, rounds: int, calls: int = 100) -> None:
    """Add what a call of a model that does nearly nothing costs more, in turns."""
    picture = np.random.default_rng(0).integers(0, 255, (1, 224, 224, 3), np.uint8)
    differences, both = [], []
    with tempfile.TemporaryDirectory() as folder:
        file = _brightest(Path(folder) / "brightest.onnx")
        with (
            edgeml.load(file, "cpu", 1) as here,
            edgeml.load(file, "cpu", 1, isolated=True) as isolated,
        ):
            for _ in range(rounds):
                times = [_times(session, picture, calls) for session in (here, isolated)]
                one, other = (statistics.median(each) for each in times)
                differences.append(other - one)
                both.append(one)
    low, middle, high = statistics.quantiles(differences, n=4)
    report.add(
        Row(
            "a call with 224x224x3 uint8, isolated", "more than in this process", "ms", "lower",
            middle, target=OVERHEAD, target_on="ours", n=rounds * calls, spread=(low, high),
            threads=1, note=f"in this process {statistics.median(both):.3f} ms",
        )
    )  # fmt: skip


def _brightest(file: Path) -> Path:
    """Write a model that returns the largest of its bytes."""
    import onnx

    kind, helper = onnx.TensorProto.UINT8, onnx.helper
    graph = helper.make_graph(
        [helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], "brightest",
        [helper.make_tensor_value_info("x", kind, [1, 224, 224, 3])],
        [helper.make_tensor_value_info("y", kind, [])],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    file.write_bytes(made.SerializeToString())
    return file


def _times(session: Session, picture: Any, calls: int) -> list[float]:
    """Return milliseconds of each call."""
    found = []
    for _ in range(calls):
        began = time.perf_counter()
        session.run(picture)
        found.append((time.perf_counter() - began) * 1e3)
    return found


class Load:
    """Threads that call a session without a pause, and note what becomes of the calls."""

    def __init__(self, session: IsolatedSession) -> None:
        self.session = session
        self.answered: queue.SimpleQueue[float] = queue.SimpleQueue()
        self.lost = 0
        self.ending = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._call) for _ in range(DEPTH)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        picture = _picture(self.session)
        while not self.ending:
            try:
                self.session.run(picture)
            except WorkerLost:
                with self._lock:
                    self.lost += 1
            else:
                self.answered.put(time.monotonic())

    def next_after(self, when: float) -> float:
        """Return when the first call after some time was answered."""
        while (answered := self.answered.get(timeout=60)) <= when:
            pass
        return answered

    def end(self) -> None:
        """Wait for the last calls."""
        self.ending = True
        for thread in self._threads:
            thread.join()


def kills(report: Report, n: int) -> None:
    """Add what `n` kills of the worker under load cost, without the CPU in its stead."""
    guard = Isolation(restarts=10 * n, fallback=False)
    loads = [_load_time(guard) for _ in range(5)]
    before = _held()
    with _load(guard) as session:
        assert isinstance(session, IsolatedSession)
        load = Load(session)
        back: queue.SimpleQueue[float] = queue.SimpleQueue()
        session.on("state", lambda s: back.put(time.monotonic()) if s.state == "running" else None)
        rng, lost, away = random.Random(0), [], []
        for i in range(-WARM, n):
            time.sleep(rng.uniform(0.0, 0.05))
            if i == 0:
                memory = resident()
            counted, pid, killed = load.lost, session.pid, time.monotonic()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            away.append(load.next_after(back.get(timeout=60)) - killed)
            lost.append(load.lost - counted)
        grown = (resident() - memory) / 1e6
        load.end()
    after = _held()
    _rows(report, n, lost[WARM:], away[WARM:], statistics.median(loads), grown, before, after)


def fallbacks(report: Report, n: int) -> None:
    """Add what `n` kills cost where the CPU answers while another delegate is away."""
    with _load(Isolation(restarts=10 * n), "fake") as session:
        assert isinstance(session, IsolatedSession)
        load = Load(session)
        back: queue.SimpleQueue[float] = queue.SimpleQueue()
        session.on("state", lambda s: back.put(time.monotonic()) if s.state == "running" else None)
        for _ in range(n):
            pid = session.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            load.next_after(back.get(timeout=60))
        load.end()
    report.add(
        Row(
            f"kill -9 of a delegate's worker under load, {n} times",
            "calls lost, as the CPU answers", "calls", "lower", load.lost, target=0,
            target_on="ours", n=n, threads=1, note="a simulated accelerator",
        )
    )  # fmt: skip


def _rows(
    report: Report,
    n: int,
    lost: list[int],
    away: list[float],
    load: float,
    grown: float,
    before: tuple[int, int],
    after: tuple[int, int],
) -> None:
    case = f"kill -9 of the worker under load, {n} times"
    low, middle, high = statistics.quantiles(away, n=4)
    rows: list[tuple[str, str, float, float]] = [
        ("lost for each kill, the most", "calls", max(lost), DEPTH),
        (
            "until it answers again, beyond the load time, the longest",
            "s",
            max(away) - load,
            RETURN,
        ),
        ("memory that this process holds more", "MB", grown, GROWTH),
        ("open files that are left", "files", after[0] - before[0], 0),
        ("processes that are left", "processes", after[1] - before[1], 0),
    ]
    notes = {
        "calls": f"{DEPTH} in flight; {sum(lost)} in all",
        "s": f"median {middle:.2f} s ({low:.2f} to {high:.2f}), load time {load:.2f} s",
    }
    for metric, unit, value, target in rows:
        report.add(
            Row(
                case, metric, unit, "lower", value, target=target, target_on="ours", n=n,
                threads=1, note=notes.get(unit, ""),
            )
        )  # fmt: skip


def _load_time(guard: Isolation) -> float:
    """Return seconds until a new worker has answered its first call."""
    began = time.monotonic()
    with _load(guard) as session:
        session.run(_picture(session))
        return time.monotonic() - began


def _held() -> tuple[int, int]:
    """Return how many files and child processes this process has."""
    tasks = Path("/proc/self/task").iterdir()
    children = sum(len((task / "children").read_text().split()) for task in tasks)
    return len(os.listdir("/proc/self/fd")), children
