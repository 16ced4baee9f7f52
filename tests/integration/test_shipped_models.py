"""The shipped files, in the plain runtimes, on the shipped recordings."""

from __future__ import annotations

import csv
import hashlib
import json
from importlib.resources import files
from pathlib import Path

import av
import cv2
import numpy as np
import onnxruntime as ort
import pytest
import soundfile

from edgeml.quantize import float_input, get_metadata

MODELS = Path(str(files("edgeml") / "models"))
MEDIA = Path(str(files("edgeml") / "media"))
ONNX = sorted(path.name for path in MODELS.glob("*.onnx"))
CLASSIFIER = MODELS / "efficientnet_lite0_int8.onnx"
DETECTOR = MODELS / "nanodet_g_416_int8.onnx"
PHOTOS = ["cat.jpg", "espresso.jpg", "portrait.jpg", "rocket.jpg"]


def session(model) -> ort.InferenceSession:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def interpreter(name):
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is missing")
    made = litert.Interpreter(model_path=str(MODELS / name))
    made.allocate_tensors()
    return made


def pixels(image, size):
    return np.ascontiguousarray(cv2.resize(image, (size, size)).transpose(2, 0, 1)[None])


@pytest.fixture(scope="module")
def frame():
    with av.open(str(MEDIA / "street.mp4")) as container:
        return next(container.decode(video=0)).to_ndarray(format="bgr24")


@pytest.mark.parametrize("folder", [MODELS, MEDIA], ids=["models", "media"])
def test_every_file_is_in_the_licence_table(folder):
    rows = {}
    for line in (folder / "README.md").read_text().splitlines():
        cells = [cell.strip(" `") for cell in line.strip("|").split("|")]
        if len(cells) == 6 and len(cells[5]) == 64:
            rows[cells[0]] = cells
    shipped = {p.name: p for p in folder.iterdir() if p.suffix != ".md" and p.is_file()}
    assert rows.keys() == shipped.keys()
    for name, path in shipped.items():
        content = path.read_bytes()
        assert rows[name][4:] == [str(len(content)), hashlib.sha256(content).hexdigest()]
        assert all(rows[name]), f"an empty cell for {name}"
        assert len(content) < 6_000_000


def test_all_files_together_are_small():
    assert sum(p.stat().st_size for f in (MODELS, MEDIA) for p in f.iterdir()) < 40_000_000


@pytest.mark.parametrize("name", ONNX)
def test_metadata_is_whole(name):
    metadata = get_metadata(MODELS / name)  # also runs onnx.checker
    assert metadata["schema"] == "1"
    assert {"task", "license", "origin"} <= metadata.keys()
    assert metadata["preprocess"]["type"] in {"image", "audio", "motion"}
    assert metadata["postprocess"]
    assert len(set(metadata["labels"])) == len(metadata["labels"]) or len(metadata["labels"]) > 900


def test_onnx_files_are_those_named():
    assert ONNX == [
        "activity_watch_int8.onnx",
        "efficientnet_lite0_int8.onnx",
        "nanodet_g_416_int8.onnx",
        "silero_vad.onnx",
        "speech_embedding.onnx",
    ]


@pytest.mark.parametrize("name", ["blazeface.tflite", "okay_nabu.tflite"])
def test_tflite_metadata(name):
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs((MODELS / name).read_bytes(), 0))
    (entry,) = [m for m in model.metadata if m.name == b"edgeml"]
    metadata = json.loads(bytes(model.buffers[entry.buffer].data))
    assert metadata["schema"] == 1
    assert {"task", "labels", "preprocess", "postprocess", "license", "origin"} <= metadata.keys()


@pytest.mark.parametrize(
    ("photo", "label", "within"),
    [("cat.jpg", "Egyptian Mau", 1), ("espresso.jpg", "espresso", 1), ("rocket.jpg", "missile", 5)],
)
def test_classifier_on_photographs(photo, label, within):
    image = cv2.imread(str(MEDIA / photo))
    (logits,) = session(CLASSIFIER).run(["logits"], {"input": pixels(image, 224)})
    labels = get_metadata(CLASSIFIER)["labels"]
    best = [labels[i] for i in logits[0].argsort()[::-1][:within]]
    assert label in best
    assert len(labels) == 1000


@pytest.mark.parametrize("photo", PHOTOS)
def test_classifier_variants_are_bit_equal(photo):
    image = cv2.imread(str(MEDIA / photo))
    blob = cv2.dnn.blobFromImage(image, 1 / 128, (224, 224), (127, 127, 127), swapRB=True)
    variant = session(float_input(CLASSIFIER, swap_channels=True))
    raw = session(CLASSIFIER).run(None, {"input": pixels(image, 224)})
    for expected, received in zip(raw, variant.run(None, {"input": blob}), strict=True):
        assert np.array_equal(expected, received)


