"""The process that fits a head beside a stream: low priority, little memory, with rests."""

from __future__ import annotations

import io
import json
import resource
import sys


def main() -> None:
    """Read a job from the standard input, and write the fitted head to the standard output."""
    content = sys.stdin.buffer.read()

    import numpy as np

    from edgeml.errors import EdgeMLError
    from edgeml.personalize._fit import Job, fit, made, packed, refused

    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        task = json.loads(arrays["task"].tobytes())
        weights = arrays["weights"].tolist() if "weights" in arrays else None
        groups = arrays.get("groups")
        blocks = arrays["blocks"].tobytes() if "blocks" in arrays else None
        job = Job(made(task["method"]), arrays["features"], arrays["labels"].tolist(), weights,
                  task["keep"], groups, task["metadata"], blocks)  # fmt: skip
    resource.setrlimit(resource.RLIMIT_DATA, (task["memory"], task["memory"]))
    try:
        answer = packed(fit(job, task["rest"]))
    except EdgeMLError as error:
        answer = refused(error)
    sys.stdout.buffer.write(answer)
