"""The learner: from samples to a head in use, guarded, taken back, forgotten, in a stream."""

import asyncio
import stat

import numpy as np
import pytest

import edgeml
from edgeml.errors import ConfigError, DataError, InputError, ModelError, StoreError, TrainingError
from edgeml.personalize import KNN, UNKNOWN, Backbone, Learner, Store
from edgeml.streams import Sample, Source

WATCH = "edgeml:activity_watch_int8.onnx"


@pytest.fixture(scope="module")
def backbone():
    backbone = Backbone(WATCH)
    yield backbone
    backbone.close()


@pytest.fixture
def learner(backbone, tmp_path):
    with Learner(backbone, store=tmp_path / "store", duplicate=0.99999) as learner:
        yield learner


RNG = np.random.default_rng(0)


def motion(kind, rng=RNG):
    """Return two seconds of motion: 0 still, 1 up and down, 2 turning, 3 along x."""
    t = np.arange(100) / 50 + rng.uniform(0, 2)
    window = rng.normal(0, 0.3, (100, 6))
    window[:, 2] += 9.8
    if kind:
        wave = np.sin(2 * np.pi * rng.uniform(0.8, 1.2) * t)
        window[:, {1: 2, 2: 4, 3: 0}[kind]] += wave * rng.uniform(5, 7)
    return window.astype(np.float32)


def teach(learner, names, count=6, **options):
    for number, name in names.items():
        for _ in range(count):
            learner.add(name, motion(number), **options)


def test_learns_predicts_and_evaluates(learner):
    assert learner.predict(motion(1)).label == UNKNOWN
    assert learner.labels == (UNKNOWN,)
    teach(learner, {0: "still", 1: "up", 2: "turn"})
    assert learner.counts() == {"still": 6, "up": 6, "turn": 6}
    candidate = learner.train()
    assert candidate.report.accuracy >= 0.8
    assert candidate.report.gain is None
    assert "linear" in str(candidate.report)
    assert learner.predict(motion(1)).label == UNKNOWN  # a candidate is not in use
    assert learner.accept(candidate) == candidate.version
    found = learner.predict(motion(2))
    assert found.top[0][0] == "turn"
    assert found.features.shape == (64,)
    own = learner.evaluate()
    assert own.labels == ("still", "up", "turn", UNKNOWN)
    assert own.metrics["accuracy"].value == pytest.approx(candidate.report.accuracy)
    y = ["still", "up", "turn"] * 8
    report = learner.evaluate([motion(i % 3) for i in range(24)], y, subjects=["a", "b"] * 12)
    assert report.metrics["accuracy"].value >= 0.8
    assert {s.name for s in report.slices} == {"subject=a", "subject=b"}


def test_what_was_learned_is_there_the_next_time(backbone, tmp_path):
    with Learner(backbone, store=tmp_path) as learner:
        teach(learner, {0: "still", 1: "up"})
        learner.accept(learner.train())
        window = motion(1)
        before = learner.predict(window)
    with Learner(backbone, store=tmp_path) as learner:
        assert learner.predict(window) == before
        assert [v.action for v in learner.history()] == ["accept"]


def test_new_classes_at_any_time_and_back(learner):
    teach(learner, {0: "still", 1: "up"})
    first = learner.accept(learner.train())
    teach(learner, {2: "turn"}, count=8)
    candidate = learner.train()
    assert candidate.report.gain is not None
    assert not candidate.report.worse
    learner.accept(candidate)
    assert "turn" in learner.labels
    assert learner.rollback() == first
    assert learner.labels == ("still", "up", UNKNOWN)
    with pytest.raises(StoreError, match="no earlier version"):
        learner.rollback()


