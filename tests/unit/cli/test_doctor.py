from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest

from edgeml.cli import _checks, main

ROOT = Path(__file__).parents[3]
_IMPORT_NAMES = {
    "onnxruntime": "onnxruntime", "ai-edge-litert": "ai_edge_litert", "av": "av",
    "opencv-python-headless": "cv2", "sounddevice": "sounddevice", "soundfile": "soundfile",
    "soxr": "soxr", "pymicro-features": "pymicro_features", "pyserial": "serial",
    "pynmea2": "pynmea2", "gpiod": "gpiod", "onnx": "onnx",
    "aiomqtt": "aiomqtt", "amqtt": "amqtt", "pydantic": "pydantic", "rich": "rich",
}  # fmt: skip


def test_the_extras_are_those_of_the_package() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, modules in _checks.EXTRAS.items():
        wanted = declared["optional-dependencies"][extra]
        names = [requirement.partition(">=")[0] for requirement in wanted]
        assert [_IMPORT_NAMES[name] for name in names] == list(modules)


def test_doctor_prints_one_json_document(capsys) -> None:
    assert main(["doctor", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    report = json.loads(line)
    assert (report["type"], report["schema"], report["ok"]) == ("doctor", 1, True)
    found = {finding["name"]: finding for finding in report["findings"]}
    assert found["python"]["status"] == "ok"
    assert "CPU" in found["onnxruntime"]["found"]


def test_doctor_prints_a_line_a_finding(capsys) -> None:
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "ok    python" in out
    assert "\x1b" not in out


def test_two_distributions_in_one_import_folder_are_found() -> None:
    owners = {
        "onnxruntime": ["onnxruntime", "onnxruntime-gpu"],
        "cv2": ["opencv-python", "opencv-python-headless"],
        "edgeml": ["edgeml-runtime", "edgeml-other"],
    }
    found = {finding.name: finding for finding in _checks._two_owners(owners)}
    assert all(finding.status == "error" for finding in found.values())
    assert found["import onnxruntime"].fix == (
        "pip uninstall onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )
    assert found["import cv2"].fix.endswith("pip install opencv-python-headless")
    assert "edgeml-other installs a folder edgeml, too" in found["import edgeml"].found
    alone = {"onnxruntime": ["onnxruntime"], "edgeml": ["edgeml-runtime", "edgeml-runtime"]}
    assert list(_checks._two_owners(alone)) == []


def test_a_board_without_its_camera_program_names_the_package(monkeypatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = _checks._system_packages("Raspberry Pi 5 Model B Rev 1.0")
    assert finding.fix == "sudo apt install rpicam-apps"
    assert list(_checks._system_packages("")) == []


def test_a_missing_extra_names_the_command(monkeypatch) -> None:
    monkeypatch.setattr(_checks, "EXTRAS", {"cpu": ("no_such_module",), "audio": ("json", "nope")})
    cpu, audio = _checks._extras()
    assert (cpu.status, cpu.fix) == ("error", 'pip install "edgeml-runtime[cpu]"')
    assert (audio.status, audio.found) == ("info", "not installed: nope")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_closed_device_names_the_group(tmp_path) -> None:
    (tmp_path / "video0").touch(mode=0)
    (finding,) = _checks._permissions({f"{tmp_path}/video*": "video"})
    assert "usermod -aG video" in finding.fix


def test_the_cache_folder_must_be_writable(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "deep" / "er"))
    (finding,) = _checks._cache()
    assert (finding.status, finding.found) == ("ok", str(tmp_path / "deep" / "er" / "edgeml"))
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/nothing")
    (finding,) = _checks._cache()
    assert finding.status == "warning"


def test_a_cache_folder_that_may_not_be_looked_into(tmp_path, monkeypatch, no_rights) -> None:
    monkeypatch.setenv("EDGEML_CACHE_DIR", str(tmp_path / "cache"))
    no_rights()
    (finding,) = _checks._cache()
    assert (finding.status, finding.fix) == (
        "warning", "set EDGEML_CACHE_DIR to a folder that can be written",
    )  # fmt: skip


def test_models_that_are_not_there_are_named(tmp_path, capsys) -> None:
    (tmp_path / "walk.csv").write_text("t,x\n0.0,1\n")
    (tmp_path / "beside.onnx").touch()
    app = tmp_path / "app.toml"
    app.write_text(
        'schema = 1\n[sources.watch]\ntype = "csv"\npath = "walk.csv"\n'
        '[tasks.what]\ntype = "activity-recognizer"\nsource = "watch"\nmodel = "gone.onnx"\n'
        '[tasks.more]\ntype = "activity-recognizer"\nsource = "watch"\nmodel = "beside.onnx"\n'
        '[tasks.web]\ntype = "activity-recognizer"\nsource = "watch"\nmodel = "https://host/m"\n'
        '[governor]\nmodels.more = ["beside.onnx", "edgeml:activity_wach_int8.onnx"]\n'
    )
    assert main(["doctor", str(app), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    wrong = {f["name"]: f["found"] for f in findings if f["status"] == "error"}
    assert wrong.pop("tasks.what.model") == "gone.onnx: there is no such file"
    assert "Did you mean edgeml:activity_watch_int8.onnx?" in wrong.pop("governor.models.more")
    assert wrong == {}
