"""Another model in a running pipeline: nothing lost, nothing out of order, or nothing changed."""

from __future__ import annotations

import asyncio
import json
import threading
from itertools import groupby

import numpy as np
import pytest

from edgeml import ActivityRecognizer, ImageClassifier, VoiceActivity
from edgeml.errors import EdgeMLError, GraphError, ModelError, ModelNotFound, PipelineError
from edgeml.streams import Sample, Source, stage

pytestmark = pytest.mark.usefixtures("no_thread_left")

LABELS = ("ant", "bee", "cat")


class Frames(Source[Sample]):
    """Frames without end, each a moment after the one before; keeps every one."""

    def __init__(self, size=4):
        super().__init__(name="frames", keep="every")
        self.size = size
        self.ending = False

    async def _read(self):
        if self.ending:
            raise StopAsyncIteration
        await asyncio.sleep(0)
        return self._sample(np.zeros((self.size, self.size, 3), np.uint8), t=self._seq * 10**7)


@pytest.fixture
def classifier_file(onnx_file):
    """Return what writes an image classifier that always sees the same."""

    def build(
        sees, name=None, *, labels=LABELS, size=4, described=True, output="scores", floats=False,
        task="image-classification", nan=False,
    ):  # fmt: skip
        scores = np.zeros((1, len(labels)), np.float32)
        scores[0, labels.index(sees)] = np.nan if nan else 1
        preprocess = {"type": "image", "size": [size, size]} | (
            {"dtype": "float32"} if floats else {}
        )
        return onnx_file(
            [
                ("Cast", ["x"], ["f"], {"to": 1}),
                ("ReduceMax", ["f"], ["m"], {"axes": [1, 2, 3], "keepdims": 0}),
                ("Mul", ["m", "zero"], ["z"]),
                ("Add", ["z", "s"], [output]),
            ],
            {"x": ([1, 3, size, size], "FLOAT" if floats else "UINT8")},
            {output: ([1, len(labels)], "FLOAT")},
            {"zero": np.zeros(1, np.float32), "s": scores},
            {
                "edgeml.task": task,
                "edgeml.labels": json.dumps(labels),
                "edgeml.preprocess": json.dumps(preprocess if described else {}),
            },
            name=name or f"{sees}.onnx",
        )  # fmt: skip

    return build


class Running:
    """A pipeline that runs while the block does, and what came out of it."""

    def __init__(self, *steps, source=None):
        self.source = source or Frames()
        self.pipeline = self.source.pipe(*steps)
        self.results = []
        self.pipeline.on("result", self.results.append)

    async def __aenter__(self):
        self.task = asyncio.create_task(self.pipeline.run())
        await self.next_result()
        return self

    async def next_result(self):
        await self.pipeline.once("result")

    async def __aexit__(self, *exc_info):
        self.source.ending = True
        await self.task

    def runs_of_labels(self):
        return [label for label, _ in groupby(s.data.label for s in self.results)]


def loading(cls):
    """Return the class with a list of the sessions that its objects loaded."""

    sessions = []

    class Loading(cls):
        def _load(self):
            sessions.append(super()._load())
            return sessions[-1]

    Loading.sessions = sessions
    return Loading


async def test_no_frame_is_lost_and_none_is_out_of_order(classifier_file):
    files = {sees: classifier_file(sees) for sees in LABELS}
    task = loading(ImageClassifier)(files["ant"], name="see", concurrency=4)
    wanted = ["bee", "cat", "ant"] * 4
    async with Running(task) as running:
        for sees in wanted:
            await running.pipeline.swap("see", files[sees])
            assert sum(not s._closed for s in task.sessions) == 1
            while running.results[-1].data.label != sees:
                await running.next_result()
    assert running.runs_of_labels() == ["ant", *wanted]  # each swap is between two samples
    assert [s.seq for s in running.results] == list(range(len(running.results)))
    stats = running.pipeline.stats()
    assert stats.stages["see"].done == stats.sources["frames"].in_ == len(running.results)
    assert all(session._closed for session in task.sessions)


async def test_what_smooths_after_a_task_goes_on(classifier_file):
    task = ImageClassifier(classifier_file("ant"), name="see", smooth=0.05)
    async with Running(task) as running:
        await running.pipeline.swap("see", classifier_file("bee"))
        while running.results[-1].data.label != "bee":
            await running.next_result()
    assert running.runs_of_labels() == ["ant", "bee"]
    shares = [float(s.data.scores[1]) for s in running.results]
    assert shares == sorted(shares)
    assert any(0 < share < 0.9 for share in shares)  # the average did not start anew


