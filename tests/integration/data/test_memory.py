"""A dataset that is larger than the memory it may take."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

# In an interpreter of its own: what other tests left free would hide growth.
PROGRAM = """
import sys, psutil, numpy as np
from edgeml.data import Column, Dataset

def generator(path):
    def rows():
        for i in range(100_000):
            yield np.full(1000, i, np.float32), i % 2
    return Dataset.from_generator(rows)

def csv(path):
    return Dataset.from_csv(path, label=-1, header=False)

def sql(path):
    query = (  # 100,000 rows that only exist while they are read
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) "
        "SELECT zeroblob(4000) AS wave FROM n"
    )
    data = Dataset.from_sql(path, query, columns={"wave": Column(dtype="bytes")}, as_dict=True)
    return data.map(lambda row: np.frombuffer(row["wave"], "<f4"))

kind, path = sys.argv[1:]
data = {"generator": generator, "csv": csv, "sql": sql}[kind](path)
batches = data.shuffle(512, seed=0).batch(64).prefetch(4)
process, seen, most = psutil.Process(), 0, 0
for n, batch in enumerate(batches):
    x = batch[0] if isinstance(batch, tuple) else batch
    seen += x.nbytes
    if n == 16:  # the buffer is full
        base = process.memory_info().rss
    if n > 16 and n % 8 == 0:
        most = max(most, process.memory_info().rss - base)
print(seen, most)
"""

BOUND = 24 << 20


@pytest.fixture
def place(request, tmp_path):
    if request.param == "csv":
        path = tmp_path / "big.csv"
        block = ("0.123456," * 499 + "1\n") * 100
        with path.open("w") as file:
            for _ in range(100):
                file.write(block)
        return request.param, path
    path = tmp_path / "empty.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE none (i)")
    return request.param, path


@pytest.mark.parametrize("place", ["generator", "csv", "sql"], indirect=True)
def test_the_process_does_not_grow(place):
    kind, path = place
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, kind, str(path)],
        capture_output=True, text=True, check=False, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen, growth = map(int, done.stdout.split())
    assert seen >= (400_000_000 if kind != "csv" else 10_000 * 499 * 4)
    assert growth < BOUND, f"{growth / 2**20:.0f} MiB more after {seen / 2**20:.0f} MiB"
