"""Each example runs as a user runs it, on the recordings that ship."""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def _run(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == {"people.py", "two_senses.py", "own_stages.py"}


def test_people() -> None:
    counts = [int(n) for n in re.findall(r"(\d+) people", _run("people.py"))]
    assert len(counts) == 795  # every frame of the clip
    assert 3 <= sum(counts) / len(counts) <= 10


def test_two_senses() -> None:
    lines = _run("two_senses.py").splitlines()
    assert sum("upright row" in line and "people outside" in line for line in lines) > 5
    assert "no picture" not in lines[0]


def test_own_stages() -> None:
    out = _run("own_stages.py")
    values = [float(v) for v in re.findall(r"^ +\d+  ([\d.]+)$", out, re.MULTILINE)]
    assert len(values) > 2
    assert all(abs(a - b) >= 4.9 for a, b in itertools.pairwise(values))
    assert "4 pictures in" in out