def test_a_worse_candidate_is_refused_unless_forced(learner):
    teach(learner, {0: "still", 1: "up"}, count=12)
    learner.accept(learner.train())
    for number in range(2):  # two new classes that are the old ones under other names
        teach(learner, {number: f"other {number}"}, count=24)
    learner.method = KNN(k=5)
    candidate = learner.train()
    assert candidate.report.worse
    with pytest.raises(TrainingError, match="SIGNIFICANTLY WORSE"):
        learner.accept(candidate)
    assert learner.labels == ("still", "up", UNKNOWN)
    learner.accept(candidate, force=True)
    assert "other 1" in learner.labels


def test_forgets_a_class_and_learns_the_rest_anew(learner):
    teach(learner, {0: "still", 1: "up", 2: "turn"})
    learner.accept(learner.train())
    assert learner.forget("turn") == 6
    assert learner.labels == ("still", "up", UNKNOWN)
    assert learner.predict(motion(1)).label in ("up", UNKNOWN)
    assert [v.action for v in learner.history()] == ["forget"]
    learner.forget("up")  # one class is left, which nothing can be told from
    assert learner.labels == (UNKNOWN,)
    assert learner.forget() == 6
    assert learner.counts() == {}
    teach(learner, {0: "still", 1: "up"}, count=2)
    assert learner.train().report.method == "nearest-mean"


def test_duplicates_and_contradictions_are_told(learner):
    window = motion(1)
    number = learner.add("up", window)
    with pytest.raises(DataError, match=f"the same as example {number}, of the same label"):
        learner.add("up", window)
    with pytest.raises(DataError, match="labelled 'up', which contradicts 'down'"):
        learner.add("down", window)
    learner.remove(number)
    assert learner.add("down", window) is not None


def test_contradictions_that_are_there_already_are_noted(backbone, tmp_path):
    with Learner(backbone, store=tmp_path, duplicate=1.1) as learner:
        window = motion(1)
        teach(learner, {0: "still", 1: "up"}, count=3)
        learner.add("up", window)
        learner.add("down", window)
        learner.duplicate = 0.9999
        notes = " ".join(learner.train().report.notes)
        assert "nearly the same, and one is up, the other down" in notes
        assert "only one example" in notes


@pytest.mark.parametrize(("sample", "error", "said"), [
    (np.zeros((100, 6), np.float32), DataError, "frozen"),
    (np.full((100, 6), 7), DataError, "frozen"),
    (np.full((100, 6), np.nan), DataError, "NaN"),
    (np.zeros((50, 6)), InputError, "the rate and the length"),
    (np.zeros((100, 3)), InputError, r"\[100, 3\]"),
    ("text", InputError, "expected numbers"),
])  # fmt: skip
def test_refuses_samples_with_nothing_in_them(learner, sample, error, said):
    with pytest.raises(error, match=said):
        learner.add("up", sample)
    assert learner.counts() == {}


def test_one_class_and_no_class_cannot_be_trained(learner):
    with pytest.raises(DataError, match="no examples yet"):
        learner.train()
    teach(learner, {0: "still"}, count=2)
    with pytest.raises(DataError, match="one class only, 'still'"):
        learner.train()
    with pytest.raises(DataError, match="no head in use"):
        learner.evaluate()
    with pytest.raises(DataError, match="no head in use"):
        learner.export("/nowhere/x.onnx")


def test_a_wrong_method_is_told_at_once_and_closes_what_was_opened(backbone, tmp_path):
    with pytest.raises(ConfigError, match="svm"):
        Learner(backbone, store=tmp_path, method="svm")


def test_store_of_another_backbone_is_refused_or_embedded_anew(backbone, tmp_path):
    with Learner(backbone, store=tmp_path, keep_raw=True) as learner:
        teach(learner, {0: "still", 1: "up"}, count=2)
        learner.accept(learner.train())
    other = Backbone(WATCH, features="probabilities")
    with pytest.raises(StoreError, match=r"4 of its 4 examples were kept raw.*reembed=True"):
        Learner(other, store=tmp_path)
    with Learner(other, store=tmp_path, reembed=True) as learner:
        assert {e.features.shape for e in learner.examples()} == {(7,)}
        assert learner.labels == (UNKNOWN,)
        learner.accept(learner.train())
    other.close()


