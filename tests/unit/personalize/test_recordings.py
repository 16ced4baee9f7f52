"""What was recorded at once is not on both sides of a comparison."""

import numpy as np
import pytest

from edgeml.errors import ShapeError
from edgeml.personalize import KNN, Example, Learner, Softmax
from edgeml.personalize import _store as store_module
from edgeml.personalize._candidate import gain_over
from edgeml.personalize._held_out import folds_of
from edgeml.personalize._recordings import held_together, recordings_of

WATCH = "edgeml:activity_watch_int8.onnx"


def example(i, label, subject="", at=0.0):
    return Example(i, label, subject, at, np.ones(2, np.float32))


class Clock:
    """A clock that is set by hand, in the place of the module `time`."""

    now = 1e9

    def time(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(store_module, "time", clock)
    return clock


@pytest.fixture
def learner(tmp_path):
    with Learner(WATCH, store=tmp_path, method="knn", keep=1.0) as learner:
        yield learner


RNG = np.random.default_rng(0)
CLASSES = {name: 4 * RNG.normal(size=64) for name in ("up", "down")}


def sitting(learner, count, *, shift=0.0, swapped=False, subject=""):
    """Add examples of both classes, which the place or the hour moves all alike."""
    moved = shift * np.random.default_rng(1).normal(size=64)
    for _ in range(count):
        for name, other in (("up", "down"), ("down", "up")):
            features = CLASSES[other if swapped else name] + moved + RNG.normal(size=64)
            learner.add_features(name, features, subject=subject)


def test_a_recording_is_a_subject_in_one_sitting():
    examples = [
        example(1, "a", at=0), example(2, "b", at=500), example(3, "a", "ann", at=600),
        example(4, "a", at=1000), example(5, "a", at=2000), example(6, "c", at=2001),
        example(7, "a", "ann", at=900), example(8, "a", at=-90000),  # a clock that was put right
    ]  # fmt: skip
    recordings = recordings_of(examples)
    assert recordings.tolist() == [0, 0, 1, 0, 2, 2, 1, 3]
    # The first recording of each class and subject is held out one by one: not 5 and 8.
    assert held_together(examples, recordings).tolist() == [8, 9, 10, 11, 2, 13, 14, 3]


@pytest.mark.parametrize(("each", "alone"), [(4, 50), (9, 50), (40, 0)])
def test_groups_are_held_out_whole_and_no_class_at_once(each, alone):
    classes = np.tile([0, 1, 2], each)
    groups = np.repeat(np.arange(3 * each // 4 + 1), 4)[: 3 * each]
    folds = folds_of(classes, 5, groups, alone=alone)
    assert folds.min() >= 0
    for group in set(groups.tolist()):
        assert len(set(folds[groups == group].tolist())) == 1
    only = folds_of(classes, 5, classes, alone=alone)  # all of a class is one group
    for found in (folds, only):
        for fold in set(found.tolist()):
            assert set(classes[found != fold].tolist()) == {0, 1, 2}


@pytest.mark.parametrize("head", [KNN(), Softmax()], ids=["knn", "linear"])
def test_a_head_is_tested_on_groups_that_it_has_not_seen(head):
    rng = np.random.default_rng(0)
    places = 9 * rng.normal(size=(6, 8))  # six recordings, each of one class by chance
    x = np.repeat(places, 10, 0) + rng.normal(size=(60, 8))
    labels = ["a"] * 10 + ["b"] * 10 + ["a"] * 10 + ["b"] * 10 + ["a"] * 10 + ["b"] * 10
    assert head.fit(x, labels).held_out.accuracy > 0.9
    assert head.fit(x, labels, groups=np.repeat(np.arange(6), 10)).held_out.accuracy < 0.7
    with pytest.raises(ShapeError, match="60 rows of features and 3 groups"):
        head.fit(x, labels, groups=[1, 2, 3])


@pytest.mark.parametrize(("days", "subject"), [(1, ""), (1, "visitor"), (0, "")])
def test_what_a_new_recording_says_of_itself_is_no_gain(learner, clock, days, subject):
    """Somebody shows the classes the other way round; what is of one sitting agrees."""
    sitting(learner, 15)
    learner.accept(learner.train())
    clock.now += 86400 * days
    sitting(learner, 15, shift=3, swapped=True, subject=subject)
    gain = learner.train().report.gain
    assert gain.value == 0  # held out one by one, it would be 0.5


def test_a_second_sitting_that_differs_is_not_refused(learner, clock):
    """What the head in use has learned from is held out as it was then."""
    sitting(learner, 15)
    learner.accept(learner.train())
    clock.now += 86400
    sitting(learner, 15, shift=1.5)
    candidate = learner.train()
    assert not candidate.report.worse
    assert any("held out whole: 1" in note for note in candidate.report.notes)


def test_a_recording_that_the_head_in_use_knows_is_no_test_of_it():
    days = 86400.0
    examples = [example(i, "ab"[i % 2], at=days * (i > 4) + days * (i > 8)) for i in range(1, 13)]
    said = {e.id: e.label for e in examples}
    info = {"held_out": {str(i): "a" for i in range(1, 7)}}  # it has learned from 5 and 6
    asked = []

    def predict(x):
        asked.append(len(x))
        return ["a"] * len(x)

    gain_over(examples, said, info, ("a", "b", "unknown"), predict)
    assert asked == [4]  # 9 to 12: not 7 and 8, which are of the recording of 5 and 6
    asked.clear()
    guest = [example(i, "ab"[i % 2], "ann", at=days * 3) for i in range(13, 17)]
    said |= {e.id: e.label for e in guest}  # held out one by one, with others of theirs learned
    gain_over([*examples, *guest], said, info, ("a", "b", "unknown"), predict)
    assert asked == [4]
    asked.clear()
    more = [example(i, "ab"[i % 2]) for i in range(1, 9)]  # one sitting, of which both know half
    gain_over(more, said, {"held_out": {str(i): "a" for i in range(1, 5)}}, ("a", "b"), predict)
    assert asked == []


async def test_the_process_holds_the_same_out(learner, clock):
    sitting(learner, 6)
    clock.now += 86400
    sitting(learner, 6, shift=3)
    here, apart = learner.train(), await learner.train_async(duty=1)
    assert here.info["held_out"] == apart.info["held_out"]
