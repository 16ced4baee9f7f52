"""IIO, thermal zones and hwmon chips on a sysfs tree in a folder."""

import math

import numpy as np
import pytest

from edgeml.devices import IIO, Hwmon, Thermal
from edgeml.errors import ConfigError, DeviceNotFound
from edgeml.streams import Backoff
from edgeml.testing import FakeIIO

QUICK = Backoff(initial=0.01, maximum=0.02)


async def first(sensor):
    async with sensor:
        async for sample in sensor:
            return sample
    return None


@pytest.fixture
def imu(tmp_path):
    chip = FakeIIO(tmp_path, "bmi160")
    for axis, raw in zip("xyz", (0, -8192, 16384), strict=True):
        chip.set(f"in_accel_{axis}_raw", raw)
        chip.set(f"in_anglvel_{axis}_raw", raw)
    chip.set("in_accel_scale", 0.000598)
    chip.set("in_anglvel_scale", 0.001065)
    chip.set("in_accel_z_calibbias", 3)
    chip.set("sampling_frequency", "100.000000")
    return chip


async def test_raw_channels_are_scaled_and_have_units(imu):
    sample = await first(IIO("bmi160", root=imu.root))
    assert list(sample.data) == [
        "accel_x", "accel_y", "accel_z", "anglvel_x", "anglvel_y", "anglvel_z",
    ]  # fmt: skip
    assert sample.data.accel_z == pytest.approx(16384 * 0.000598)
    assert sample.data.units["accel_z"] == "m/s²"
    assert sample.data.units["anglvel_y"] == "rad/s"
    assert np.asarray(sample.data).shape == (6,)
    assert np.asarray(sample.data).dtype == np.float32


async def test_offset_scale_and_si_units(tmp_path):
    chip = FakeIIO(tmp_path, "mix")
    chip.set("in_temp_raw", 1000)
    chip.set("in_temp_offset", -200)
    chip.set("in_temp_scale", 31.25)  # m°C
    chip.set("in_pressure_input", "101.325")  # kPa
    chip.set("in_humidityrelative_input", 45000)  # thousandths of a per cent
    chip.set("in_magn_x_raw", 10)
    chip.set("in_magn_x_scale", 0.01)  # gauss
    chip.set("in_magn_scale", 99)
    chip.set("in_voltage0_raw", 2048)
    chip.set("in_voltage1_raw", 1024)
    chip.set("in_voltage_scale", 0.805664062)  # mV
    chip.set("in_voltage1_scale", 2)
    chip.set("in_voltage2-voltage3_raw", 100)
    chip.set("in_voltage-voltage_scale", 3)
    chip.set("in_intensity_ir_raw", 77)
    data = (await first(IIO(root=tmp_path))).data
    assert data["temp"] == pytest.approx(25.0)
    assert data["pressure"] == pytest.approx(101325)
    assert data["humidityrelative"] == pytest.approx(45)
    assert data["magn_x"] == pytest.approx(1e-5)
    assert data["voltage0"] == pytest.approx(1.65, abs=1e-3)
    assert data["voltage1"] == pytest.approx(2.048)
    assert data["voltage2-voltage3"] == pytest.approx(0.3)
    assert data["intensity_ir"] == 77
    units = {"temp": "°C", "pressure": "Pa", "magn_x": "T", "voltage1": "V", "intensity_ir": ""}
    assert units.items() <= data.units.items()


async def test_a_processed_channel_wins_over_its_raw_one(tmp_path):
    chip = FakeIIO(tmp_path, "bh1750")
    chip.set("in_illuminance_raw", 100)
    chip.set("in_illuminance_scale", 9)
    chip.set("in_illuminance_input", 120.5)
    sample = await first(IIO("iio:device0", root=tmp_path))
    assert sample.data.to_dict() == {"illuminance": 120.5}
    assert sample.data.units == {"illuminance": "lux"}


async def test_channels_choose_the_device(tmp_path, imu):
    light = FakeIIO(tmp_path, "light", number=1)
    light.set("in_illuminance_input", 3)
    sample = await first(IIO(channels=["illuminance"], root=tmp_path))
    assert list(sample.data) == ["illuminance"]
    sample = await first(IIO(channels=["anglvel", "accel_z"], root=tmp_path))
    assert list(sample.data) == ["accel_z", "anglvel_x", "anglvel_y", "anglvel_z"]
    assert list((await first(IIO(1, root=tmp_path))).data) == ["illuminance"]


async def test_no_such_device_lists_those_there_are(imu):
    with pytest.raises(DeviceNotFound, match=r"no IIO device bme280 .*bmi160 \(iio:device0: acc"):
        await first(IIO("bme280", root=imu.root))
    with pytest.raises(DeviceNotFound, match="with channels magn"):
        await first(IIO(channels=["magn"], root=imu.root))
    with pytest.raises(DeviceNotFound, match="there is: nothing"):
        await first(IIO(root=imu.root / "elsewhere"))


