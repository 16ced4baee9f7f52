"""The demo's recordings: a street, a voice, a watch, four photographs."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
import soundfile
from _sources import find
from _watch import HELD_OUT, LABELS, RATE, SI, load_recordings
from numpy.typing import NDArray

PHOTOS = {
    "portrait.jpg": "astronaut.png",
    "cat.jpg": "chelsea.png",
    "espresso.jpg": "coffee.png",
    "rocket.jpg": "rocket.jpg",
}
AUDIO_RATE = 16000  # Hz
WAKE_VOICES = ("kal16", "rms", "awb")
EXERCISES, SECONDS_EACH = 4, 20

Signal = NDArray[np.float32]


def make(sources: Path, folder: Path) -> None:
    """Write all of them; needs ffmpeg with x264."""
    street(sources, folder / "street.mp4")
    voice(sources, folder / "voice.flac")
    watch(sources, folder / "watch.csv")
    for name, source in PHOTOS.items():
        image = cv2.imread(str(find(sources / "scikit-image", source)))
        cv2.imwrite(str(folder / name), image, [cv2.IMWRITE_JPEG_QUALITY, 92])


def street(sources: Path, target: Path) -> None:
    """All 795 frames in H.264 without B-frames, so that decoding order is display order."""
    options = "-an -c:v libx264 -preset slow -crf 27 -bf 0 -g 50 -pix_fmt yuv420p"
    options += " -map_metadata -1 -fflags +bitexact -movflags +faststart"
    source = find(sources / "opencv-doc", "vtest.avi")
    command = ["ffmpeg", "-y", "-loglevel", "error", "-i", str(source)]
    subprocess.run([*command, *options.split(), str(target)], check=True)


def voice(sources: Path, target: Path) -> None:
    """Silence, speech, noise and three voices that say "okay nabu", over a quiet floor of noise."""
    rng = np.random.default_rng(0)
    speech = _read(find(sources / "useful-moonshine-onnx", "beckett.wav"))
    reading = _read(
        find(sources / "pocketsphinx-testdata", "sense_and_sensibility_01_austen_64kb-0870.wav")
    )
    wake = [_say(sources, name) for name in WAKE_VOICES]
    parts = [
        _silence(2.0), speech, _silence(1.5), wake[0], _silence(2.5),
        0.03 * rng.standard_normal(3 * AUDIO_RATE), _silence(1.0), wake[1], _silence(2.0),
        reading, _silence(1.5), wake[2], _silence(2.5),
    ]  # fmt: skip
    mixed = np.concatenate(parts)
    mixed = np.clip(mixed + 0.0005 * rng.standard_normal(len(mixed)), -1, 1)
    soundfile.write(target, mixed, AUDIO_RATE, subtype="PCM_16")


def watch(sources: Path, target: Path) -> None:
    """The first 20 s of four exercises of the subject that the classifier was not trained on."""
    data = load_recordings(find(sources / "seglearn", "watch_dataset.npy"))
    chosen: dict[int, NDArray[np.float64]] = {}
    for values, label, who in zip(data["X"], data["y"], data["subject"], strict=True):
        if who == HELD_OUT and label not in chosen and len(chosen) < EXERCISES:
            chosen[int(label)] = values[: SECONDS_EACH * RATE]
    with target.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["t", "ax", "ay", "az", "gx", "gy", "gz", "label"])
        row = 0
        for label, values in chosen.items():
            name = LABELS[data["y_labels"][label]]
            for sample in values * SI:
                writer.writerow([f"{row / RATE:.2f}", *(f"{v:.4f}" for v in sample), name])
                row += 1


def _read(path: Path) -> Signal:
    signal, rate = soundfile.read(path, dtype="float32")
    if rate != AUDIO_RATE or signal.ndim != 1:
        raise SystemExit(f"{path}: expected 16 kHz mono, found {rate} Hz, {signal.shape}")
    return np.asarray(signal * (0.5 / np.abs(signal).max()), np.float32)


def _silence(seconds: float) -> Signal:
    return np.zeros(int(seconds * AUDIO_RATE), np.float32)


def _say(sources: Path, name: str) -> Signal:
    """Speak the wake word with flite, installed or unpacked."""
    binary, environment = shutil.which("flite"), dict(os.environ)
    if binary is None:
        binary = str(find(sources / "flite", "flite"))
        library = find(sources / "libflite1", "libflite.so.1")
        environment["LD_LIBRARY_PATH"] = str(library.parent)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "say.wav"
        command = [binary, "-voice", name, "-t", "okay nabu", "-o", str(file)]
        subprocess.run(command, check=True, env=environment)
        return _read(file)
