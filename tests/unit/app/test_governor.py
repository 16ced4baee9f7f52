"""The table [governor] of an app.toml."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeml.app import load_app, read_config
from edgeml.app._governor import governor_options
from edgeml.errors import ConfigError, DeviceNotFound

ACTIVITY = "edgeml:activity_watch_int8.onnx"
APP = f"""\
schema = 1

[governor]
limit = 85
dwell = 10.0
fps.watch = [50, 25]
models.what = ["{ACTIVITY}", "small.onnx"]

[sources.watch]
type = "csv"
path = "walk.csv"
live = true

[tasks.what]
type = "activity-recognizer"
source = "watch"
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "app.toml"
    file.write_text(text.replace("live = true\n", ""))
    return file


def test_a_governor_is_read(tmp_path) -> None:
    (tmp_path / "small.onnx").write_bytes(b"")
    config = read_config(write(tmp_path, APP))
    assert config.governor is not None
    assert config.governor.options["limit"] == 85
    governor = config.governor.governor(load_app(tmp_path / "app.toml").build())
    assert governor.fps == {"watch": (50.0, 25.0)}
    assert governor.models == {"what": (ACTIVITY, str(tmp_path / "small.onnx"))}


BAD = {
    "no such source": ("fps.watch", "fps.wash", "6: governor.fps: there is no source 'wash'; did"),
    "no such task": ("models.what", "models.that", "7: governor.models: there is no task with a m"),
    "another first model": (
        f'["{ACTIVITY}"', '["big.onnx"',
        "7: governor.models: the first model of what must be the task's own",
    ),
    "one level": (
        "[50, 25]", "[50]", "6: governor.fps: Governor: expected fps= or models= with lists of one"
    ),
    "rates that grow": ("[50, 25]", "[25, 50]", "6: governor.fps: Governor: fps of watch must be"),
    "a text": ("dwell = 10.0", 'dwell = "10"', "5: governor.dwell: expected a number; received"),
    "a source of its name": (
        "[sources.watch]",
        '[sources.governor]\ntype = "csv"\npath = "x.csv"\n[sources.watch]',
        "9: sources.governor: the governor's steps are events of a source 'governor'; rename",
    ),
    "an unknown key": ("dwell", "dwel", "5: governor.dwel: unknown key; did you mean dwell?"),
    "a limit of nothing": ("limit = 85", "limit = 0", "4: governor.limit: Governor: limit must be"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), BAD.values(), ids=BAD)
def test_what_makes_no_sense_is_refused_with_its_place(old, new, message, tmp_path) -> None:
    file = write(tmp_path, APP.replace(old, new, 1))
    with pytest.raises(ConfigError, match=re.escape(f"{file}:{message}")):
        read_config(file)


async def test_an_app_with_a_governor_runs(tmp_path) -> None:
    (tmp_path / "walk.csv").write_text("t,x\n0.0,1\n0.1,2\n")
    zone = tmp_path / "root/sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("50000\n")
    text = f'schema = 1\n[governor]\nroot = "{tmp_path}/root"\nlimit = 85\nfps.watch = [500, 250]\n'
    text += '[sources.watch]\ntype = "csv"\npath = "walk.csv"\n'
    app = load_app(write(tmp_path, text))
    seen = []
    app.listen(seen.append)
    await app.run()
    assert [event.data for event in seen] == [{"x": 1.0}, {"x": 2.0}]


async def test_an_app_whose_governor_has_no_sensor_does_not_run(tmp_path) -> None:
    text = f'schema = 1\n[governor]\nroot = "{tmp_path}"\nfps.watch = [500, 250]\n'
    text += '[sources.watch]\ntype = "csv"\npath = "walk.csv"\n'
    (tmp_path / "walk.csv").write_text("t,x\n0.0,1\n0.1,2\n")
    with pytest.raises(DeviceNotFound, match="nothing to go by"):
        await load_app(write(tmp_path, text)).run()


def test_the_guide_names_every_option() -> None:
    guide = (Path(__file__).parents[3] / "docs/guide/boards.md").read_text()
    assert all(f"`{option}`" in guide for option in governor_options())