def test_detector_variants_are_bit_equal(frame):
    blob = cv2.dnn.blobFromImage(frame, 1.0, (416, 416), (116, 116, 116))
    raw = session(DETECTOR).run(None, {"input_1": pixels(frame, 416)})
    variant = session(float_input(DETECTOR)).run(None, {"input_1": blob})
    for expected, received in zip(raw, variant, strict=True):
        assert np.array_equal(expected, received)


def test_detector_finds_people_in_the_street(frame):
    outputs = session(DETECTOR).run(None, {"input_1": pixels(frame, 416)})
    scores = np.concatenate([o[0] for o in outputs if o.shape[2] == 80])
    sure = scores[scores.max(1) > 0.5]
    assert len(sure)
    assert get_metadata(DETECTOR)["labels"][np.bincount(sure.argmax(1)).argmax()] == "person"


def test_street_has_all_its_frames_in_order():
    with av.open(str(MEDIA / "street.mp4")) as container:
        stream = container.streams.video[0]
        times = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
        assert stream.average_rate == 10
        assert len(times) == 795
        assert times == sorted(times)


def test_speech_embedding_tells_a_phrase_from_other_speech():
    audio, rate = soundfile.read(MEDIA / "voice.flac", dtype="float32")
    model = session(MODELS / "speech_embedding.onnx")
    starts = [13.2, 20.7, 32.7, 3.0, 5.0, 7.0, 9.0, 25.0, 27.0, 29.0]  # the phrase, then others
    windows = np.stack([audio[int(s * rate) :][:26480] for s in starts])
    (features,) = model.run(None, {"sound": windows})
    assert features.shape == (10, 12, 96)
    (early,) = model.run(None, {"sound": np.roll(windows, 1280, axis=1)})
    np.testing.assert_allclose(early[:, 1:], features[:, :-1], atol=1e-3)  # one each 80 ms
    flat = features.reshape(10, -1) - features.mean(0).reshape(-1)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    alike = flat @ flat.T - 2 * np.eye(10)
    assert set(alike[:3].argmax(1)) <= {0, 1, 2}


def test_silero_hears_speech_and_not_noise():
    signal, rate = soundfile.read(MEDIA / "voice.flac", dtype="float32")
    assert rate == 16000
    detector = session(MODELS / "silero_vad.onnx")
    state, context = np.zeros((2, 1, 128), np.float32), np.zeros((1, 64), np.float32)
    speech = []
    for start in range(0, len(signal) - 511, 512):
        window = np.concatenate([context, signal[None, start : start + 512]], 1)
        inputs = {"input": window, "state": state, "sr": np.array(16000)}
        probability, state = detector.run(["output", "stateN"], inputs)
        context = window[:, -64:]
        speech.append(float(probability[0, 0]))
    seconds = np.arange(len(speech)) * 512 / 16000
    probability = np.array(speech)
    assert (probability[(seconds > 2.5) & (seconds < 11)] > 0.5).mean() > 0.5
    assert (probability[(seconds > 25) & (seconds < 31)] > 0.5).mean() > 0.9
    assert probability[seconds < 1.9].max() < 0.5
    assert probability[(seconds > 17.5) & (seconds < 20)].max() < 0.5


def test_wake_word_keeps_its_state_and_is_quiet_on_nothing():
    model = interpreter("okay_nabu.tflite")
    (source,), (target,) = model.get_input_details(), model.get_output_details()
    assert source["dtype"] == np.int8
    assert list(source["shape"]) == [1, 3, 40]
    assert target["dtype"] == np.uint8
    for _ in range(50):
        model.set_tensor(source["index"], np.full((1, 3, 40), -128, np.int8))
        model.invoke()
    assert model.get_tensor(target["index"]).item() < 128


def test_blazeface_sees_the_portrait():
    model = interpreter("blazeface.tflite")
    image = cv2.cvtColor(cv2.imread(str(MEDIA / "portrait.jpg")), cv2.COLOR_BGR2RGB)
    (source,) = model.get_input_details()
    blob = cv2.resize(image, (128, 128))[None].astype(np.float32) / 127.5 - 1
    model.set_tensor(source["index"], blob)
    model.invoke()
    outputs = {o["name"]: model.get_tensor(o["index"]) for o in model.get_output_details()}
    assert 1 / (1 + np.exp(-outputs["classificators"].max())) > 0.8


def test_activity_on_a_subject_it_was_not_trained_on():
    path = MODELS / "activity_watch_int8.onnx"
    with (MEDIA / "watch.csv").open() as file:
        rows = list(csv.DictReader(file))
    values = np.array([[r[k] for k in ("ax", "ay", "az", "gx", "gy", "gz")] for r in rows])
    exercise = np.array([r["label"] for r in rows])
    starts = [s for s in range(0, len(rows) - 99, 50) if len(set(exercise[s : s + 100])) == 1]
    windows = np.stack([values[s : s + 100] for s in starts]).astype(np.float32)
    (probabilities,) = session(path).run(None, {"input": windows})
    labels = np.array(get_metadata(path)["labels"])
    assert len(set(exercise)) == 4
    assert (labels[probabilities.argmax(1)] == exercise[starts]).mean() > 0.9
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-3)