async def test_the_old_model_is_closed_after_its_last_call(classifier_file, until):
    began, go_on = threading.Event(), threading.Event()

    class Slow(ImageClassifier):
        def _infer(self, data, session):
            if session.path.endswith("ant.onnx"):
                began.set()
                assert go_on.wait(20)
            return super()._infer(data, session)

    task = loading(Slow)(classifier_file("ant"), name="see", concurrency=2)
    running = Running(task)
    running.task = asyncio.create_task(running.pipeline.run())
    await asyncio.to_thread(began.wait, 20)
    swapping = asyncio.create_task(running.pipeline.swap("see", classifier_file("bee")))
    await until(lambda: len(task.sessions) == 2)
    old, new = task.sessions
    done, _ = await asyncio.wait([swapping], timeout=0.05)
    assert not done
    assert not old._closed
    go_on.set()
    await swapping
    assert old._closed
    assert not new._closed
    await running.__aexit__()
    assert running.runs_of_labels() in (["ant", "bee"], ["ant"])


async def test_swaps_at_once_follow_one_another(classifier_file):
    task = loading(ImageClassifier)(classifier_file("ant"), name="see")
    async with Running(task) as running:
        swap = running.pipeline.swap
        await asyncio.gather(*(swap("see", classifier_file(sees)) for sees in ("bee", "cat")))
        assert [s._closed for s in task.sessions] == [True, True, False]
        while running.results[-1].data.label != "cat":
            await running.next_result()
    assert all(session._closed for session in task.sessions)


async def test_a_swap_that_is_cancelled_leaves_one_model(classifier_file):
    task = loading(ImageClassifier)(classifier_file("ant"), name="see")
    async with Running(task) as running:
        for k in range(8):
            swapping = asyncio.create_task(running.pipeline.swap("see", classifier_file("bee")))
            for _ in range(3 * k):
                await asyncio.sleep(0)
            swapping.cancel()
            await asyncio.wait([swapping])
        await running.pipeline.swap("see", classifier_file("cat"))
        while running.results[-1].data.label != "cat":
            await running.next_result()
    assert [s.seq for s in running.results] == list(range(len(running.results)))


REFUSED = {
    "labels in another order": (
        {"sees": "bee", "labels": ("bee", "ant", "cat")}, "label 0: expected 'ant', received 'bee'"
    ),
    "fewer classes": (
        {"sees": "bee", "labels": ("ant", "bee")},
        "[1, 3], received float32 [1, 2]; labels: expected 3, received 2",
    ),
    "another output": (
        {"sees": "bee", "output": "logits"}, "output 'scores' is missing, there is logits"
    ),
    "another task": ({"sees": "bee", "task": "object-detection"}, "for image-classification"),
    "not described": ({"sees": "bee", "described": False}, "says nothing of how a picture"),
    "NaN": ({"sees": "bee", "nan": True}, "NaN or infinity"),
}  # fmt: skip


@pytest.mark.parametrize(("model", "message"), REFUSED.values(), ids=REFUSED)
async def test_a_model_that_does_not_fit_is_refused(classifier_file, model, message):
    task = loading(ImageClassifier)(classifier_file("ant"), name="see")
    async with Running(task) as running:
        with pytest.raises(EdgeMLError) as error:
            await running.pipeline.swap("see", classifier_file(name="new.onnx", **model))
        assert message in str(error.value)
        assert "new.onnx" in str(error.value)
        assert [s._closed for s in task.sessions] == [False, True]
        await running.next_result()
    assert running.runs_of_labels() == ["ant"]
    assert [s.seq for s in running.results] == list(range(len(running.results)))


async def test_a_model_that_cannot_be_loaded_leaves_the_old_one(classifier_file, tmp_path):
    async with Running(ImageClassifier(classifier_file("ant"), name="see")) as running:
        with pytest.raises(ModelNotFound):
            await running.pipeline.swap("see", tmp_path / "missing.onnx")
        (tmp_path / "bad.onnx").write_bytes(b"\x08\x07garbage")
        with pytest.raises(ModelError, match=r"bad\.onnx"):
            await running.pipeline.swap("see", tmp_path / "bad.onnx")
        await running.next_result()
    assert running.runs_of_labels() == ["ant"]


@pytest.mark.parametrize("change", [{"size": 8}, {"floats": True}, {"size": 2, "floats": True}])
async def test_size_and_dtype_may_follow_the_metadata(classifier_file, change):
    async with Running(ImageClassifier(classifier_file("ant"), name="see")) as running:
        await running.pipeline.swap("see", classifier_file("bee", **change))
        while running.results[-1].data.label != "bee":
            await running.next_result()


