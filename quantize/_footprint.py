"""Load time and memory of a model, in a process of its own.

    python -m edgeml.quantize._footprint MODEL FEEDS.npz [KEY=VALUE …]

prints them as JSON; KEY and VALUE are entries of the session's configuration.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import OptimizeError
from edgeml.quantize._model import Model, save

_CALLS = 5
_PATIENCE = 120.0  # seconds


def footprint(
    model: Model, feed: Mapping[str, NDArray[Any]], config: Mapping[str, str]
) -> dict[str, float]:
    """Return ``load_ms`` and ``peak_bytes``: what opening and running a model adds to a process.

    Args:
        model: The ``onnx.ModelProto``.
        feed: An input.
        config: Entries of the session's configuration.

    Raises:
        OptimizeError: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
        file, given = Path(folder) / "model.onnx", Path(folder) / "feed.npz"
        save(model, file)
        np.savez(given, **dict(feed))  # type: ignore[arg-type]  # its stubs know one option
        command = [sys.executable, "-m", __name__, str(file), str(given)]
        command += [f"{key}={value}" for key, value in config.items()]
        try:
            done = subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE)
            return dict(json.loads(done.stdout))
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            said = (getattr(error, "stderr", None) or b"").decode(errors="replace").split("\n")
            why = next((line for line in reversed(said) if line.strip()), str(error))
            raise OptimizeError(f"load time and memory not measured: {why}") from error


def main() -> None:
    """Open the model, run it a few times, print what that took."""
    from edgeml._require import require
    from edgeml.platform import cores

    ort = require("onnxruntime", extra="optimize", purpose="edgeml.quantize")

    file, given, *entries = sys.argv[1:]
    with np.load(given) as arrays:
        feed = {name: arrays[name] for name in arrays.files}
    options = ort.SessionOptions()
    options.intra_op_num_threads = cores()
    options.log_severity_level = 4
    for entry in ["session.intra_op.allow_spinning=0", *entries]:
        options.add_session_config_entry(*entry.split("=", 1))
    before = _resident("VmRSS")
    start = time.perf_counter()
    session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    took = time.perf_counter() - start
    for _ in range(_CALLS):
        session.run(None, feed)
    found = {"load_ms": took * 1e3, "peak_bytes": _resident("VmHWM") - before}
    sys.stdout.write(json.dumps(found))


def _resident(field: str) -> int:
    (kilobytes,) = re.findall(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(kilobytes) * 1024


if __name__ == "__main__":
    main()
