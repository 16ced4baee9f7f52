from __future__ import annotations

from edgeml import Sample
from edgeml.tasks import Box, Detection, Detections, Track

S = 1_000_000_000


def frame(t, *things, source="s"):
    found = Detections(Detection(Box(x, 0, 10, 10), label, score) for x, label, score in things)
    return Sample(found, t, t, source=source)


def tracks(sample):
    return {d.track: (d.box.x, d.label) for d in sample.data}


def test_a_thing_keeps_its_number_while_it_moves():
    track = Track(1.0)
    for step in range(20):
        out = track(frame(step * S // 10, (step * 4, "cat", 0.9), (200 - step * 4, "cat", 0.8)))
        assert tracks(out) == {1: (step * 4, "cat"), 2: (200 - step * 4, "cat")}


def test_a_missed_thing_stays_for_the_hold_and_comes_back_as_itself():
    track = Track(1.0)
    track(frame(0, (0, "cat", 0.9)))
    assert tracks(track(frame(S))) == {1: (0, "cat")}
    assert tracks(track(frame(S, (2, "cat", 0.9)))) == {1: (2, "cat")}


def test_a_thing_that_is_away_for_longer_is_a_new_one():
    track = Track(1.0)
    track(frame(0, (0, "cat", 0.9)))
    assert tracks(track(frame(S + 1))) == {}
    assert tracks(track(frame(S + 2, (0, "cat", 0.9)))) == {2: (0, "cat")}


def test_another_label_is_another_thing():
    track = Track(0.0)
    track(frame(0, (0, "cat", 0.9)))
    assert tracks(track(frame(1, (0, "dog", 0.9)))) == {2: (0, "dog")}


def test_each_source_has_its_own_numbers():
    track = Track(1.0)
    assert tracks(track(frame(0, (0, "cat", 0.9), source="a"))) == {1: (0, "cat")}
    assert tracks(track(frame(0, (0, "cat", 0.9), source="b"))) == {1: (0, "cat")}


def test_the_best_overlap_wins():
    track = Track(1.0)
    track(frame(0, (0, "cat", 0.9), (5, "cat", 0.8)))
    assert tracks(track(frame(1, (5, "cat", 0.9), (1, "cat", 0.8)))) == {
        1: (1, "cat"), 2: (5, "cat"),
    }  # fmt: skip