async def test_a_size_that_the_user_gave_stays(classifier_file):
    given = {"preprocess": {"size": [4, 4]}, "postprocess": {"output": "scores"}}
    task = ImageClassifier(classifier_file("ant"), name="see", labels=LABELS, **given)
    async with Running(task) as running:
        with pytest.raises(ModelError, match=r"input 'x': expected uint8 \[1, 3, 4, 4\], received"):
            await running.pipeline.swap("see", classifier_file("bee", size=8))


async def test_swap_refuses_what_makes_no_sense(classifier_file):
    @stage(name="plain")
    def plain(sample):
        return sample

    task = ImageClassifier(classifier_file("ant"), name="see")
    async with Running(task, plain) as running:
        swap = running.pipeline.swap
        with pytest.raises(GraphError, match="'plain' is no task with a model"):
            await swap("plain", "model.onnx")
        with pytest.raises(GraphError, match="there is no stage 'sea'; expected one of see, plain"):
            await swap("sea", classifier_file("bee"))
        with pytest.raises(GraphError, match=r"takes a model .* received None"):
            await swap("see", None)
        with pytest.raises(GraphError, match="stands in the pipeline twice"):
            await swap("see", plain)
    with pytest.raises(PipelineError, match="is not running"):
        await running.pipeline.swap("see", classifier_file("bee"))


async def test_a_task_for_a_task(classifier_file):
    first = ImageClassifier(classifier_file("ant"), name="see", smooth=0.05, concurrency=2)
    async with Running(first) as running:
        second = ImageClassifier(classifier_file("bee"), smooth=0.05, concurrency=2)
        await running.pipeline.swap("see", second)
        while running.results[-1].data.label != "bee":
            await running.next_result()


async def test_an_async_stage_is_closed_after_its_last_call():
    inside, go_on = asyncio.Event(), asyncio.Event()
    closed_with = []

    class Ask(type(stage(lambda s: s))):
        def aclose(self):
            closed_with.append(go_on.is_set())

    async def slow(sample):
        inside.set()
        await go_on.wait()
        return sample

    async def quick(sample):
        return sample

    running = Running(Ask(slow, name="ask"))
    running.task = asyncio.create_task(running.pipeline.run())
    await inside.wait()
    swapping = asyncio.create_task(running.pipeline.swap("ask", Ask(quick)))
    done, _ = await asyncio.wait([swapping], timeout=0.05)
    assert not done
    go_on.set()
    await swapping
    assert closed_with == [True]
    await running.__aexit__()
    assert [s.seq for s in running.results] == list(range(len(running.results)))


async def test_who_speaks_goes_on_speaking():
    """The model's state begins anew, what the task knows of the sound does not."""
    rng = np.random.default_rng(0)

    class Sound(Source[Sample]):
        ending = False

        async def _read(self):
            if self.ending:
                raise StopAsyncIteration
            await asyncio.sleep(0)
            block = rng.normal(0, 0.01, 512).astype(np.float32)
            return self._sample(block, t=self._seq * 32_000_000, duration=32_000_000)

    # Noise is speech to a task with such thresholds, whatever the model says.
    task = loading(VoiceActivity)(name="vad", onset=1e-9, offset=1e-9, emit="every")
    async with Running(task, source=Sound(keep="every")) as running:
        while not running.results[-1].data.active:
            await running.next_result()
        spoke = len(running.results)
        await running.pipeline.swap("vad", "edgeml:silero_vad.onnx")
        assert [s._closed for s in task.sessions] == [True, False]
        for _ in range(5):
            await running.next_result()
    assert all(s.data.active for s in running.results[spoke:])
    assert [s.t for s in running.results] == [n * 32_000_000 for n in range(len(running.results))]


async def test_windows_of_motion_go_over_a_swap():
    class Motion(Source[Sample]):
        ending = False

        async def _read(self):
            if self.ending:
                raise StopAsyncIteration
            await asyncio.sleep(0)
            return self._sample(np.zeros(6, np.float32), t=self._seq * 20_000_000)

    task = ActivityRecognizer(name="activity", hop=0.1)
    async with Running(task, source=Motion(keep="every")) as running:
        for _ in range(5):
            await running.pipeline.swap("activity", "edgeml:activity_watch_int8.onnx")
            await running.next_result()
    times = [s.t for s in running.results]
    assert times == [n * 100_000_000 for n in range(len(times))]
