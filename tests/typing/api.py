"""What a user writes; it must pass mypy in strict mode. Never run, only checked."""

from __future__ import annotations

from collections.abc import AsyncIterator

import edgeml
from edgeml.errors import DeviceLost, EdgeMLError
from edgeml.streams import SKIP, Backoff, Pipeline, Sample, Sink, Source, Stage, stage


class Thermometer(Source[Sample[float]]):
    """A source of one's own."""

    live = True

    async def _read(self) -> Sample[float]:
        sample: Sample[float] = self._sample(21.5)
        return sample


class Fahrenheit(Stage):
    """A stage of one's own."""

    def __call__(self, item: Sample[float]) -> Sample[float]:
        return item.with_data(item.data * 1.8 + 32)


class Log(Sink):
    """A sink of one's own."""

    async def send(self, item: Sample[float]) -> None:
        print(item.t, item.source, item.data)


@stage(concurrency=2, on_error="skip")
def warm(item: Sample[float]) -> object:
    """Keep what is above 70 degrees."""
    return item if item.data > 70.0 else SKIP


async def run() -> None:
    """Build a pipeline and run it."""
    pipeline: Pipeline = Thermometer(reconnect=Backoff(attempts=3)) | Fahrenheit() | warm | Log()
    try:
        await pipeline.run()
    except DeviceLost as error:
        raise SystemExit(str(error)) from error
    except EdgeMLError:
        raise


async def readings() -> AsyncIterator[float]:
    """Use a source by itself."""
    source = Thermometer(name="room", keep="freshest", max_age=0.5)
    async for sample in source:
        value: float = sample.data
        yield value
    await source.aclose()


def infer(path: str) -> list[str]:
    """Load a model and run it."""
    with edgeml.load(path) as session:
        spec: edgeml.TensorSpec = session.inputs[0]
        outputs = session.run({spec.name: [[0.0]]})
    return list(outputs)


async def watch(url: str) -> int:
    """Count what a camera yields."""
    camera = edgeml.Camera(url, keep="freshest", max_age=0.3)
    n = 0
    async for _ in camera | warm:
        n += 1
    return n


def isolated(guard: bool) -> None:
    """Run a model in a process of its own; who asks for one gets its events."""
    session = edgeml.load("model.onnx", "npu,cpu", isolated=True)
    session.on("state", lambda state: print(state.state, state.delegate, state.cause))
    either: edgeml.Session = edgeml.load("model.onnx", isolated=guard)
    print(session.pid, either.delegate)
