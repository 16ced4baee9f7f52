"""What ``edgeml bench`` says of energy, where there is a counter and where there is none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgeml.cli._energy import energy_of_delegates
from edgeml.cli._main import main
from edgeml.devices import EnergyMeter
from edgeml.runtime import measure

ACTIVITY = "edgeml:activity_watch_int8.onnx"


@pytest.fixture
def five_watts(tmp_path: Path) -> Path:
    """Return the root of a machine that always draws 5 W."""
    chip = tmp_path / "sys/class/hwmon/hwmon1"
    chip.mkdir(parents=True)
    files = {"name": "ina3221", "in1_label": "VDD_IN", "in1_input": 5000, "curr1_input": 1000}
    for name, value in files.items():
        (chip / name).write_text(f"{value}\n")
    return tmp_path


@pytest.fixture
def on_five_watts(five_watts, monkeypatch):
    """Let the command line find that machine."""
    monkeypatch.setattr(
        "edgeml.devices.EnergyMeter", lambda: EnergyMeter(root=five_watts), raising=False
    )


@pytest.mark.usefixtures("on_five_watts")
def test_the_energy_of_a_call(capsys) -> None:
    assert main(["bench", ACTIVITY, "--seconds", "0.2", "--threads", "1,2", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["energy"] == {"source": "INA3221 VDD_IN", "problem": None}
    for row in report["rows"]:
        # 5 W over the time of the calls, and of what lies between them
        assert row["joules_per_call"] >= 5 / row["per_second"] * 0.99
    assert main(["bench", ACTIVITY, "--seconds", "0.1", "--threads", "1"]) == 0
    assert "energy: of all that ran, and of idling, by INA3221 VDD_IN" in capsys.readouterr().out


def test_without_a_counter_it_says_why(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(
        "edgeml.devices.EnergyMeter", lambda: EnergyMeter(root=tmp_path), raising=False
    )
    assert main(["bench", ACTIVITY, "--seconds", "0.1", "--threads", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["rows"][0]["joules_per_call"] is None
    assert "no energy counter that is known" in report["energy"]["problem"]
    assert main(["bench", ACTIVITY, "--seconds", "0.1", "--threads", "1"]) == 0
    assert "energy: not measured: this machine has no" in capsys.readouterr().out


def test_the_energy_of_a_call_on_a_delegate(five_watts) -> None:
    found = measure(ACTIVITY, "cpu", seconds=0.1, threads=1, remember=False)
    told = replace(found, model="https://host/model.onnx")  # as it was given, but for a password
    joules, energy = energy_of_delegates(ACTIVITY, told, None, EnergyMeter(root=five_watts))
    assert energy["source"] == "INA3221 VDD_IN"
    (row,) = found.rows
    assert len(joules) == 1
    assert joules[0] > 0.1 * 5 * row.median_ms / 1e3