def test_exports_one_file_that_says_the_same(learner, tmp_path):
    teach(learner, {0: "still", 1: "up"})
    learner.accept(learner.train())
    learner.export(tmp_path / "personal.onnx", metadata={"edgeml.origin": "my wrist"})
    learner.export(tmp_path / "head.onnx", backbone=False)
    assert stat.S_IMODE((tmp_path / "head.onnx").stat().st_mode) == 0o600  # somebody's data
    task = edgeml.ActivityRecognizer(tmp_path / "personal.onnx")
    for kind in (0, 1):
        window = motion(kind)
        ours, theirs = learner.predict(window), task(window)
        assert (ours.label, ours.labels) == (theirs.label, theirs.labels)
        assert ours.score == pytest.approx(theirs.score, abs=1e-4)
    with edgeml.load(tmp_path / "head.onnx") as head:
        found = head.run(learner.predict(window).features[None])["probabilities"]
        assert found.shape == (1, 3)


def test_a_stage_in_a_stream_that_goes_on_while_it_learns(learner):
    teach(learner, {0: "still", 1: "up"})

    count = 60
    windows = [Sample(motion(1), t=i * 10**9, arrived=0) for i in range(count - 1)]
    still = Sample(np.zeros((100, 6), np.float32), t=(count - 1) * 10**9, arrived=0)

    async def main():
        labels = []
        async for sample in Source.of([*windows, still]) | learner:
            labels.append((sample.t, sample.data.label))
            if len(labels) == 4:
                learner.accept(await asyncio.to_thread(learner.train))
        return labels

    found = asyncio.run(main())
    assert [t for t, _ in found] == [i * 10**9 for i in range(count)]
    assert found[0][1] == UNKNOWN
    assert "up" in [label for _, label in found]
    assert found[-1][1] == UNKNOWN  # nothing moved: no error in a stream
    assert learner.predict(motion(1)) is not None  # the pipeline's end closed nothing


def test_collects_from_a_stream(learner):
    async def main():
        same = motion(1)
        windows = [motion(1), same, same, np.zeros((100, 6)), motion(1), motion(1)]
        samples = [Sample(w, t=i * 10**9, arrived=0) for i, w in enumerate(windows)]
        source = Source.of(samples)
        async with learner.collect("up", source, count=4, countdown=0, subject="me") as collection:
            return await collection.done()

    steps = asyncio.run(main())
    assert [s.state for s in steps] == ["kept", "kept", "rejected", "rejected", "kept", "kept"]
    assert [s.left for s in steps] == [3, 2, 2, 2, 1, 0]
    assert "nearly the same" in steps[2].reason
    assert [e.subject for e in learner.examples("up")] == ["me"] * 4


def test_collects_not_too_often_and_says_when_the_source_ends(learner):
    async def main():
        samples = [Sample(motion(1), t=i * 10**8, arrived=0) for i in range(10)]
        source = Source.of(samples)
        async with learner.collect("up", source, count=5, countdown=0, every=0.5) as collection:
            await collection.done()

    with pytest.raises(DataError, match="ended after 2 of 5"):
        asyncio.run(main())
    assert learner.counts() == {"up": 2}


def test_countdown_comes_first_and_leaving_early_is_fine(learner):
    async def main():
        async with learner.collect("up", Source.of([motion(1)]), countdown=2.5) as collection:
            return await anext(aiter(collection))

    step = asyncio.run(main())
    assert (step.state, step.left) == ("countdown", 2.5)
    with pytest.raises(ConfigError, match="count of at least 1"):
        learner.collect("up", [], count=0)


