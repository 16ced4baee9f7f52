"""Boards from the files that their kernels show."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from edgeml.devices import Accelerator, Clock, board

POLICY = "sys/devices/system/cpu/cpufreq/policy{}/"
MEMORY = "MemTotal:        {} kB\nMemFree:  1 kB\nMemAvailable:    {} kB\n"


def policy(first, cores, now, limit, top, governor="ondemand"):
    folder = POLICY.format(first)
    return {
        f"{folder}related_cpus": f"{cores}\n",
        f"{folder}scaling_cur_freq": f"{now}\n",
        f"{folder}scaling_max_freq": f"{limit}\n",
        f"{folder}cpuinfo_max_freq": f"{top}\n",
        f"{folder}scaling_governor": f"{governor}\n",
    }


def tree(model, *compatible):
    return {
        "proc/device-tree/model": f"{model}\0",
        "proc/device-tree/compatible": "".join(f"{c}\0" for c in compatible),
    }


def zone(n, kind, millidegrees):
    folder = f"sys/class/thermal/thermal_zone{n}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{millidegrees}\n"}


def render(n, driver, vendor=None):
    folder = f"sys/class/drm/renderD{n}/device"
    files = {f"{folder}/uevent": f"DRIVER={driver}\nOF_NAME=gpu\n", f"dev/dri/renderD{n}": ""}
    return files | ({f"{folder}/vendor": f"{vendor}\n"} if vendor else {})


FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI_5 = {
    **tree("Raspberry Pi 5 Model B Rev 1.0", "raspberrypi,5-model-b", "brcm,bcm2712"),
    **policy(0, "0 1 2 3", 1500000, 2400000, 2400000),
    **zone(0, "cpu-thermal", 48450),
    **render(128, "v3d"),
    "proc/meminfo": MEMORY.format(8245168, 7400000),
    "sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled": "0\n",
    "dev/hailo0": "",
}
PI_4 = {
    **tree("Raspberry Pi 4 Model B Rev 1.4", "raspberrypi,4-model-b", "brcm,bcm2711"),
    FIRMWARE: "50005\n",
}
PI_3 = {
    **tree("Raspberry Pi 3 Model B Plus Rev 1.3", "raspberrypi,3-model-b-plus", "brcm,bcm2837"),
    FIRMWARE: "80008\n",
}
ZERO_2 = {
    **tree("Raspberry Pi Zero 2 W Rev 1.0", "raspberrypi,model-zero-2-w", "brcm,bcm2837"),
    FIRMWARE: "50000\n",
    "proc/meminfo": MEMORY.format(437160, 200000),
}
ORIN = {
    **tree(
        "NVIDIA Jetson Orin Nano Developer Kit",
        "nvidia,p3768-0000+p3767-0005", "nvidia,p3767-0005", "nvidia,tegra234",
    ),
    **policy(0, "0 1 2 3", 1510400, 1510400, 1510400, "schedutil"),
    **policy(4, "4 5", 729600, 1510400, 1510400, "schedutil"),
    **zone(0, "cpu-thermal", 51250),
    "sys/class/thermal/thermal_zone1/type": "cv0-thermal\n",  # a part that is off
    "dev/nvhost-gpu": "",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:fanNull\n",
    "etc/nvpmodel.conf": "< POWER_MODEL ID=0 NAME=15W >\n< POWER_MODEL ID=1 NAME=7W >\n",
}  # fmt: skip
ROCK_5B = {
    **tree("Radxa ROCK 5B", "radxa,rock-5b", "rockchip,rk3588"),
    **policy(0, "0 1 2 3", 1800000, 1800000, 1800000),
    **policy(4, "4 5", 408000, 1200000, 2400000),
    **policy(6, "6 7", 408000, 2400000, 2400000),
    "sys/bus/platform/drivers/RKNPU/fdab0000.npu/uevent": "DRIVER=RKNPU\n",
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "3\n",
    "sys/class/thermal/cooling_device1/type": "cpufreq-cpu4\n",
    "sys/class/thermal/cooling_device1/cur_state": "4\n",
    "sys/class/thermal/cooling_device1/max_state": "9\n",
}
IMX8 = {
    **tree("NXP i.MX8MPlus EVK board", "fsl,imx8mp-evk", "fsl,imx8mp"),
    "dev/galcore": "",
}
LAPTOP = {
    "sys/class/dmi/id/sys_vendor": "LENOVO\n",
    "sys/class/dmi/id/product_name": "21KC\n",
    "sys/firmware/acpi/platform_profile": "low-power\n",
    **render(128, "xe", "0x8086"),
    **render(129, "nvidia", "0x10de"),
    "dev/nvidia0": "",
    "sys/class/accel/accel0/device/vendor": "0x8086\n",
    "sys/class/accel/accel0/device/uevent": "DRIVER=intel_vpu\n",
}


@pytest.fixture
def look(tmp_path: Path):
    """Return what looks at a board that is made of files."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return board(tmp_path)

    return make


