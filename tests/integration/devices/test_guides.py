"""The guides' programs run, on simulated hardware where they need some."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from edgeml.testing import FakeIIO

ROOT = Path(__file__).parents[3]


def programs():
    for guide in ("audio", "sensors"):
        text = (ROOT / "docs/guide" / f"{guide}.md").read_text()
        for i, code in enumerate(re.findall(r"```python\n(.*?)```", text, re.S)):
            yield pytest.param(code, id=f"{guide}-{i}")


@pytest.mark.parametrize("code", list(programs()))
def test_the_program_runs(code, tmp_path, request):
    env = {"PATH": ""}
    if "Microphone()" in code or "Speaker()" in code:
        env = request.getfixturevalue("sound").env
    if "Resample" in code:
        pytest.importorskip("soxr", reason="soxr is not installed")
    if 'IIO("bmi160"' in code:
        chip = FakeIIO(tmp_path, "bmi160")
        for channel in ("accel_z", "anglvel_z"):
            chip.set(f"in_{channel}_raw", 1)
        code = code.replace("hz=50", f"hz=50, root={str(tmp_path)!r}")
    # A program that listens for ever is ended after its first line.
    endless = re.compile(r"^( +)(print\(.*)$", re.M)
    if "async for" in code and "break" not in code and "CSV" not in code:
        code = endless.sub(r"\1\2\n\1break", code, count=1)
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    for expected in re.findall(r"print\(.*\)\s+# ([\[{].*)", code):
        assert expected in run.stdout
