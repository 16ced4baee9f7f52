from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
import soundfile

import edgeml
from edgeml.errors import InputError, ModelError
from edgeml.runtime import resolve


@pytest.fixture
def counter(onnx_file):
    """Return what makes a model that adds what comes: total = state + x, and new state."""

    def build(before="state", after="stateN", shape=("batch", 2), **changes):
        return onnx_file(
            [("Add", ["x", before], ["total"]), ("Identity", ["total"], [after])],
            {"x": (shape, "FLOAT"), before: (shape, "FLOAT")},
            {"total": (shape, "FLOAT"), after: (shape, "FLOAT")},
            **changes,
        )

    return build


ONE = np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("state", "stateN"),
        ("h", "hn"),
        ("h0", "hn"),
        ("c_0", "cn"),
        ("hidden_in", "hidden_out"),
        ("lstm_cell", "lstm_cell_out"),
        ("cache", "new_cache"),
        ("rnn_state", "next_rnn_state"),
    ],
)
def test_state_is_known_by_its_names(counter, before, after):
    with edgeml.load(counter(before, after)) as session, session.stream() as stream:
        assert stream.run(ONE)["total"].tolist() == [[1, 1]]
        assert stream.run({"x": ONE})["total"].tolist() == [[2, 2]]
        outputs = stream.run(ONE)
        assert list(outputs) == ["total"]  # not the state
        assert outputs["total"].tolist() == [[3, 3]]
        stream.reset()
        assert stream.run(ONE)["total"].tolist() == [[1, 1]]


def test_state_is_declared_in_the_metadata(counter):
    props = {"edgeml.state": '{"before": "after"}'}
    with edgeml.load(counter("before", "after", props=props)) as session:
        stream = session.stream()
        stream.run(ONE)
        assert stream.run(ONE)["total"].tolist() == [[2, 2]]


@pytest.mark.parametrize(
    ("before", "after", "props"),
    [
        ("audio", "audio_out", None),  # what a denoiser has, and no state
        ("before", "after", None),
        ("state", "stateN", {"edgeml.state": '{"nothing": "stateN"}'}),
        ("state", "stateN", {"edgeml.state": '{"state": "nothing"}'}),
    ],
)
def test_without_state_there_is_no_stream(counter, before, after, props):
    message = r"edgeml\.state = .*Inputs: x, .*outputs: total, "
    path = counter(before, after, props=props)
    with edgeml.load(path) as session, pytest.raises(ModelError, match=message):
        session.stream()


def test_streams_do_not_share_state_nor_do_calls_of_the_session(counter):
    with edgeml.load(counter()) as session:
        one, other = session.stream(), session.stream()
        one.run(ONE)
        one.run(ONE)
        assert other.run(ONE)["total"].tolist() == [[1, 1]]
        zero = {"x": ONE, "state": np.zeros((1, 2), np.float32)}
        assert session.run(zero)["total"].tolist() == [[1, 1]]
        assert one.run(ONE)["total"].tolist() == [[3, 3]]


def test_the_free_dimensions_of_the_state(counter):
    with edgeml.load(counter()) as session:
        stream = session.stream(batch=3)
        assert stream.run(np.ones((3, 2)))["total"].shape == (3, 2)


def test_constants(counter):
    with edgeml.load(counter()) as session:
        stream = session.stream(constants={"x": ONE})
        stream.run({})
        assert stream.run({})["total"].tolist() == [[2, 2]]


def test_a_call_that_fails_leaves_the_state(counter):
    with edgeml.load(counter()) as session:
        stream = session.stream()
        stream.run(ONE)
        for wrong in ({"x": np.ones((1, 3), np.float32)}, {"y": ONE}, {}):
            with pytest.raises(InputError):
                stream.run(wrong)
        assert stream.run(ONE)["total"].tolist() == [[2, 2]]


def test_state_is_the_streams(counter):
    message = "'state' is state, which the stream holds"
    with edgeml.load(counter()) as session, pytest.raises(InputError, match=message):
        session.stream().run({"x": ONE, "state": ONE})