def test_pictures_by_a_backbone_with_an_output_for_features(tmp_path):
    rng = np.random.default_rng(0)

    def picture(kind):
        picture = rng.integers(0, 60, (120, 160, 3)).astype(np.uint8)
        x, y = rng.integers(10, 60, 2)
        picture[y : y + 50, x : x + 50, kind] = 250
        return picture

    with Learner("edgeml:efficientnet_lite0_int8.onnx", store=tmp_path) as learner:
        for kind in range(2):
            for _ in range(3):
                learner.add(f"colour {kind}", picture(kind))
        learner.accept(learner.train())
        assert learner.predict(picture(1)).top[0][0] == "colour 1"
        with pytest.raises(DataError, match="black"):
            learner.add("dark", np.zeros((64, 64, 3), np.uint8))
        with pytest.raises(InputError, match="grey"):
            learner.add("grey", np.zeros((64, 64), np.uint8))


def test_features_of_a_tflite_model_and_a_head_beside_it(tmp_path):
    backbone = Backbone(
        "edgeml:blazeface.tflite", preprocess=lambda x: x[None], features="regressors"
    )
    shape = tuple(n for n in edgeml.load("edgeml:blazeface.tflite").inputs[0].shape[1:])
    rng = np.random.default_rng(0)
    with Learner(backbone, store=Store(tmp_path)) as learner:
        for label, level in (("dark", -1), ("bright", 1)):
            for _ in range(3):
                learner.add(label, (rng.normal(0, 0.2, shape) + level).astype(np.float32))
        learner.accept(learner.train())
        learner.export(tmp_path / "head.onnx", backbone=False)
        with pytest.raises(ModelError, match="backbone=False"):
            learner.export(tmp_path / "all.onnx")
        learner.store.close()
    backbone.close()


def test_several_threads_predict_while_heads_change(learner):
    teach(learner, {0: "still", 1: "up"}, count=3)
    first = learner.train()
    learner.accept(first)
    teach(learner, {2: "turn"}, count=3)
    second = learner.train()

    async def main():
        async def predict():
            found = await asyncio.to_thread(learner.predict, motion(1))
            assert len(found.scores) == len(found.labels)

        async def change():
            for _ in range(3):
                await asyncio.to_thread(learner.accept, second, force=True)
                await asyncio.to_thread(learner.rollback)

        await asyncio.gather(change(), *[predict() for _ in range(20)])

    asyncio.run(main())
    assert learner.labels == ("still", "up", UNKNOWN)


def test_trains_in_a_process_of_its_own_to_the_same_head(learner):
    teach(learner, {0: "still", 1: "up"})
    learner.method = KNN(k=1)
    here = learner.train(weights=lambda e: e.id)
    apart = asyncio.run(learner.train_async(weights=lambda e: e.id))
    assert apart.version == here.version
    assert apart.info["held_out"] == here.info["held_out"]
    learner.method = "auto"
    apart = asyncio.run(learner.train_async(duty=0.9))
    assert apart.report.accuracy >= 0.9
    learner.accept(apart)


def test_training_process_says_what_is_wrong(learner):
    teach(learner, {0: "still"}, count=2)
    with pytest.raises(DataError, match="one class only, 'still'"):
        asyncio.run(learner.train_async())
    teach(learner, {1: "up"}, count=2)
    with pytest.raises(TrainingError, match="Raise memory_limit"):
        asyncio.run(learner.train_async(memory_limit=1 << 20))
    with pytest.raises(ConfigError, match="duty"):
        asyncio.run(learner.train_async(duty=0))

    class Own(KNN):
        pass

    learner.method = Own()
    with pytest.raises(ConfigError, match="Own cannot be trained in another process"):
        asyncio.run(learner.train_async())


def test_training_process_ends_when_it_is_cancelled(learner):
    teach(learner, {0: "still", 1: "up"})

    async def main():
        task = asyncio.create_task(learner.train_async())
        done, _ = await asyncio.wait({task}, timeout=0.05)
        assert not done
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert learner.history() == []
