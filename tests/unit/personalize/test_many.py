"""Many examples, and many processes: even samples, bounded memory, one store for all."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from edgeml.errors import ConfigError, DataError, StoreError
from edgeml.personalize import KNN, Backbone, Candidate, Learner, Store, TrainReport
from edgeml.personalize._seen import Seen

WATCH = "edgeml:activity_watch_int8.onnx"


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as store:
        yield store


@pytest.fixture(scope="module")
def backbone():
    backbone = Backbone(WATCH)
    yield backbone
    backbone.close()


def filled(store, counts, size=64):
    """Put examples of classes into a store, each class around a direction of its own."""
    rng = np.random.default_rng(0)
    for axis, (label, count) in enumerate(counts.items()):
        for row in rng.normal(0, 1, (count, size)):
            row[axis] += 8
            store.add(label, row)


def test_some_of_many_are_even_over_classes_and_time(store):
    filled(store, {"many": 120, "some": 40, "one": 1}, size=4)
    chosen = store.examples(most=41)
    assert Counter(e.label for e in chosen) == {"many": 20, "some": 20, "one": 1}
    numbers = [e.id for e in chosen if e.label == "many"]
    assert numbers == sorted(numbers)
    quarters = np.histogram(numbers, 4, (1, 121))[0]
    assert quarters.min() >= 4
    assert store.examples(most=41) == chosen
    store.add("many", [1, 2, 3, 4])
    again = {e.id for e in store.examples(most=41)}
    assert len(again & {e.id for e in chosen}) >= 40  # one more changes little
    assert len(store.examples("some", most=7)) == 7
    assert store.examples("none", most=7) == []
    assert len(store.examples(most=1000)) == 162
    assert len(store.examples(most=1)) == 3  # one of each class at least


def test_what_makes_room_is_known_without_reading_all(tmp_path):
    with Store(tmp_path, budget=1 << 18) as store, Store(tmp_path, budget=1 << 18) as other:
        for i in range(150):
            (store if i % 3 else other).add(f"class {i % 2}", np.full(512, i))
        counts = store.counts()
        assert store.counts() == other.counts()
        assert sum(counts.values()) < 150
        assert abs(counts["class 0"] - counts["class 1"]) <= 10
        number = next(e.id for e in store.examples())
        store.remove(number)
        with pytest.raises(ValueError, match="control"):
            store.add("a\nb", np.zeros(512))
        for i in range(30):
            store.add("class 0", np.full(512, i))
        assert store.nbytes <= 1 << 18
        store.check()


def test_directions_of_the_newest_are_kept_in_bounded_memory(store):
    store.bind("backbone", 4)
    filled(store, {"a": 5}, size=4)
    seen = Seen(store, 4)
    assert len(seen._ids) == 5
    seen.most = 300
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(700, 4)).astype(np.float32)
    for number, row in enumerate(rows):
        seen.add(number, row)
    assert len(seen._ids) == len(seen._rows) == 300
    for number in (400, 550, 699):
        found, cosine = seen.nearest(rows[number] * 3)
        assert (found, round(cosine, 5)) == (number, 1.0)
    assert seen.nearest(rows[100])[0] != 100  # the oldest have given their places


def test_learns_from_an_even_part_and_says_so(backbone, store):
    with Learner(backbone, store=store, method="nearest-mean") as learner:
        learner.most_examples = 20
        filled(store, {"a": 60, "b": 15}, size=backbone.size)
        candidate = learner.train()
        assert candidate.report.counts == {"a": 10, "b": 10}
        assert candidate.report.notes[0].startswith("learned from 20 of 75 examples")
        learner.accept(candidate)
        assert learner.forget("b") == 15
        filled(store, {"a": 1, "c": 15}, size=backbone.size)
        apart = asyncio.run(learner.train_async())
        assert sum(apart.report.counts.values()) == 20


def test_neighbours_are_as_many_of_each_class():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 8)).astype(np.float32)
    x[:, 0] += np.repeat([9, -9], [390, 10])
    y = ["many"] * 390 + ["few"] * 10
    head = KNN(most=40).fit(x, y)
    assert len(head._space.anchors) == 40
    assert head._nearest.class_example_count == {"0": 30, "1": 10}
    assert head.predict(x[:3]) == ["many"] * 3
    assert head.predict(x[-3:]) == ["few"] * 3
    with pytest.raises(ConfigError, match="most of at least 2"):
        KNN(most=1)


def test_a_head_that_would_push_examples_out_is_refused(tmp_path):
    with Store(tmp_path, budget=1 << 18) as store:
        filled(store, {"a": 5, "b": 5})
        for keep in (store.accept, store.propose):
            with pytest.raises(StoreError, match="more than a quarter of the budget"):
                keep(bytes(1 << 17), {})
        assert store.counts() == {"a": 5, "b": 5}
        assert store.current() is None


def test_a_candidate_waits_in_the_store(tmp_path):
    report = TrainReport("knn", "knn: as asked", {"a": 2, "b": 2}, float("nan"))
    with Store(tmp_path) as store:
        assert store.proposed() is None
        for content in (b"one", b"two"):
            made = Candidate.of(content, report, {1: "a"})
            assert store.propose(made.content, made.info) == made.version
    with Store(tmp_path) as store:
        kept = Candidate.kept(*store.proposed())
        assert (kept.content, kept.version) == (b"two", made.version)
        assert str(kept.report) == str(report)
        assert store.history() == []
        store.accept(kept.content, kept.info)
        assert store.proposed() is None
        store.propose(b"two", {})  # the same as what is in use
        store.propose(b"three", {})
        assert store.current()[:2] == (made.version, b"two")
        store.forget()
        assert store.proposed() is None


OLDER = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE examples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, label TEXT NOT NULL, subject TEXT NOT NULL,
    added REAL NOT NULL, features BLOB NOT NULL, raw BLOB);
CREATE INDEX by_label ON examples (label);
CREATE TABLE seen (label TEXT PRIMARY KEY, count INTEGER NOT NULL);
CREATE TABLE versions (id TEXT PRIMARY KEY, head BLOB NOT NULL, info TEXT NOT NULL);
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT, action TEXT NOT NULL, version TEXT, at REAL NOT NULL);
PRAGMA user_version = 1;
"""


