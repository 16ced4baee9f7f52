"""Tasks that are taught: commands of any kind, windows, and stores that several processes use."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jsonschema
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from edgeml.app import load_app, read_config
from edgeml.app._command import COMMANDS, SAFE, Argument, CommandError, command_schema, parse
from edgeml.app._commands import Commands
from edgeml.app._mqtt import CommandsConfig
from edgeml.app._personal import Personal, is_held
from edgeml.app._teach import Teacher
from edgeml.app._windows import Grid, Windows
from edgeml.errors import (
    ConfigError,
    DataError,
    InputError,
    ModelError,
    StoreError,
    TrainingError,
)
from edgeml.events import Broker
from edgeml.personalize import UNKNOWN, Learner, Store, Utterances
from edgeml.runtime import resolve
from edgeml.streams import Sample
from edgeml.tasks import Wake

SPEECH = "edgeml:speech_embedding.onnx"
WATCH = "edgeml:activity_watch_int8.onnx"
RNG = np.random.default_rng(0)


def motion(axis: int) -> np.ndarray[Any, Any]:
    """Return two seconds of a watch that is shaken along an axis."""
    window = RNG.normal(0, 0.3, (100, 6)).astype(np.float32)
    window[:, axis] += 6 * np.sin(np.arange(100) / 8 + RNG.uniform(0, 6))
    return window


def shown(task: Personal, axis: int) -> Any:
    """Return what the task says of two seconds of readings, after a gap."""
    shown.t += 10 * 10**9
    sample = Sample(motion(axis), t=shown.t, arrived=0, duration=2 * 10**9)
    (found,) = task(sample)
    return found.data


shown.t = 0


@pytest.fixture
def task(tmp_path):
    task = Personal(WATCH, store=str(tmp_path / "store"), name="gestures")
    yield task
    task.aclose()


def commands(*, allow: Any = tuple(COMMANDS), **tasks: Any) -> tuple[Commands, list[Any]]:
    """Return what takes commands, and the list of what it publishes."""
    config = CommandsConfig("app/teach", "app/answers", tuple(allow), 4096)
    made, sent = Commands(config, Broker("nowhere.invalid"), tasks), []

    async def publish(topic: str, text: str, **options: Any) -> None:
        sent.append((topic, json.loads(text), options))

    made._client = SimpleNamespace(publish=publish)
    return made, sent


def message(payload: Any, *, retain: bool = False, **properties: Any) -> Any:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return SimpleNamespace(payload=data, retain=retain, properties=SimpleNamespace(**properties))


# What is in commands, and what looks like it.
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2000), st.floats(allow_nan=False),
    st.text(max_size=210), st.lists(st.integers(), max_size=2), st.just(2.0),
)  # fmt: skip
KEYS = [*dict.fromkeys(key for known in COMMANDS.values() for key in known), "id", "task", "more"]


@st.composite
def nearly_commands(draw: Any) -> dict[str, Any]:
    said = draw(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=4))
    name = draw(st.sampled_from([*COMMANDS, "nonsense"]))
    arguments = {key: _good(draw, each) for key, each in COMMANDS.get(name, {}).items()}
    if draw(st.booleans()):
        said = arguments | draw(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=1))
    schema = draw(st.sampled_from([1, 1, 1, 1.0, 2, True, "1"]))
    return {**said, "schema": schema, "command": name}


def _good(draw: Any, argument: Argument) -> Any:
    if argument.type == "boolean":
        return draw(st.booleans())
    if argument.type == "text":
        return draw(st.text(min_size=int(argument.least), max_size=int(argument.most)))
    return draw(st.integers(int(argument.least), int(argument.most)))


@given(nearly_commands())
def test_exactly_what_the_schema_describes_is_taken(said) -> None:
    valid = jsonschema.Draft202012Validator(command_schema()).is_valid(said)
    try:
        command = parse(json.dumps(said).encode())
    except CommandError:
        assert not valid
    else:
        assert valid
        assert set(command.arguments) == set(COMMANDS[command.name])


@given(st.one_of(
    st.binary(max_size=300), nearly_commands().map(lambda d: json.dumps(d).encode()),
    st.recursive(VALUES, lambda v: st.dictionaries(st.text(max_size=9), v, max_size=3)).map(
        lambda v: json.dumps(v).encode()),
))  # fmt: skip
def test_whatever_is_sent_has_exactly_one_answer(payload) -> None:
    task = Personal(WATCH, store="/nonexistent", name="gestures")  # not opened: nothing is done

    async def main() -> None:
        made, sent = commands(gestures=task)
        await made._receive(message(payload))
        await asyncio.gather(*made._jobs)
        answers = [said for _, said, _ in sent if said["type"] == "answer"]
        assert len(answers) == 1
        assert answers[0]["schema"] == 1

    asyncio.run(main())


@pytest.mark.parametrize("payload", [
    b"", b"\xff", b"[" * 100_000, b"9" * 3000, b'{"schema": 1, "x": ' + b"[" * 3000 + b"]" * 3000
    + b"}", b'{"schema": 1, "command": "status", "id": "\\ud800"}', b"x" * 5000,
])  # fmt: skip
async def test_hostile_bytes_are_answered(payload) -> None:
    made, sent = commands(gestures=Personal(WATCH, store="/nonexistent"))
    await made._receive(message(payload))
    assert [said["ok"] for _, said, _ in sent] == [False]


async def test_only_what_the_config_allows_is_done(task) -> None:
    made, sent = commands(allow=SAFE, gestures=task)
    good = {"schema": 1, "command": "status"}

    async def told(said: Any, **options: Any) -> Any:
        sent.clear()
        await made._receive(message(said, **options))
        return sent[0]

    topic, answer, _ = await told({"schema": 1, "command": "forget", "label": "a", "id": "7"})
    assert (topic, answer["id"]) == ("app/answers", "7")
    assert "forget is not allowed here" in answer["error"]["message"]
    _, answer, _ = await told(good, retain=True)
    assert "had kept" in answer["error"]["message"]
    for other in ("elsewhere", "app/answersheet", "app/teach", "app/answers/#", "homeassistant/x"):
        topic, answer, _ = await told(good, ResponseTopic=other)
        assert topic == "app/answers"
        assert "not to" in answer["error"]["message"]
    _, answer, _ = await told({**good, "task": "other"})
    assert "expected one of gestures" in answer["error"]["message"]
    await asyncio.to_thread(task.load)
    topic, answer, options = await told(
        {**good, "id": "1"}, ResponseTopic="app/answers/me", CorrelationData=b"c"
    )
    assert (topic, answer["ok"], answer["id"]) == ("app/answers/me", True, "1")
    assert options["properties"].CorrelationData == b"c"
    _, answer, _ = await told({**good, "id": "1"})
    assert "came before" in answer["error"]["message"]


async def test_one_at_a_time_and_cancelled(task, until) -> None:
    await asyncio.to_thread(task.load)
    made, sent = commands(gestures=task)
    wave = {"schema": 1, "command": "collect", "label": "wave", "countdown": 0, "every": 0}

    def answers() -> list[Any]:
        return [said for _, said, _ in sent if said["type"] == "answer"]

    await made._receive(message({**wave, "count": 2, "id": "a"}))
    await until(lambda: task._taps)
    await made._receive(message({"schema": 1, "command": "train", "id": "b"}))
    assert answers()[-1]["error"]["kind"] == "busy"
    for i in range(2):
        assert shown(task, 0).label == UNKNOWN
        await until(lambda n=i: len(task.learner.examples()) > n)
    await until(lambda: len(answers()) == 2)
    assert answers()[-1]["result"]["counts"] == {"wave": 2}
    assert task._taps == ()
    await made._receive(message({**wave, "id": "c"}))
    await made._receive(message({"schema": 1, "command": "cancel", "id": "d"}))
    await until(lambda: len(answers()) == 4)
    by_id = {said["id"]: said for said in answers()}
    assert by_id["d"]["result"] == {"cancelled": True}
    assert by_id["c"]["error"]["kind"] == "cancelled"
    assert task._taps == ()
    await made._receive(message({"schema": 1, "command": "cancel", "id": "e"}))
    assert answers()[-1]["result"] == {"cancelled": False}


async def test_collecting_gives_up_and_says_why(task) -> None:
    await asyncio.to_thread(task.load)

    async def still() -> Any:
        while True:
            yield Sample(np.zeros((100, 6), np.float32), t=0, arrived=0)
            await asyncio.sleep(0)

    command = parse(b'{"schema": 1, "command": "collect", "label": "x", "countdown": 0, "every": 0,'
                    b' "within": 1}')  # fmt: skip
    teacher = Teacher(task.learner, still)
    with pytest.raises(DataError, match=r"0 of 5 examples.*within 1 s.*turned away.*frozen"):
        await teacher.do(command, _silent)


async def _silent(step: Any) -> None:
    assert step


async def test_teaching_from_first_to_last(task) -> None:
    await asyncio.to_thread(task.load)
    learner = task.learner
    teacher = Teacher(learner, task.tap, duty=None)

    async def do(**said: Any) -> Any:
        return await teacher.do(parse(json.dumps({"schema": 1, **said}).encode()), _silent)

    with pytest.raises(TrainingError, match="train first"):
        await do(command="accept")
    for axis, label in enumerate(("a", "b")):
        for _ in range(4):
            learner.add(label, motion(axis))
    trained = await do(command="train")
    assert trained["accepted"] is False
    assert (await do(command="status"))["candidate"] == trained["version"]
    assert (await do(command="accept"))["version"] == trained["version"]
    learner.add("a", motion(0))
    assert (await do(command="train", accept=True))["accepted"]
    assert (await do(command="status"))["candidate"] is None
    assert (await do(command="rollback"))["version"] == trained["version"]
    assert [s["action"] for s in (await do(command="history"))["history"]] == [
        "accept", "accept", "rollback"
    ]  # fmt: skip
    assert (await do(command="remove", example=1))["counts"] == {"a": 4, "b": 4}
    assert (await do(command="forget", label="b"))["forgotten"] == 4
    text = json.dumps(await do(command="status"))
    assert "features" not in text


def test_another_process_teaches_the_task_that_runs(task) -> None:
    task.open()
    assert shown(task, 0).label == UNKNOWN
    # A second connection to the store is to the first as that of another process.
    with Store(task.folder) as store, Learner(WATCH, store=store) as other:
        for axis, label in enumerate(("a", "b")):
            for _ in range(4):
                other.add(label, motion(axis))
        other.accept(other.train())
        known = [shown(task, 1).top[0][0] for _ in range(4)]
        assert known.count("b") >= 3
        window = motion(0)
        other.add("a", window)
        with pytest.raises(DataError, match="nearly the same as example"):
            task.learner.add("a", window)
        other.forget()
    assert shown(task, 0).labels == (UNKNOWN,)


@pytest.mark.parametrize(("collect", "pieces"), [(None, 1), ("windows", 1), ("events", 100)])
async def test_windows_or_all_readings_are_collected(tmp_path, collect, pieces) -> None:
    task = Personal(WATCH, store=str(tmp_path), name="gestures", collect=collect)
    await asyncio.to_thread(task.load)
    tap = task.tap()
    for i, row in enumerate(motion(0)):
        list(task(Sample(row, t=i * 20_000_000, arrived=0)))
    await asyncio.sleep(0)
    shapes = [(await anext(tap)).data.shape for _ in range(pieces)]
    assert shapes == [(100, 6)] if pieces == 1 else [(6,)] * 100
    task.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(tap)


def test_windows_are_not_cut_by_several_at_once(tmp_path) -> None:
    task = Personal(WATCH, store=str(tmp_path), name="gestures", concurrency=2)
    with pytest.raises(ConfigError, match="concurrency: expected 1"):
        task.open()
    assert not is_held(tmp_path)


async def test_words_are_cut_out_of_sound(tmp_path) -> None:
    """Two seconds of rest, then a tone of half a second: one example, of the tone."""
    task = Personal(SPEECH, store=str(tmp_path), name="word")
    await asyncio.to_thread(task.load)
    rate, rng = 16000, np.random.default_rng(0)
    sound = rng.normal(0, 1e-3, 5 * rate).astype(np.float32)
    tone = np.sin(np.arange(rate // 2) * 0.3) * np.hanning(rate // 2)
    sound[2 * rate : 2 * rate + rate // 2] += (0.3 * tone).astype(np.float32)
    block = 1600

    async def stream() -> Any:
        for i in range(0, len(sound), block):
            yield Sample(sound[i : i + block], t=i * 62_500, arrived=0, duration=10**8)

    assert task.cut is None
    said = b'{"schema": 1, "command": "collect", "label": "beep", "count": 1, "countdown": 0}'
    found = await Teacher(task.learner, stream).do(parse(said), _silent)
    assert found["counts"] == {"beep": 1}
    blocks = [b async for b in stream()]
    assert [r for b in blocks for r in task(b)] == []  # no word is known yet
    task.aclose()


def test_a_word_is_told_once_as_wake_words_are(tmp_path) -> None:
    voice = resolve(SPEECH).parents[1] / "media" / "voice.flac"
    recording = soundfile.read(voice, dtype="float32")[0]
    rate, size = 16000, 512
    task = Personal(SPEECH, store=str(tmp_path), name="word", threshold=0.8)
    task.load()
    phrase = recording[round(20.2 * rate) : round(22.7 * rate)]
    pieces = [
        Sample(phrase[i : i + size], t=i * 62_500, arrived=0, source="ear", duration=size * 62_500)
        for i in range(0, len(phrase) - size, size)
    ]
    assert [r for piece in pieces for r in task(piece)] == []
    with Learner(SPEECH, store=tmp_path) as other:  # `edgeml teach` beside the running app
        (window,) = Utterances()(phrase)
        other.add("nabu", window)
        for start in (3, 5, 7, 9):
            other.add(UNKNOWN, recording[start * rate :][: len(window)])
        other.accept(other.train())
    (found,) = [r for i, p in enumerate(pieces) for r in task(p.replace(t=p.t + 10**10))]
    assert found.data == Wake("nabu", found.data.score)
    assert found.data.score >= 0.8
    assert (found.duration, found.source) == (0, "ear")
    assert {o.name for o in task.outputs()} == {"Label", "Score"}
    task.aclose()


def test_classes_of_sound_are_told_window_after_window(tmp_path) -> None:
    task = Personal(SPEECH, store=str(tmp_path), name="noise", collect="windows")
    task.load()
    noise = RNG.normal(0, 0.1, 48000).astype(np.float32)
    (first, *_) = task(Sample(noise, t=0, arrived=0, duration=3 * 10**9))
    assert first.data.label == UNKNOWN
    task.aclose()


@pytest.mark.parametrize(("model", "options", "said"), [
    (WATCH, {"threshold": 0.5}, "threshold: for words only"),
    (SPEECH, {"collect": "windows", "refractory": 3}, "refractory: for words only"),
    ("edgeml:efficientnet_lite0_int8.onnx", {"collect": "events"}, 'expected "windows" or nothing'),
])  # fmt: skip
def test_options_that_would_do_nothing_are_refused(tmp_path, model, options, said) -> None:
    task = Personal(model, store=str(tmp_path / "store"), name="task", **options)
    with pytest.raises(ConfigError, match=said):
        task.open()
    assert not (tmp_path / "store").exists()


def test_others_see_that_an_app_holds_the_store(task) -> None:
    assert not is_held(task.folder)
    task.load()
    assert not is_held(task.folder)  # looking at it is no app
    task.open()
    task.open()
    assert is_held(task.folder)
    task.aclose()
    assert not is_held(task.folder)
    task.folder.joinpath("running").unlink()
    task.folder.joinpath("running").mkdir()
    with pytest.raises(StoreError, match="cannot be read"):
        is_held(task.folder)


APP = """\
schema = 1
[mqtt]
host = "broker.local"
[mqtt.commands]
topic = "{prefix}/teach"
[sources.watch]
type = "csv"
path = "walk.csv"
[tasks.gestures]
type = "personal"
source = "watch"
model = "edgeml:activity_watch_int8.onnx"
store = "gestures"
"""


def test_the_table_of_commands_is_checked(tmp_path) -> None:
    file = tmp_path / "porch.toml"
    file.write_text(APP)
    config = read_config(file)
    assert config.mqtt is not None
    assert config.mqtt.commands is not None
    filled = config.mqtt.commands.filled("edgeml/porch", "porch")
    assert (filled.topic, filled.answers) == ("edgeml/porch/teach", "edgeml/porch/teach/answers")
    assert filled.allow == SAFE
    load_app(file).build()
    assert not (tmp_path / "gestures").exists()  # nothing is opened
    place = 'topic = "{prefix}/teach"'
    for new, said in {
        "": r":4: mqtt\.commands\.topic: missing",
        'topic = "a/#"': r":5: mqtt\.commands\.topic: .*\+ and # are for subscribing",
        'topic = "{prefx}"': "did you mean {prefix}",
        place + '\nallow = ["tain"]': "there is no command 'tain'; did you mean train",
        place + "\nmax_bytes = 1": r":6: mqtt\.commands\.max_bytes: expected 64",
        place + '\nanswers = "{prefix}/teach"': "must not be the topic of commands",
        place + "\nlimit = 1": "unknown key",
    }.items():
        file.write_text(APP.replace(place, new))
        with pytest.raises(ConfigError, match=said):
            read_config(file)
    file.write_text(APP.replace(place, place + '\nanswers = "edgeml/porch/teach"'))
    with pytest.raises(ConfigError, match=r"topic of commands, edgeml/porch/teach"):
        load_app(file).build()
    file.write_text(APP[: APP.index("[tasks")])
    with pytest.raises(ConfigError, match='no task with type = "personal"'):
        load_app(file).build()


def test_the_guide_has_the_schema() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "teach.md").read_text()
    found = re.search(r"### Schema of a command\n\n```json\n(.*?)```", guide, re.DOTALL)
    assert found is not None
    assert json.loads(found[1]) == command_schema()
    jsonschema.Draft202012Validator.check_schema(command_schema())
    assert all(f"| `{name}` |" in guide for name in COMMANDS)


def test_readings_become_windows_by_their_times() -> None:
    grid = Grid("motion", 50.0, 10, 5, ("x", "y"))
    windows = Windows(grid)
    found = [w for i in range(20) for w in windows(Sample([i, -i], t=i * 20_000_000, arrived=0))]
    assert [w.t for w in found] == [0, 100_000_000, 200_000_000]
    assert found[1].data[:, 0].tolist() == list(range(5, 15))
    late = Sample([0, 0], t=10**10, arrived=0)
    assert list(windows(late)) == []  # a gap begins anew
    with pytest.raises(InputError, match="2 channels"):
        list(windows(Sample([1, 2, 3], t=10**10, arrived=0)))


def test_sound_becomes_windows() -> None:
    spec = {"type": "audio", "sample_rate": 1000}
    grid = Grid.of(spec, ("batch", 100))
    assert grid == Grid("audio", 1000.0, 100, 50)
    windows = Windows(grid)
    block = np.arange(40, dtype=np.float32)
    found = []
    for i in range(5):
        sample = Sample(block + 40 * i, t=i * 40_000_000, arrived=0, duration=40_000_000)
        found += list(windows(sample))
    assert [w.t for w in found] == [0, 50_000_000, 100_000_000]
    assert found[2].data.tolist() == list(range(100, 200))
    with pytest.raises(InputError, match="one channel at 1000 samples a second"):
        list(windows(Sample(block, t=0, arrived=0, duration=20_000_000)))
    assert Grid.of({"type": "image"}, (1, 3, 8, 8)) is None
    for wrong in ({"hop": 0}, {"sample_rate": 0}, {"window": -1}, {"hop": "x"}):
        with pytest.raises(ModelError, match="expected positive numbers"):
            Grid.of({**spec, **wrong}, ("batch", 100))
