"""A user's program type-checks against the installed package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import edgeml

HERE = Path(__file__).parent


def test_users_program_passes_mypy_strict(tmp_path):
    config = tmp_path / "mypy.ini"
    config.write_text("[mypy]\nstrict = True\n")
    command = [sys.executable, "-m", "mypy", "--config-file", config, "--no-error-summary"]
    command += ["--cache-dir", tmp_path / "cache", "--follow-imports=silent", HERE / "api.py"]
    # An editable install is found through an import hook, which mypy does not follow.
    env = os.environ | {"MYPYPATH": str(Path(edgeml.__file__).parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
