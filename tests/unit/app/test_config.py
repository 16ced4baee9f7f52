"""What an app.toml may say; what is wrong is named with its file, line and key."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from edgeml.app import _kinds as kinds
from edgeml.app import read_config
from edgeml.app._mqtt import mqtt_options
from edgeml.app._options import REQUIRED
from edgeml.errors import ConfigError

GOOD = """\
schema = 1
name = "porch"

[mqtt]
host = "broker.local"
home_assistant = true

[sources.door]
type = "camera"
device = "csi:0"
size = [640, 480]

[sources.hall]
type = "microphone"

[sources.heat]
type = "thermal"

[tasks.people]
type = "object-detector"
source = "door"
only = ["person"]
min_score = 0.5

[tasks.wake]
type = "wake-word"
source = "hall"

[tasks.crowd]
type = "python"
source = "people"
function = "rules:crowd"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "app.toml"
    file.write_text(text)
    return file


def test_a_good_file_is_read(tmp_path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert config.name == "porch"
    assert list(config.sources) == ["door", "hall", "heat"]
    assert config.sources["door"].options == {"device": "csi:0", "size": (640, 480)}
    assert config.tasks["people"].options == {"only": ["person"], "min_score": 0.5}
    assert [task.name for task in config.fed_by("people")] == ["crowd"]
    assert config.source_of("crowd") == "door"
    assert config.mqtt is not None
    assert not config.mqtt.embedded


def test_the_name_is_the_files_by_default(tmp_path) -> None:
    file = tmp_path / "porch.toml"
    file.write_text('schema = 1\n[sources.heat]\ntype = "thermal"\n')
    assert read_config(file).name == "porch"
    odd = file.rename(tmp_path / "my porch.toml")
    with pytest.raises(ConfigError, match=r"'my porch', as the file is called,.* name = \"app\""):
        read_config(odd)


# What is replaced in GOOD, what by, and the message after "app.toml:".
BAD = {
    "no schema": ("schema = 1", "", " the key schema is missing; write schema = 1"),
    "schema is text": ("schema = 1", 'schema = "1"', '1: schema: expected a whole number from 1'),
    "newer schema": ("schema = 1", "schema = 2", "1: schema: this file has schema 2 and this edge"),
    "unknown table": ("[mqtt]", "[mqqt]", "4: mqqt: unknown key; did you mean mqtt?"),
    "name with a space": ('"porch"', '"my porch"', "2: name: 'my porch' cannot be a name"),
    "name of a page": ('"porch"', f'"{"a" * 65}"', f"2: name: '{'a' * 65}' cannot be a name"),
    "name is a number": ('"porch"', "3", "2: name: expected a text in quotes; received a whole"),
    "sources is a text": (GOOD[len("schema = 1\n") :], 'sources = "x"', "2: sources: expected a t"),
    "no sources": (GOOD[GOOD.index("[sources") :], "", " there is no source; add one"),
    "name of a source": ("[sources.heat]", '[sources."a/b"]', "16: sources.a/b: 'a/b' cannot be"),
    "no type": ('type = "thermal"', "", "16: sources.heat.type: missing; expected type = one of"),
    "unknown type": ('"thermal"', '"termal"', "17: sources.heat.type: there is no source 'termal'"),
    "type is a number": ('"thermal"', "7", "17: sources.heat.type: there is no source 7; expected"),
    "type is a list": ('"thermal"', "[]", "17: sources.heat.type: there is no source []"),
    "unknown option": ('device = "csi', 'devise = "csi', "10: sources.door.devise: unknown key; d"),
    "wrong type of option": ("min_score = 0.5", 'min_score = "x"', "23: tasks.people.min_score: e"),
    "unknown task": ('"wake-word"', '"wakeword"', "26: tasks.wake.type: there is no task 'wakewor"),
    "a task without source": ('source = "hall"', "", "25: tasks.wake.source: missing; expected so"),
    "no such source": ('source = "hall"', 'source = "hal"', "27: tasks.wake.source: there is no s"),
    "a wake word on a camera": (
        'source = "hall"', 'source = "door"',
        "27: tasks.wake.source: door gives pictures, and this task takes sound, as these sources",
    ),
    "a detector on a result": (
        'type = "wake-word"\nsource = "hall"', 'type = "wake-word"\nsource = "people"',
        "27: tasks.wake.source: people gives results, and this task takes sound",
    ),
    "a circle": (
        'source = "people"', 'source = "crowd"',
        "31: tasks.crowd.source: the tasks feed each other in a circle: crowd <- crowd",
    ),
    "a microphone for nothing": (
        GOOD[GOOD.index("[tasks.wake]") : GOOD.index("[tasks.crowd]")], "",
        "13: sources.hall: no task uses its sound; add one with source = \"hall\", or remove it",
    ),
    "bytes for nothing": (
        'type = "thermal"', 'type = "mqtt"\ntopics = ["a"]\npayload = "bytes"',
        "16: sources.heat: no task uses its bytes; add one with source = ",
    ),
    "task named like a source": ("[tasks.wake]", "[tasks.hall]", "25: tasks.hall: there is a sour"),
    "heartbeat alone": (
        "min_score = 0.5", "heartbeat = 1.0", "23: tasks.people.heartbeat: means nothing without",
    ),
    "mqtt without host": ('host = "broker.local"\n', "", "4: mqtt: which broker? expected host ="),
    "mqtt unknown key": ("home_assistant", "home_asistant", "6: mqtt.home_asistant: unknown key;"),
    "mqtt wrong type": ("home_assistant = true", 'port = "x"', "6: mqtt.port: expected a whole nu"),
    "mqtt backoff": (
        "home_assistant = true", 'backoff = {initial = "1s"}',
        '6: mqtt.backoff: initial: expected a valid number; received a text, "1s"',
    ),
    "mqtt backoff back in time": (
        "home_assistant = true", "backoff = {initial = -1}",
        "6: mqtt.backoff: backoff: initial and maximum must be positive seconds; received -1",
    ),
    "mqtt embedded and host": (
        "home_assistant = true", "embedded = true", "5: mqtt.host: means nothing to the embedded",
    ),
    "not toml": ("[mqtt]", "[mqtt", "4:6: not TOML"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_refused_with_its_place(case: str, tmp_path) -> None:
    old, new, message = BAD[case]
    assert old in GOOD
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_config(file)
    assert str(caught.value).startswith(f"{file}:{message}")
    assert caught.value.file == str(file)  # type: ignore[attr-defined]


def test_a_source_must_be_a_table(tmp_path) -> None:
    file = write(tmp_path, "schema = 1\n[sources]\nheat = 3\n")
    message = r"app\.toml:3: sources\.heat: expected a table \[sources\.heat\]; received a whole"
    with pytest.raises(ConfigError, match=message):
        read_config(file)


def test_a_circle_of_two(tmp_path) -> None:
    text = GOOD.replace('source = "people"', 'source = "loop"')
    text += '[tasks.loop]\ntype = "python"\nsource = "crowd"\nfunction = "a:b"\n'
    with pytest.raises(ConfigError, match="in a circle: crowd <- loop <- crowd"):
        read_config(write(tmp_path, text))


@pytest.mark.parametrize("name", [*kinds.SOURCES, *kinds.TASKS])
def test_options_and_defaults_are_the_constructors(name: str) -> None:
    kind = {**kinds.SOURCES, **kinds.TASKS}[name]
    options = kind.options()
    for parameter in inspect.signature(kind.load()).parameters.values():
        if parameter.name in options and parameter.kind is not parameter.VAR_POSITIONAL:
            assert options[parameter.name].default == parameter.default
    assert all(option.words != "any value" for option in options.values())
    assert not {"name", "type", "source"} & set(options)


def test_each_option_of_a_source_can_be_set() -> None:
    common = {"keep", "max_age", "reconnect", "open_timeout", "read_timeout"}
    for kind in kinds.SOURCES.values():
        assert common <= set(kind.options())


def test_a_table_can_set_all_of_the_brokers_options() -> None:
    options = mqtt_options()
    assert {"embedded", "host", "password", "ca", "qos", "home_assistant", "prefix"} <= set(options)
    assert all(option.default is not REQUIRED for option in options.values())


def test_the_guide_names_every_option() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guide" / "app.md").read_text()
    for name, kind in {**kinds.SOURCES, **kinds.TASKS}.items():
        assert f"`{name}`" in guide
        own = set(kind.options()) - set(kinds.SOURCES["gps"].options())
        assert all(f"`{option}`" in guide for option in own), name
    assert all(f"`{option}`" in guide for option in mqtt_options())


def test_the_example_is_what_the_demo_runs() -> None:
    root = Path(__file__).parents[3]
    config = read_config(root / "examples" / "demo.toml")
    assert set(config.sources) == {"street", "room", "watch"}
    assert (root / "edgeml" / "app" / "demo.toml").read_text() == config.document.text


def test_a_chain_that_nobody_means_is_refused_before_it_is_built(tmp_path) -> None:
    chain = "".join(
        f'[tasks.t{n}]\ntype = "python"\nfunction = "a:b"\nsource = "t{n - 1}"\n'
        for n in range(1, 5000)
    )
    text = f'schema = 1\n[sources.t0]\ntype = "thermal"\n{chain}'
    with pytest.raises(ConfigError, match=r"207: tasks\.t51\.source: expected at most 50 tasks"):
        read_config(write(tmp_path, text))
