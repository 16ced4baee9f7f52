"""The camera guide's programs run and print what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAMS = re.findall(
    r"```python\n(.*?)```", (ROOT / "docs/guide/camera.md").read_text(), re.DOTALL
)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_the_program_runs(number: int, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAMS[number]],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    for expected in re.findall(r"print\(.*\)\s+# ([\[(][^:\n]*)", PROGRAMS[number]):
        assert expected in run.stdout
