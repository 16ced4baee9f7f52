"""discover(): what is there, what is missing, and what is broken."""

import importlib.util
import json
import sys
import types

import pytest

from edgeml.devices import DeviceInfo, discover
from edgeml.testing import FakeIIO


@pytest.fixture
def machine(tmp_path):
    chip = FakeIIO(tmp_path / "sys/bus/iio/devices", "bmi160")
    chip.set("in_accel_x_raw", 1)
    chip.set("in_accel_scale", 0.01)
    broken = FakeIIO(tmp_path / "sys/bus/iio/devices", "odd", number=1)
    broken.set("in_temp_raw", 1)
    broken.set("in_temp_scale", "garbage")
    zone = tmp_path / "sys/class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("cpu-thermal\n")
    (zone / "temp").write_text("40000\n")
    fan = tmp_path / "sys/class/hwmon/hwmon0"
    fan.mkdir(parents=True)
    (fan / "name").write_text("pwmfan\n")
    (fan / "fan1_input").write_text("2000\n")
    return tmp_path


def of(kind, infos):
    return [info for info in infos if info.kind == kind]


def test_sensors_are_listed_with_channels_and_units(machine):
    infos = discover(machine)
    good, broken = of("iio", infos)
    assert (good.name, good.device) == ("bmi160", "iio:device0")
    assert good.details == {"channels": {"accel_x": "m/s²"}}
    assert good.problem is None
    assert "in_temp_scale holds 'garbage'" in broken.problem
    assert [info.name for info in of("thermal", infos)] == ["cpu-thermal"]
    (fan,) = of("hwmon", infos)
    assert (fan.name, fan.details) == ("pwmfan.fan1", {"unit": "rpm"})
    json.dumps([info.to_dict() for info in infos])
    assert all(isinstance(info, DeviceInfo) for info in infos)


def test_a_missing_library_comes_with_its_command(machine, monkeypatch):
    find_spec = importlib.util.find_spec
    missing = {"sounddevice", "serial", "gpiod"}
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name in missing else find_spec(name, *rest),
    )
    infos = discover(machine)
    for kind, extra in (("microphone", "audio"), ("speaker", "audio"), ("serial", "sensors")):
        (info,) = of(kind, infos)
        assert info.install == f'pip install "edgeml-runtime[{extra}]"'
        assert "is not installed" in info.problem
        assert info.device is None


def test_a_broken_subsystem_does_not_hide_the_others(machine, monkeypatch):
    class Broken(types.ModuleType):
        def __getattr__(self, name):
            raise RuntimeError("driver exploded")

    monkeypatch.setitem(sys.modules, "edgeml.devices._camera", Broken("_camera"))
    monkeypatch.setitem(sys.modules, "sounddevice", Broken("sounddevice"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: object())
    infos = discover(machine)
    for kind in ("camera", "microphone", "speaker"):
        (info,) = of(kind, infos)
        assert info.problem == "RuntimeError: driver exploded"
    assert len(of("iio", infos)) == 2


def test_this_machine_can_be_asked():
    assert {info.kind for info in discover()} >= {"gpsd"}