async def test_the_sampling_frequency_is_read_and_set(imu):
    sensor = IIO(root=imu.root)
    await first(sensor)
    assert sensor.sampling_frequency == 100
    sensor = IIO(root=imu.root, sampling_frequency=200)
    await first(sensor)
    assert sensor.sampling_frequency == 200
    assert (imu.path / "sampling_frequency").read_text() == "200"
    imu.remove("sampling_frequency")
    with pytest.raises(ConfigError, match="has no sampling_frequency to set to 50 Hz"):
        await first(IIO(root=imu.root, sampling_frequency=50))
    (imu.path / "sampling_frequency").mkdir()  # a write that fails, also for root
    imu.set("sampling_frequency_available", "25 50 100")
    with pytest.raises(ConfigError, match=r"cannot be set to 60 Hz .*Available: 25 50 100"):
        await first(IIO(root=imu.root, sampling_frequency=60))


@pytest.mark.parametrize("garbage", ["", "abc", "nan", "inf", "\x00\xff"])
async def test_garbage_is_counted_and_the_sensor_comes_back(imu, garbage, no_thread_left):
    async with IIO(root=imu.root, hz=500, reconnect=QUICK) as sensor:
        assert (await anext(sensor)).data.accel_x == 0
        imu.set("in_accel_x_raw", garbage)
        states = []
        sensor._listener = lambda old, new, reason: (
            states.append((new, reason)),
            imu.set("in_accel_x_raw", 1) if new == "reconnecting" else None,
        )
        sample = await anext(sensor)
        while not sample.meta.get("discontinuity"):
            sample = await anext(sensor)
        assert sample.data.accel_x == pytest.approx(0.000598)
        assert sensor.dropped["garbage"] == 1
        assert sensor.reconnects == 1
        assert "in_accel_x_raw holds" in states[0][1]


async def test_a_device_that_is_unplugged_comes_back(imu, no_thread_left):
    async with IIO(root=imu.root, hz=500, reconnect=QUICK) as sensor:
        await anext(sensor)
        imu.unplug()
        seen = []
        sensor._listener = lambda old, new, reason: (
            seen.append(new),
            imu.plug_in() if seen.count("reconnecting") == 3 and new == "reconnecting" else None,
        )
        sample = await anext(sensor)
        assert sample.meta["discontinuity"]
        assert sensor.reconnects == 3
        assert sensor.dropped["unreadable"] == 1


async def test_a_vanished_scale_is_not_read_again_until_reconnected(imu):
    """Scales are read once: the file that vanishes is that of a value."""
    async with IIO(root=imu.root, hz=500, reconnect=None) as sensor:
        await anext(sensor)
        imu.remove("in_accel_scale")
        assert (await anext(sensor)).data.accel_z == pytest.approx(16384 * 0.000598)


@pytest.fixture
def board(tmp_path):
    for i, (kind, temp) in enumerate([("cpu-thermal", 48250), ("gpu", 51000), ("gpu", 52000)]):
        zone = tmp_path / f"thermal_zone{i}"
        zone.mkdir()
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(f"{temp}\n")
    (tmp_path / "thermal_zone3").mkdir()  # has neither type nor temperature
    (tmp_path / "cooling_device0").mkdir()
    files = {
        "name": "ina3221", "in1_input": 5012, "in1_label": "VDD_IN", "curr1_input": 850,
        "power1_input": 4260200, "temp1_input": 41500, "fan1_input": 2400,
        "power2_average": 1000000, "in1_max": 6000,
    }  # fmt: skip
    (tmp_path / "hwmon0").mkdir()
    for name, value in files.items():
        (tmp_path / "hwmon0" / name).write_text(f"{value}\n")
    return tmp_path


async def test_thermal_zones_in_degrees(board):
    data = (await first(Thermal(root=board))).data
    assert data.to_dict() == {"cpu-thermal": 48.25, "gpu": 51.0, "gpu#2": 52.0}
    assert set(data.units.values()) == {"°C"}
    assert (await first(Thermal("cpu-thermal", root=board))).data.to_dict() == {
        "cpu-thermal": 48.25
    }
    assert list((await first(Thermal("thermal_zone2", root=board))).data) == ["gpu#2"]
    with pytest.raises(DeviceNotFound, match=r"no thermal zone moon .*there is: cpu-thermal"):
        await first(Thermal("moon", root=board))


async def test_hwmon_scales_to_si(board):
    data = (await first(Hwmon("ina3221", root=board))).data
    assert data.to_dict() == pytest.approx(
        {
            "ina3221.VDD_IN": 5.012, "ina3221.curr1": 0.85, "ina3221.power1": 4.2602,
            "ina3221.power2": 1.0, "ina3221.temp1": 41.5, "ina3221.fan1": 2400,
        }
    )  # fmt: skip
    assert data.units["ina3221.fan1"] == "rpm"
    one = (await first(Hwmon("ina3221.VDD_IN", root=board))).data
    assert list(one) == ["ina3221.VDD_IN"]
    with pytest.raises(DeviceNotFound, match="no hwmon chip"):
        await first(Hwmon("coretemp", root=board))


def test_hz_must_be_a_number():
    for hz in (0, -1, math.nan, math.inf, "10"):
        with pytest.raises(ValueError, match="hz must be a positive number"):
            IIO(hz=hz)
