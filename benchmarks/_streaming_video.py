"""A video file into a quantized model: the pipeline against loops written by hand.

All sides read the same file with equal frames, run the same weights and give equal outputs
bit for bit. The loops do what tutorials do: cv2 reads and resizes, `blobFromImage` makes
floats, and the session quantizes them. Each side runs at its best thread count.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import onnxruntime as ort
from _report import Report, Row, compare

import edgeml
from edgeml.quantize import float_input
from edgeml.streams import Pipeline, Sink, stage
from edgeml.tasks._image import ImagePreprocess

FILES = Path(str(resources.files("edgeml")))
VIDEO = str(FILES / "media" / "street.mp4")
PLAIN = "plain cv2 + ONNX Runtime loop"
ONE_CORE = (
    "bound by hand-offs: threads gain nothing on one core, and a frame that waits leaves the "
    "cache, where the loop's only frame stays"
)
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Case:
    """A model and how the loop feeds its float form."""

    name: str
    file: str
    size: tuple[int, int]
    scale: float
    mean: float
    swap_rb: bool
    target: float
    decode_target: float | None

    @property
    def path(self) -> str:
        """Where the shipped model lies."""
        return str(FILES / "models" / self.file)

    def blob(self, frame: np.ndarray) -> np.ndarray:
        """What the loop does with a frame."""
        small = cv2.resize(frame, self.size)
        mean = (self.mean,) * 3
        return cv2.dnn.blobFromImage(small, self.scale, self.size, mean, swapRB=self.swap_rb)


CASES = (
    Case("EfficientNet-Lite0 int8", "efficientnet_lite0_int8.onnx", (224, 224), 1 / 128, 127.0,
         True, 1.25, 1.1),
    Case("NanoDet int8", "nanodet_g_416_int8.onnx", (416, 416), 1.0, 116.0, False, 1.15, 1.1),
)  # fmt: skip


class Loops:
    """The peers, with sessions for each thread count."""

    def __init__(self, case: Case) -> None:
        self.case = case
        content = float_input(case.path, swap_channels=case.swap_rb).SerializeToString()
        self.sessions = {}
        for threads in sorted({1, CORES}):
            options = ort.SessionOptions()
            options.intra_op_num_threads = threads
            options.log_severity_level = 3
            self.sessions[threads] = ort.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        self.input = self.sessions[1].get_inputs()[0].name

    def plain(self, threads: int, frames: int) -> tuple[float, list[np.ndarray]]:
        """Read, resize, blob, run, one after the other; return frames/s and outputs."""
        cv2.setNumThreads(threads)
        session, outputs = self.sessions[threads], []
        capture = cv2.VideoCapture(VIDEO)
        began = time.perf_counter()
        while len(outputs) < frames:
            ok, frame = capture.read()
            if not ok:
                break
            outputs.append(session.run(None, {self.input: self.case.blob(frame)})[0])
        return len(outputs) / (time.perf_counter() - began), outputs

    def decode_thread(self, threads: int, frames: int) -> tuple[float, list[np.ndarray]]:
        """The same with a thread that reads ahead."""
        cv2.setNumThreads(threads)
        session, outputs = self.sessions[threads], []
        ahead: queue.Queue[np.ndarray | None] = queue.Queue(4)

        def read() -> None:
            capture = cv2.VideoCapture(VIDEO)
            for _ in range(frames):
                ok, frame = capture.read()
                if not ok:
                    break
                ahead.put(frame)
            ahead.put(None)

        began = time.perf_counter()
        thread = threading.Thread(target=read)
        thread.start()
        while (frame := ahead.get()) is not None:
            outputs.append(session.run(None, {self.input: self.case.blob(frame)})[0])
        thread.join()
        return len(outputs) / (time.perf_counter() - began), outputs


class Ours:
    """The pipeline: `Camera`, a stage with ordered inferences in flight, a sink."""

    def __init__(self, case: Case) -> None:
        self.session = edgeml.load(case.path, threads=1)
        self.preprocess = ImagePreprocess.parse(self.session.metadata.preprocess, model=case.file)
        self.input = self.session.inputs[0].name
        self.output = self.session.outputs[0].name
        self.p50 = 0.0

    def run(self, in_flight: int, frames: int) -> tuple[float, list[np.ndarray]]:
        """Return frames/s and outputs."""
        cv2.setNumThreads(1)

        @stage(concurrency=in_flight)
        def infer(sample):
            pixels, _ = self.preprocess(sample.data)
            return self.session.run({self.input: pixels})[self.output]

        outputs: list[np.ndarray] = []

        class Keep(Sink):
            async def send(self, sample) -> None:
                outputs.append(sample.data)

        camera = edgeml.Camera(VIDEO, name="video")
        pipeline = Pipeline(camera.take(frames) if frames < 795 else camera, infer, Keep())
        began = time.perf_counter()
        asyncio.run(pipeline.run())
        took = time.perf_counter() - began
        self.p50 = pipeline.stats().latency.p50
        return len(outputs) / took, outputs


def best(
    run: Callable[[int, int], tuple[float, list[np.ndarray]]], counts: list[int], *, quick: bool
) -> int:
    """Return the count at which a side is fastest, by a median of short runs."""
    frames, runs = (60, 1) if quick else (120, 3)
    speed = {n: np.median([run(n, frames)[0] for _ in range(runs)]) for n in counts}
    return max(speed, key=lambda n: speed[n])


def videos(report: Report, *, quick: bool) -> None:
    """Frames a second of both models, and the ledger's and outputs' equality."""
    frames, rounds = (100, 3) if quick else (795, 7)
    for case in CASES:
        loops, ours = Loops(case), Ours(case)
        loop_threads = best(loops.plain, [1, CORES], quick=quick)
        decode_threads = best(loops.decode_thread, [1, CORES], quick=quick)
        in_flight = best(ours.run, sorted({1, CORES, CORES + 1}), quick=quick)
        fps: dict[str, list[float]] = {"ours": [], "plain": [], "decode": []}
        p50 = []
        for _ in range(rounds):
            speed, expected = loops.plain(loop_threads, frames)
            fps["plain"].append(speed)
            speed, outputs = ours.run(in_flight, frames)
            fps["ours"].append(speed)
            p50.append(ours.p50)
            fps["decode"].append(loops.decode_thread(decode_threads, frames)[0])
        equal = len(outputs) == len(expected) == frames and all(
            np.array_equal(a, b) for a, b in zip(outputs, expected, strict=True)
        )
        if not equal:
            raise SystemExit(f"{case.name}: the outputs differ, or a frame was lost")
        note = (
            f"{in_flight} in flight, p50 latency {np.median(p50):.1f} ms; peer at {loop_threads} "
            f"threads, one frame in {1e3 / np.median(fps['plain']):.1f} ms; outputs bit-equal"
        )
        common = {"threads": CORES}
        compare(report, f"video -> {case.name}", "speed", "frames/s", fps["ours"], fps["plain"],
                PLAIN, target=case.target, note=note, **common)  # fmt: skip
        compare(report, f"video -> {case.name}", "speed", "frames/s", fps["ours"], fps["decode"],
                "loop with a decode thread", target=case.decode_target,
                note=f"peer at {decode_threads} threads", **common)  # fmt: skip


def pinned(report: Report, *, quick: bool) -> None:
    """The same on one core, in a process that has only that."""
    command = [sys.executable, __file__, "--pinned", "quick" if quick else "full"]
    done = subprocess.run(
        ["taskset", "-c", "0", *command], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    for name, (ours, plain) in json.loads(done.stdout.splitlines()[-1]).items():
        compare(report, f"video -> {name}, one core", "speed", "frames/s", ours, plain,
                PLAIN, target=0.97, threads=1, note=ONE_CORE)  # fmt: skip


def _measure_pinned(quick: bool) -> dict[str, tuple[list[float], list[float]]]:
    frames, rounds = (60, 3) if quick else (400, 9)
    figures = {}
    for case in CASES:
        loops, ours = Loops(case), Ours(case)
        ours.run(1, 30), loops.plain(1, 30)
        pairs = [(ours.run(1, frames)[0], loops.plain(1, frames)[0]) for _ in range(rounds)]
        figures[case.name] = ([a for a, _ in pairs], [b for _, b in pairs])
    return figures


def uploads(report: Report, *, quick: bool) -> None:
    """What staying on the device saves a frame: time and bytes against an upload."""
    bits = 300_000
    camera = cv2.VideoCapture(VIDEO)
    sizes, latencies, payloads = [], [], []
    detector = edgeml.ObjectDetector(labels=None)
    frames = 20 if quick else 100
    for i in range(frames):
        ok, frame = camera.read()
        if not ok:
            break
        sizes.append(len(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]))
        arrived = time.monotonic_ns()
        sample = edgeml.Sample(frame, arrived, arrived, "street", i)
        result = detector(sample)
        latencies.append((time.monotonic_ns() - arrived) / 1e6)
        event = edgeml.events.Event.of(result, edgeml.streams.Clock(), "people")
        payloads.append(len(event.to_json()))
    detector.aclose()
    upload = float(np.median(sizes)) * 8 / bits * 1e3
    latency = float(np.median(latencies))
    report.add(
        Row("a frame on the device or uploaded", "latency", "ms", "lower", latency,
            peer=upload, peer_name="upload at 300 kbit/s", ratio=upload / latency, n=len(sizes),
            note="ours: frame to detections, one thread; peer: transfer of a JPEG alone")
    )  # fmt: skip
    report.add(
        Row("a frame on the device or uploaded", "bytes sent", "B", "lower",
            float(np.median(payloads)), peer=float(np.median(sizes)),
            peer_name="JPEG, quality 85", ratio=float(np.median(sizes) / np.median(payloads)),
            n=len(sizes), note="ours: one event as JSON")
    )  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(_measure_pinned(sys.argv[-1] == "quick")))