def test_a_closed_stream_says_so(counter):
    with edgeml.load(counter()) as session:
        with session.stream() as stream:
            pass
        stream.close()
        for call in (lambda: stream.run(ONE), stream.reset):
            with pytest.raises(ModelError, match="the stream is closed; make another"):
                call()
        late = session.stream()
    with pytest.raises(ModelError, match="the session is closed"):
        late.run(ONE)


async def test_async(counter):
    with edgeml.load(counter()) as session:
        async with session.stream() as stream:
            await asyncio.gather(*(stream.run_async(ONE) for _ in range(50)))
            assert (await stream.run_async(ONE))["total"].tolist() == [[51, 51]]


def test_calls_from_many_threads_follow_one_another(counter):
    with edgeml.load(counter()) as session:
        stream = session.stream()
        threads = [
            threading.Thread(target=lambda: [stream.run(ONE) for _ in range(50)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert stream.run(ONE)["total"].tolist() == [[201, 201]]


@pytest.fixture(scope="module")
def speech():
    audio, rate = soundfile.read(resolve("edgeml:silero_vad.onnx").parents[1] / "media/voice.flac")
    assert rate == 16000
    return audio.astype(np.float32)


def windows(audio):
    """Yield windows of 512 samples with the 64 before them."""
    for at in range(64, len(audio) - 512, 512):
        yield audio[None, at - 64 : at + 512]


def test_silero_hears_speech_and_silence(speech):
    with edgeml.load("edgeml:silero_vad.onnx", threads=1) as session:
        stream = session.stream(constants={"sr": 16000})
        scores = [stream.run(w)["output"].item() for w in windows(speech)]
        assert max(scores) > 0.9
        stream.reset()
        again = [stream.run(w)["output"].item() for w in windows(speech)]
        assert again == scores
        stream.reset()
        silence = [stream.run(w)["output"].item() for w in windows(np.zeros(16000, np.float32))]
        assert max(silence) < 0.3


def test_silero_without_its_metadata(speech, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(str(resolve("edgeml:silero_vad.onnx")))
    del model.metadata_props[:]
    path = tmp_path / "plain.onnx"
    onnx.save(model, str(path))
    with edgeml.load(path, threads=1) as session:
        assert not session.metadata.state
        stream = session.stream()
        by_hand = {"state": np.zeros((2, 1, 128), np.float32)}
        for window in list(windows(speech))[:20]:
            expected = session.run({"input": window, "sr": 16000, **by_hand})
            by_hand["state"] = expected["stateN"]
            received = stream.run({"input": window, "sr": 16000})
            np.testing.assert_array_equal(received["output"], expected["output"])


def features(seed=0, n=60):
    """Return frames in a range in which the model's answers depend on what came before."""
    rng = np.random.default_rng(seed)
    return rng.integers(-128, -100, (n, 1, 3, 40), dtype=np.int8)


def test_each_stream_of_a_tflite_model_has_its_own_variables():
    with edgeml.load("edgeml:okay_nabu.tflite", threads=1) as session:
        name = session.outputs[0].name

        def scores(stream, frames):
            return [stream.run(frame)[name].item() for frame in frames]

        one, other = session.stream(), session.stream()
        expected = scores(one, features())
        assert scores(one, features()) != expected  # it remembers
        assert scores(other, features()) == expected
        one.reset()
        assert scores(one, features()) == expected


def test_a_tflite_model_with_variables_needs_a_stream():
    with edgeml.load("edgeml:okay_nabu.tflite") as session:
        with pytest.raises(ModelError, match="keeps state between calls"):
            session.run(features(n=1)[0])
        stream = session.stream()
        with pytest.raises(InputError, match=r"expected shape \[1, 3, 40\], received \[1, 40\]"):
            stream.run(np.zeros((1, 40), np.int8))
        with pytest.raises(InputError, match="expected dtype int8, received float64"):
            stream.run(np.zeros((1, 3, 40)))
    with pytest.raises(ModelError, match="closed"):
        stream.run(features(n=1)[0])


def test_a_tflite_model_without_state_has_no_stream():
    message = r"the model has no state; use run\(\)"
    with (
        edgeml.load("edgeml:blazeface.tflite") as session,
        pytest.raises(ModelError, match=message),
    ):
        session.stream()
