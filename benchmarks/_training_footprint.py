"""Memory of the processes that train, and what is installed for it."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

from _report import Report, compare

HERE = Path(__file__).resolve().parent

_CHILD = """
import json, sys
def peak():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
sys.path.insert(0, {here!r})
import numpy as np
{imports}
start = peak()
{work}
print(json.dumps([peak(), peak() - start]))
"""

_OURS = "import edgeml, edgeml.training, onnx, onnxruntime"
_THEIRS = "import torch; torch.set_num_threads(2)"

_OUR_MLP = """
from edgeml import layers
m = edgeml.Sequential([edgeml.Input((64,)), layers.Dense(128, activation="relu"),
                       layers.Dense(128, activation="relu"), layers.Dense(10)])
m.compile("adam", edgeml.losses.SparseCategoricalCrossentropy(from_logits=True))
m.fit(np.ones((640, 64), "f4"), np.arange(640) % 10, verbose=0)
"""
_THEIR_MLP = """
from _training_models import torch_mlp
m = torch_mlp()
o = torch.optim.Adam(m.parameters(), fused=True)
x, y = torch.ones(32, 64), torch.arange(32) % 10
for _ in range(20):
    o.zero_grad()
    torch.nn.functional.cross_entropy(m(x), y).backward()
    o.step()
"""
_OUR_BLOCK = """
from _training_lite0 import SHIPPED, pictures
x, y = pictures(32)
t = edgeml.training.Trainer(SHIPPED, loss="sparse_categorical_crossentropy", trainable="last:4")
for _ in range(4):
    t.step(x, y)
"""
_THEIR_BLOCK = """
from _training_lite0 import Lite0, pictures
x, y = map(torch.from_numpy, pictures(32))
m = Lite0()
o = torch.optim.Adam([p for p in m.parameters() if p.requires_grad], fused=True)
for _ in range(4):
    o.zero_grad()
    maps = m.features((x.float() - 127) / 128)
    torch.nn.functional.cross_entropy(m(maps), y).backward()
    o.step()
"""


def child(imports: str, work: str) -> tuple[float, float]:
    """Return peak memory in MB of a process of its own: whole, and from after the imports."""
    code = _CHILD.format(here=str(HERE), imports=imports, work=work)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    whole, net = json.loads(done.stdout.splitlines()[-1])
    return whole, net


def installed(*names: str) -> float:
    """Return the MB of distributions and all that they require."""
    seen: set[str] = set()
    wanted = list(names)
    total = 0
    while wanted:
        name = wanted.pop().lower().replace("_", "-")
        if name in seen:
            continue
        seen.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        files = (Path(str(found.locate_file(f))) for f in found.files or ())
        total += sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc")
        wanted += [
            re.split(r"[^\w.-]", requirement)[0]
            for requirement in found.requires or () if "extra ==" not in requirement
        ]  # fmt: skip
    return total / 1e6


def run(report: Report) -> None:
    """Add the rows of memory and size."""
    whole = child(_OURS, _OUR_MLP)[0], child(_THEIRS, _THEIR_MLP)[0]
    compare(report, "MLP, whole process", "peak memory", "MB", [whole[0]], [whole[1]],
            "PyTorch eager", better="lower", target=2.0, note="imports included")  # fmt: skip
    net = child(_OURS, _OUR_BLOCK), child(_THEIRS, _THEIR_BLOCK)
    name = "EfficientNet-Lite0, last block from pictures, batch 32"
    compare(report, name, "peak memory, whole", "MB", [net[0][0]], [net[1][0]], "PyTorch eager",
            better="lower", target=2.0, batch=32, note="ours: frozen layers are int8")  # fmt: skip
    compare(report, name, "peak memory, net of imports", "MB", [net[0][1]], [net[1][1]],
            "PyTorch eager", better="lower", target=1 / 1.2, batch=32,
            note="ours: frozen layers are int8")  # fmt: skip
    package = sum(f.stat().st_size for f in (HERE.parent / "edgeml").rglob("*")
                  if f.is_file() and f.suffix != ".pyc")  # fmt: skip
    ours = installed("onnxruntime", "onnx") + package / 1e6
    compare(report, "installed size", "with all that is needed to train", "MB", [ours],
            [installed("torch")], "PyTorch (CPU build)", better="lower", target=5.0)  # fmt: skip
