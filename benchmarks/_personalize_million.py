"""A million examples: what adding and learning cost, in time and memory.

Run by benchmarks/personalize.py, and by itself as the process that is measured.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _report import Report, Row

from edgeml.personalize import Backbone, Learner, Store

WATCH = "edgeml:activity_watch_int8.onnx"
CLASSES = 5
EACH = 325  # bytes that an example takes, a little less than it does
MEMORY = 400.0  # MiB, what is promised
ADDING = 50.0  # ms
LEARNING = 30.0  # s


def million(report: Report, *, quick: bool) -> None:
    """Add the rows."""
    count = 50_000 if quick else 1_000_000
    full = (12 if quick else 64) << 20
    for case, budget, there in (
        (f"a store of {count:,} examples of 64 values", 1 << 30, count),
        (f"a full store of {full >> 20} MiB, after {count:,} such examples", full, full // EACH),
    ):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, folder, str(budget), str(there), str(count)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        note = f"{found['kept']:,} kept, store of {found['bytes'] >> 20} MiB"
        for metric, key, unit, target in (
            ("adding one, half of them", "add", "ms", ADDING),
            ("adding one, 99 of 100", "add99", "ms", None),
            ("opening, and the first", "first", "ms", None),
            ("nearest mean: train", "nearest-mean", "s", LEARNING),
            ("linear head: train", "linear", "s", LEARNING),
            ("most memory, above that before", "memory", "MiB", MEMORY),
        ):
            report.add(Row(case, metric, unit, "lower", ours=found[key], target=target,
                           target_on="ours", n=found["n"] if key in ("add", "add99") else 1,
                           note=note))  # fmt: skip
        report.add(Row(case, "store", "bytes", "lower", ours=found["bytes"], target=budget,
                       target_on="ours"))  # fmt: skip


def fill(store: Store, backbone: Backbone, there: int, count: int) -> None:
    """Put examples in at once, as if `count` had been added: one by one takes an hour."""
    store.bind(backbone.key, backbone.size, backbone.name)
    rng, database = np.random.default_rng(0), store._db
    with database.change():
        for start in range(0, there, 10_000):
            rows = rng.normal(0, 1, (min(10_000, there - start), backbone.size)).astype(np.float32)
            for i, row in enumerate(rows):
                row[(start + i) % CLASSES] += 4
                database.run(
                    "INSERT INTO examples (id, label, subject, added, features) "
                    "VALUES (?, ?, '', 0, ?)",
                    start + i + 1, f"class {(start + i) % CLASSES}", row.tobytes(),
                )  # fmt: skip
        database.run("UPDATE numbers SET last = ?", count)
        for number in range(CLASSES):
            database.run("INSERT INTO seen VALUES (?, ?)", f"class {number}", count // CLASSES)


def peak() -> float:
    """Return the most memory that this process has taken, MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(folder: str, budget: int, there: int, count: int) -> None:
    """Measure, and print it."""
    backbone = Backbone(WATCH)
    with Store(folder, budget=budget) as store:
        fill(store, backbone, there, count)
    rng, n = np.random.default_rng(1), 300
    rows = rng.normal(0, 1, (n + 1, backbone.size)).astype(np.float32)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # what filling took is over
    start = peak()
    with Store(folder, budget=budget) as store, Learner(backbone, store=store) as learner:
        first = seconds(lambda: learner.add_features("class 0", rows[n]))
        took = [1e3 * seconds(lambda i=i: learner.add_features(f"class {i % CLASSES}", rows[i]))
                for i in range(n)]  # fmt: skip
        found: dict[str, float] = {
            "n": n, "first": 1e3 * first, "add": statistics.median(took),
            "add99": statistics.quantiles(took, n=100)[98],
        }  # fmt: skip
        for method in ("nearest-mean", "linear"):
            learner.method = method
            found[method] = seconds(lambda: learner.accept(learner.train(), force=True))
        found |= {"memory": peak() - start, "kept": sum(learner.counts().values()),
                  "bytes": store.nbytes}  # fmt: skip
        store.check()
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