@pytest.mark.parametrize(
    ("files", "kind", "soc", "name"),
    [
        (PI_5, "raspberry-pi-5", "bcm2712", "Raspberry Pi 5 Model B Rev 1.0"),
        (PI_4, "raspberry-pi-4", "bcm2711", "Raspberry Pi 4 Model B Rev 1.4"),
        (PI_3, "raspberry-pi-3", "bcm2837", "Raspberry Pi 3 Model B Plus Rev 1.3"),
        (ZERO_2, "raspberry-pi-zero-2", "bcm2837", "Raspberry Pi Zero 2 W Rev 1.0"),
        (ORIN, "jetson-orin", "tegra234", "NVIDIA Jetson Orin Nano Developer Kit"),
        (ROCK_5B, "rk3588", "rk3588", "Radxa ROCK 5B"),
        (IMX8, "imx8m-plus", "imx8mp", "NXP i.MX8MPlus EVK board"),
        (LAPTOP, os.uname().machine, "", "LENOVO 21KC"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_boards_are_known(look, files, kind, soc, name):
    found = look(files)
    assert (found.kind, found.soc, found.name) == (kind, soc, name)
    json.dumps(found.to_dict())


def test_a_raspberry_pi_5_in_full(look):
    found = look(PI_5)
    assert found.memory == 8245168 * 1024
    assert found.memory_available == 7400000 * 1024
    assert found.clocks == (Clock("0-3", 1_500_000_000, 2_400_000_000, 2_400_000_000, "ondemand"),)
    assert found.temperatures == {"cpu-thermal": pytest.approx(48.45)}
    assert found.throttled == ()
    assert found.power_mode is None
    assert found.accelerators == (
        Accelerator("npu", "Hailo", "/dev/hailo0", None),
        Accelerator("gpu", "v3d GPU", "/dev/dri/renderD128", None),
    )


def test_what_a_raspberry_pi_says_of_its_throttling(look):
    assert look(PI_4).throttled == (
        "under-voltage: the power supply or its cable is too weak",
        "throttled: too hot, or too little voltage",
    )


def test_the_soft_limit_of_a_raspberry_pi(look):
    assert look(PI_3).throttled == ("the soft temperature limit is reached",)


def test_throttling_of_the_past_is_not_now(look):
    assert look(ZERO_2).throttled == ()


def test_a_jetson_in_full(look):
    found = look(ORIN)
    assert found.power_mode == "7W"
    assert [(c.cores, c.governor) for c in found.clocks] == [
        ("0-3", "schedutil"),
        ("4-5", "schedutil"),
    ]
    assert found.temperatures == {"cpu-thermal": pytest.approx(51.25)}
    (gpu,) = found.accelerators
    assert (gpu.kind, gpu.delegate, gpu.problem) == ("gpu", "tensorrt,cuda", None)


def test_a_power_mode_without_a_name_is_its_number(look):
    assert look({"var/lib/nvpmodel/status": "pmode:0008\n"}).power_mode == "8"


def test_a_rockchip_that_the_heat_slows_down(look):
    found = look(ROCK_5B)
    assert found.throttled == ("the heat lowers cpufreq-cpu4 by 4 of 9 steps",)
    assert found.clocks[1].limit_hz == 1_200_000_000
    assert found.clocks[1].max_hz == 2_400_000_000
    (npu,) = found.accelerators
    assert (npu.kind, npu.delegate) == ("npu", None)


def test_an_imx8_has_an_npu_that_nothing_uses_yet(look):
    assert look(IMX8).accelerators == (Accelerator("npu", "NPU of an i.MX8", "/dev/galcore", None),)


def test_a_laptop_with_three_accelerators(look):
    found = look(LAPTOP)
    assert found.power_mode == "low-power"
    assert [(a.name, a.node, a.delegate) for a in found.accelerators] == [
        ("NVIDIA GPU", "/dev/nvidia0", "tensorrt,cuda"),
        ("Intel GPU", "/dev/dri/renderD128", "openvino:gpu,webgpu"),
        ("Intel NPU", "/dev/accel/accel0", "openvino:npu"),
    ]
    assert "driver is not loaded" in found.accelerators[-1].problem


def test_a_node_without_permission_says_what_to_do(look, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    (gpu,) = look(ORIN).accelerators
    assert gpu.problem.startswith("no permission for /dev/nvhost-gpu: sudo usermod -aG video $USER")


@pytest.mark.parametrize("garbage", ["", "garbage\n", "\xff\0\0"])
def test_garbage_is_left_out(look, garbage):
    files = {
        **dict.fromkeys(policy(0, "", 0, 0, 0), garbage),
        **dict.fromkeys(zone(0, "", 0), garbage),
        "proc/meminfo": f"MemTotal:{garbage}",
        "proc/device-tree/model": garbage,
        FIRMWARE: garbage,
        "var/lib/nvpmodel/status": garbage,
    }
    found = look(files)
    assert found.clocks == ()
    assert found.temperatures == {}
    assert found.throttled == ()
    assert found.power_mode is None


def test_a_machine_that_tells_nothing(tmp_path):
    found = board(tmp_path)
    assert (found.name, found.kind, found.memory) == ("", os.uname().machine, 0)
    assert found.accelerators == ()


def test_this_machine():
    assert board().memory > board().memory_available > 0


def test_a_tree_that_may_not_be_read_is_an_empty_board(look, tmp_path, no_rights):
    nothing = look({})
    assert look({**LAPTOP, **ORIN, **PI_5}) != nothing
    no_rights()
    assert board(tmp_path) == nothing


ODD = {
    "a name": {POLICY.format("X") + "cpuinfo_max_freq": "1\n"},
    "a number too large": {
        **zone(0, "cpu", 50000),
        "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive\n",
        "sys/class/thermal/thermal_zone0/trip_point_0_temp": "9" * 400,
        POLICY.format(0) + "cpuinfo_max_freq": "9" * 400,
        POLICY.format(0) + "scaling_cur_freq": "9" * 400,
    },
    "no text": dict.fromkeys([*LAPTOP, *ORIN, *PI_5], "\0\x01ü\ud7ff" * 9),
    "nothing": dict.fromkeys([*LAPTOP, *ORIN, *PI_5], ""),
}


@pytest.mark.parametrize("files", ODD.values(), ids=ODD)
def test_odd_files_are_no_error(look, files):
    found = look(files)
    assert (found.clocks, found.throttles_at, found.throttled) == ((), {}, ())
    json.dumps(found.to_dict(), allow_nan=False)
