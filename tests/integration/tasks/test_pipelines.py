"""Tasks as stages of a pipeline."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from edgeml import ImageClassifier, ObjectDetector, Sample, Source, VoiceActivity, WakeWord
from edgeml.errors import InputError, StageFailed
from edgeml.tasks import Changed, Hold

pytestmark = pytest.mark.usefixtures("no_thread_left")


def frames_of(pictures):
    return [
        Sample(frame, t=i * 100_000_000, arrived=0, source="camera", seq=i)
        for i, frame in enumerate(pictures)
    ]


async def collect(pipeline):
    return [item async for item in pipeline]


async def test_inferences_in_flight_keep_their_order(photo):
    names = ["cat.jpg", "espresso.jpg", "rocket.jpg"] * 8
    classify = ImageClassifier(concurrency=4)
    results = await collect(Source.of(frames_of(map(photo, names))) | classify)
    assert [r.seq for r in results] == list(range(24))
    alone = [classify(photo(name)).label for name in names[:3]]
    assert [r.data.label for r in results] == alone * 8


async def test_a_smoothed_task_is_two_stages_and_gives_what_it_gives_alone(photo):
    names = ["cat.jpg"] * 5 + ["espresso.jpg"] * 20
    samples = frames_of(map(photo, names))
    task = ImageClassifier(smooth=1.0, concurrency=2, name="what")
    pipeline = Source.of(samples) | task
    results = await collect(pipeline)
    assert {"what", "what-smooth"} <= set(pipeline.stats().stages)
    alone = ImageClassifier(smooth=1.0)
    assert [r.data for r in results] == [alone(sample).data for sample in samples]


async def test_a_task_runs_in_a_second_pipeline(photo):
    task = ObjectDetector(hold=1.0)
    for _ in range(2):
        (result,) = await collect(Source.of(frames_of([photo("portrait.jpg")])) | task)
        assert result.data.counts() == {"person": 1}
        assert result.data[0].track == 1


async def test_a_frame_that_is_none_ends_the_pipeline_or_is_counted(photo):
    good, bad = photo("cat.jpg"), np.zeros((10, 10), np.uint8)
    samples = frames_of([good, bad, good])
    with pytest.raises(StageFailed, match="expected a frame") as failure:
        await collect(Source.of(samples) | ImageClassifier())
    assert isinstance(failure.value.__cause__, InputError)
    pipeline = Source.of(samples) | ImageClassifier(on_error="skip", name="what")
    pipeline.on("error", lambda event: None)
    assert len(await collect(pipeline)) == 2
    stage = pipeline.stats().stages["what"]
    assert (stage.in_, stage.done, stage.failed) == (3, 2, 1)


async def test_a_model_that_is_missing_ends_the_pipeline_at_its_start(photo):
    pipeline = Source.of(frames_of([photo("cat.jpg")])) | ImageClassifier("no-such.onnx")
    with pytest.raises(FileNotFoundError, match=r"no-such\.onnx"):
        await collect(pipeline)


async def test_sound_becomes_events(voice):
    blocks = [
        Sample(voice[i : i + 512], round(i / 16 * 1e6), 0, "mic", i // 512, 32_000_000)
        for i in range(0, len(voice) - 511, 512)
    ]
    wakes, speech = await asyncio.gather(
        collect(Source.of(blocks) | WakeWord()),
        collect(Source.of(blocks) | VoiceActivity() | Changed()),
    )
    assert [w.data.word for w in wakes] == ["okay nabu"] * 3
    assert speech[0].data.active
    assert not speech[-1].data.active


async def test_states_are_held_and_told_once(photo):
    names = [("cat.jpg", "espresso.jpg")[i % 2] for i in range(20)]
    pipeline = Source.of(frames_of(map(photo, names))) | ImageClassifier() | Hold(1.0) | Changed()
    assert [r.t for r in await collect(pipeline)] == [0, 1_100_000_000]
