"""Isolated models in a pipeline: no frame is lost, and the pipeline tells what happens."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import edgeml
from edgeml.streams import Source
from edgeml.testing import FakeAccelerator

MODEL = "edgeml:efficientnet_lite0_int8.onnx"
CRASH = 5  # the frame at which the accelerator fails


class Frames(Source):
    """Frames until it is told to end; the accelerator fails in between."""

    def __init__(self, fake):
        super().__init__(name="camera", keep="every")
        self.fake, self.sent, self.ending = fake, 0, False

    async def _read(self):
        if self.ending:
            raise StopAsyncIteration
        self.sent += 1
        if self.sent == CRASH:
            self.fake.fault("crash")
        return self._sample(np.full((8, 8, 3), self.sent % 256, np.uint8))


@pytest.mark.parametrize("whose", ["the task's", "the user's"])
def test_a_pipeline_goes_on_and_tells(whose):
    changes = []

    async def run(fake, task):
        source = Frames(fake)
        pipeline = source | task

        def changed(change):
            if change.source == task.name:
                changes.append(change)
                source.ending = change.new == "running"

        pipeline.on("state", changed)
        results = [sample async for sample in pipeline]
        assert len(results) == source.sent > CRASH
        assert pipeline.stats().sources["camera"].dropped == {}

    with FakeAccelerator() as fake:
        if whose == "the task's":
            task = edgeml.ImageClassifier(MODEL, delegate="fake", isolated=True)
            asyncio.run(run(fake, task))
        else:
            with edgeml.load(MODEL, "fake", 1, isolated=True) as session:
                asyncio.run(run(fake, edgeml.ImageClassifier(session)))
                assert session._listeners == []
    assert [(change.old, change.new) for change in changes] == [
        ("running", "fallback"),
        ("fallback", "running"),
    ]
    assert "it was ended by SIGSEGV" in changes[0].reason
