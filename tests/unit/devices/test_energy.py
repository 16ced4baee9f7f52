"""Energy by the board's counters, from the files that kernels show."""

from __future__ import annotations

import pytest

from edgeml.devices import EnergyMeter

pytestmark = pytest.mark.usefixtures("no_thread_left")

RAPL = "sys/class/powercap/"
INA = "sys/class/hwmon/hwmon{}/"


class Machine:
    """A machine of files, with a clock that goes when it is told to."""

    def __init__(self, root):
        self.root = root
        self.now = 0.0

    def write(self, files):
        for name, value in files.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value}\n")

    def meter(self):
        # The thread never has its turn: what is counted is what the test makes happen.
        return EnergyMeter(root=self.root, clock=lambda: self.now, interval=1e6)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def zone(number, name, microjoules, most=262_143_328_850):
    folder = f"{RAPL}intel-rapl:{number}/"
    return {
        f"{folder}name": name,
        f"{folder}energy_uj": microjoules,
        f"{folder}max_energy_range_uj": most,
    }


def rail(chip, number, label, millivolts, milliamperes):
    folder = INA.format(chip)
    return {
        f"{folder}name": "ina3221",
        f"{folder}in{number}_label": label,
        f"{folder}in{number}_input": millivolts,
        f"{folder}curr{number}_input": milliamperes,
    }


def test_packages_and_their_memory_are_counted_once(machine):
    machine.write(
        zone("0", "package-0", 1_000_000)
        | zone("0:0", "core", 500_000)
        | zone("0:1", "dram", 300_000)
        | zone("1", "package-1", 0)
        | zone("2", "psys", 9_000_000)
        | {"sys/class/powercap/intel-rapl-mmio:0/name": "package-0"}
    )
    with machine.meter() as meter:
        assert meter.source == "RAPL package-0, dram, package-1"
        assert meter.joules == 0
        machine.write(zone("0", "package-0", 3_000_000) | zone("0:0", "core", 2_000_000))
        machine.write(zone("0:1", "dram", 800_000) | zone("2", "psys", 20_000_000))
        assert meter.joules == pytest.approx(2.5)
        machine.write(zone("1", "package-1", 1_000_000))
    assert meter.joules == pytest.approx(3.5)  # what was there at the end is in it
    machine.write(zone("1", "package-1", 5_000_000))
    assert meter.joules == pytest.approx(3.5)


def test_a_counter_that_begins_anew(machine):
    most = 65_532_610_987
    machine.write(zone("0", "package-0", most - 1_500_000, most))
    with machine.meter() as meter:
        machine.write(zone("0", "package-0", 500_000, most))
        assert meter.joules == pytest.approx(2.0)
        machine.write(zone("0", "package-0", most - 1_000_000, most))
        machine_joules = meter.joules
        machine.write(zone("0", "package-0", 0, most))
        assert meter.joules == pytest.approx(machine_joules + 1.0)


def test_the_input_of_a_module_is_all_of_it(machine):
    machine.write(rail(1, 1, "VDD_IN", 5000, 1000) | rail(1, 2, "VDD_CPU_GPU_CV", 5000, 400))
    with machine.meter() as meter:
        assert meter.source == "INA3221 VDD_IN"
        machine.now += 2.0
        assert meter.joules == pytest.approx(10.0)  # 5 W
        machine.write(rail(1, 1, "VDD_IN", 5000, 3000))
        machine.now += 1.0
        assert meter.joules == pytest.approx(20.0)  # 5 W to 15 W


def test_rails_are_added_up_where_there_is_no_input(machine):
    machine.write(
        rail(1, 1, "VDD_GPU_SOC", 10000, 1000)
        | rail(1, 2, "VDD_CPU_CV", 10000, 500)
        | rail(1, 3, "VIN_SYS_5V0", 5000, 1000)
        | rail(2, 2, "VDDQ_VDD2_1V8AO", 1800, 1000)
        | rail(2, 3, "NC", 0, 0)
        | {"sys/class/hwmon/hwmon0/name": "tmp451", "sys/class/hwmon/hwmon0/in1_label": "x"}
    )
    with machine.meter() as meter:
        assert meter.source == "INA3221 VDD_GPU_SOC, VDD_CPU_CV, VIN_SYS_5V0"
        machine.now += 1.0
        assert meter.joules == pytest.approx(20.0)


def test_rails_as_older_kernels_show_them(machine):
    folder = "sys/bus/iio/devices/iio:device0/"
    machine.write(
        {
            f"{folder}rail_name_0": "POM_5V_IN", f"{folder}in_power0_input": 3500,
            f"{folder}rail_name_1": "POM_5V_GPU", f"{folder}in_power1_input": 1000,
        }
    )  # fmt: skip
    with machine.meter() as meter:
        assert meter.source == "INA3221 POM_5V_IN"
        machine.now += 2.0
        assert meter.joules == pytest.approx(7.0)


def test_a_machine_without_a_counter_says_so(machine):
    with machine.meter() as meter:
        assert meter.joules is None
    assert "no energy counter that is known" in meter.problem


def test_no_permission_says_what_to_do(machine, monkeypatch):
    machine.write(zone("0", "package-0", 0))
    monkeypatch.setattr("os.access", lambda path, mode: False)  # root may always
    with machine.meter() as meter:
        assert meter.joules is None
    assert meter.problem.startswith("no permission to read ")
    assert "sudo chmod a+r" in meter.problem


@pytest.mark.parametrize("value", ["garbage", "nan", ""])
def test_a_counter_that_breaks_is_no_counter(machine, value):
    machine.write(zone("0", "package-0", 0))
    with machine.meter() as meter:
        machine.write(zone("0", "package-0", 1_000_000))
        assert meter.joules == pytest.approx(1.0)
        machine.write(zone("0", "package-0", value))
        assert meter.joules is None
        machine.write(zone("0", "package-0", 2_000_000))
        assert meter.joules is None  # what was missed cannot be told
    assert "energy_uj holds" in meter.problem


def test_a_range_that_is_missing(machine):
    machine.write(zone("0", "package-0", 0))
    (machine.root / RAPL / "intel-rapl:0/max_energy_range_uj").unlink()
    with machine.meter() as meter:
        assert meter.joules is None
    assert "max_energy_range_uj cannot be read" in meter.problem


def test_power_is_taken_beside_the_program(machine):
    """The thread looks by itself, so a peak between two calls counts."""
    machine.write(rail(1, 1, "VDD_IN", 5000, 1000))
    with EnergyMeter(root=machine.root, interval=0.001) as meter:
        while not meter._joules:
            meter._thread.join(0.001)
    assert meter.joules > 0


def test_before_it_is_open_and_twice(machine):
    machine.write(zone("0", "package-0", 0))
    meter = machine.meter()
    assert meter.joules is None
    assert "with block" in meter.problem
    meter.close()
    meter.open()
    meter.open()
    assert meter.joules == 0
    meter.close()
    meter.close()
    with pytest.raises(ValueError, match="interval must be positive"):
        EnergyMeter(interval=0)
