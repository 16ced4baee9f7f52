"""Average precision of boxes and keypoints is that of COCO's own program."""

import contextlib
import io

import numpy as np
import pytest

import edgeml
from edgeml.errors import DataError, OutputError
from edgeml.evaluation import COCO_SIGMAS, Objects
from edgeml.tasks import Box, Detection, Detections

PICTURES = 24


def scene(rng, people=False):
    """Return what is there and what was found in a picture."""
    n = int(rng.integers(0, 6))
    boxes = np.concatenate([rng.uniform(0, 300, (n, 2)), rng.uniform(8, 160, (n, 2))], 1)
    labels = rng.integers(0, 1 if people else 3, n)
    there = {"boxes": boxes, "labels": labels, "crowd": rng.random(n) < 0.15,
             "areas": boxes[:, 2] * boxes[:, 3] * 0.7}  # fmt: skip
    shift = rng.normal(size=(n, 4)) * 0.08 * boxes[:, [2, 3, 2, 3]]
    kept = rng.random(n) < 0.85
    more = int(rng.integers(0, 4))
    wrong = np.concatenate([rng.uniform(0, 300, (more, 2)), rng.uniform(8, 160, (more, 2))], 1)
    guesses = rng.integers(0, 1 if people else 3, more)
    found = {"boxes": np.concatenate([(boxes + shift)[kept], wrong]).clip(1),
             "labels": np.concatenate([labels[kept], guesses])}  # fmt: skip
    found["scores"] = np.round(rng.random(len(found["boxes"])), 1)  # with ties
    if people:
        points = boxes[:, None, :2] + rng.random((n, 17, 2)) * boxes[:, None, 2:]
        known = rng.integers(0, 3, (n, 17, 1)) * (rng.random((n, 1, 1)) < 0.8)
        there["keypoints"] = np.concatenate([points, known], 2)
        moved = points + rng.normal(size=points.shape) * 0.05 * boxes[:, None, 2:]
        other = wrong[:, None, :2] + rng.random((more, 17, 2)) * wrong[:, None, 2:]
        guessed = np.concatenate([moved[kept], other])
        found["keypoints"] = np.concatenate([guessed, np.ones((len(guessed), 17, 1))], 2)
    return there, found


def by_coco(scenes, kind):
    coco_module = pytest.importorskip("pycocotools.coco", reason="the judge of these numbers")
    cocoeval = pytest.importorskip("pycocotools.cocoeval", reason="the judge of these numbers")
    annotations, results = [], []
    for image, (there, found) in enumerate(scenes):
        for i, box in enumerate(there["boxes"]):
            row = {"id": len(annotations) + 1, "image_id": image, "bbox": box.tolist(),
                   "category_id": int(there["labels"][i]), "area": float(there["areas"][i]),
                   "iscrowd": int(there["crowd"][i])}  # fmt: skip
            if kind == "keypoints":
                row["keypoints"] = there["keypoints"][i].ravel().tolist()
                row["num_keypoints"] = int((there["keypoints"][i][:, 2] > 0).sum())
            annotations.append(row)
        for i, box in enumerate(found["boxes"]):
            row = {"image_id": image, "category_id": int(found["labels"][i]),
                   "score": float(found["scores"][i])}  # fmt: skip
            if kind == "keypoints":
                row["keypoints"] = found["keypoints"][i].ravel().tolist()
            else:
                row["bbox"] = box.tolist()
            results.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco_module.COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(len(scenes))], "annotations": annotations,
            "categories": [{"id": i} for i in range(1 if kind == "keypoints" else 3)], "info": {},
        }  # fmt: skip
        truth.createIndex()
        judge = cocoeval.COCOeval(truth, truth.loadRes(results), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return judge.stats


@pytest.mark.parametrize("seed", [0, 1])
def test_boxes(seed):
    rng = np.random.default_rng(seed)
    scenes = [scene(rng) for _ in range(PICTURES)]
    stats = by_coco(scenes, "bbox")
    there, found = zip(*scenes, strict=True)
    report = edgeml.evaluate(list(found), y=list(there), resamples=100)
    names = ["map", "map50", "map75", "map_small", "map_medium", "map_large"]
    assert [report.metrics[n].value for n in names] == pytest.approx(stats[:6], abs=1e-9)
    assert report.metrics["recall"].value == pytest.approx(stats[8], abs=1e-9)
    assert report.kind == "detection"
    assert report.metrics["map"].low < report.metrics["map"].value < report.metrics["map"].high
    assert report.beats_baseline
    assert {c.label for c in report.classes} == {"0", "1", "2"}


@pytest.mark.parametrize("seed", [0, 1])
def test_keypoints(seed):
    rng = np.random.default_rng(seed)
    scenes = [scene(rng, people=True) for _ in range(PICTURES)]
    stats = by_coco(scenes, "keypoints")
    there, found = zip(*scenes, strict=True)
    report = edgeml.evaluate(list(found), y=list(there), resamples=100)
    names = ["oks_ap", "oks_ap50", "oks_ap75", "oks_ap_medium", "oks_ap_large"]
    assert [report.metrics[n].value for n in names] == pytest.approx(stats[:5], abs=1e-9)
    assert report.kind == "keypoints"
    assert len(COCO_SIGMAS) == 17


def test_detections_of_a_task_and_names_of_classes():
    truth = [Objects([[10, 10, 40, 80]], ["person"]), Objects([[0, 0, 30, 30]], ["dog"])] * 5

    def model(picture):
        return Detections([Detection(Box(10, 10, 40, 80), "person", 0.9)] if picture == 0 else [])

    report = edgeml.evaluate(model, [0, 1] * 5, truth, resamples=100)
    assert report.metrics["map"].value == pytest.approx(0.5)
    assert {c.label: c.scores["ap"].value for c in report.classes} == {"dog": 0.0, "person": 1.0}
    with pytest.raises(DataError, match="none of the labels"):
        edgeml.evaluate(model, [0, 1] * 5, truth, labels=["person"])


def test_bad_objects():
    with pytest.raises(DataError, match="2 boxes and 1 labels"):
        Objects([[0, 0, 1, 1], [0, 0, 2, 2]], ["a"])
    with pytest.raises(DataError, match="boxes: expected"):
        Objects([[0, 0, 1]])
    with pytest.raises(DataError, match="there is no 'box'"):
        edgeml.evaluate([{"box": []}], y=[{"boxes": []}])
    with pytest.raises(DataError, match="need scores"):
        edgeml.evaluate([{"boxes": [[0, 0, 1, 1]]}], y=[{"boxes": [[0, 0, 1, 1]]}])
    with pytest.raises(OutputError, match="NaN"):
        edgeml.evaluate([{"boxes": [[0, 0, 1, np.nan]], "scores": [1]}],
                        y=[{"boxes": [[0, 0, 1, 1]]}])  # fmt: skip
    with pytest.raises(DataError, match="17 a person"):
        edgeml.evaluate([{"keypoints": np.ones((1, 5, 3)), "scores": [1]}],
                        y=[{"keypoints": np.ones((1, 5, 3))}])  # fmt: skip