def test_a_store_of_the_first_schema_is_taken_over(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / "store.sqlite")) as old:
        old.executescript(OLDER)
        for i in range(5):
            row = np.full(4, i, np.float32).tobytes()
            old.execute("INSERT INTO examples (label, subject, added, features, raw) "
                        "VALUES (?, 'me', 0, ?, ?)", ("ab"[i % 2], row, b"raw"))  # fmt: skip
        old.execute("DELETE FROM examples WHERE id = 5")
        old.commit()
    with Store(tmp_path) as store:
        assert [(e.id, e.label, e.features[0]) for e in store.examples()] == [
            (1, "a", 0), (2, "b", 1), (3, "a", 2), (4, "b", 3)
        ]  # fmt: skip
        assert store.raw(1) == b"raw"
        assert store.add("a", np.zeros(4)) == 6  # a number is never given twice
        store.check()
    with Store(tmp_path) as store:
        store.forget()
        assert store.add("c", [1.0]) == 7


def test_a_full_store_keeps_as_many_as_it_ever_held(tmp_path):
    with Store(tmp_path, budget=1 << 18) as store:
        most = 0
        for i in range(900):
            store.add(f"class {i % 3}", np.full(64, i))
            most = max(most, i % 50 == 0 and sum(store.counts().values()))
        assert most < 600
        assert sum(store.counts().values()) >= 0.9 * most
        assert store.nbytes <= 1 << 18


def test_two_processes_add_at_the_same_time(tmp_path):
    code = (
        "import sys, numpy as np; from edgeml.personalize import Store\n"
        "with Store(sys.argv[1]) as s:\n"
        "    for i in range(40): s.add(sys.argv[2], np.full(8, i))"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name]) for name in "ab"]
    with Store(tmp_path) as store:
        for i in range(40):
            store.add("c", np.full(8, i))
        assert [other.wait(60) for other in others] == [0, 0]
        assert store.changed()
        assert not store.changed()
        assert store.counts() == {"a": 40, "b": 40, "c": 40}


def test_examples_are_added_while_it_trains(backbone, store):
    filled(store, {"a": 6, "b": 6}, size=backbone.size)

    async def main(learner):
        training = asyncio.create_task(learner.train_async(duty=1))
        rng, added = np.random.default_rng(1), 0
        while not training.done():
            if await asyncio.to_thread(learner.add, "c", rng.normal(0, 9, (100, 6))):
                added += 1
        return await training, added

    with Learner(backbone, store=store) as learner:
        candidate, added = asyncio.run(main(learner))
        assert added > 0
        assert learner.counts() == {"a": 6, "b": 6, "c": added}
        assert candidate.report.counts.items() >= {"a": 6, "b": 6}.items()
        learner.accept(candidate)


def test_judging_by_its_own_examples_reads_none_of_their_features(store, backbone, monkeypatch):
    filled(store, {"a": 6, "b": 6})
    learner = Learner(backbone, store=store, method="nearest-mean")
    learner.accept(learner.train())
    filled(store, {"a": 20})

    def refused(*arguments, **options):
        raise AssertionError("all examples were read")

    monkeypatch.setattr(store, "_rows", refused)
    assert learner.evaluate().metrics["accuracy"].value == 1.0


def test_nothing_to_judge_by(store, backbone):
    filled(store, {"a": 1, "b": 1})
    learner = Learner(backbone, store=store)
    learner.accept(learner.train())
    for samples in (None, []):
        with pytest.raises(DataError, match="nothing to judge by"):
            learner.evaluate(samples, [])
    with pytest.raises(DataError, match="a label for each of 1 samples; received 0"):
        learner.evaluate([np.random.default_rng(0).normal(size=(100, 6))])
