from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeml.errors import ConfigError
from edgeml.platform import cache_dir, cores, state_dir

ALLOWED = len(os.sched_getaffinity(0))


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_cores_without_a_cgroup_are_those_of_the_affinity(tmp_path):
    assert cores(tmp_path) == ALLOWED


@pytest.mark.parametrize(
    "files",
    [
        {"sys/fs/cgroup/cpu.max": "50000 100000\n"},
        {
            "proc/self/cgroup": "0::/system.slice/camera.service\n",
            "sys/fs/cgroup/system.slice/camera.service/cpu.max": "max 100000\n",
            "sys/fs/cgroup/system.slice/cpu.max": "100000 100000\n",
        },
        {
            "proc/self/cgroup": "0::/not/mounted/here\n",
            "sys/fs/cgroup/cpu.max": "90000 100000\n",
        },
        {
            "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/ab\n0::/\n",
            "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu/docker/ab/cpu.cfs_period_us": "100000\n",
        },
    ],
    ids=["v2 in a container", "v2 service under a slice", "v2 path of the host", "v1"],
)
def test_cores_are_capped_by_the_cgroup(tmp_path, files):
    assert cores(put(tmp_path, files)) == 1


@pytest.mark.parametrize("text", ["max 100000", "", "garbage", "100000 0", "-1 100000"])
def test_a_cgroup_without_a_limit_does_not_cap(tmp_path, text):
    assert cores(put(tmp_path, {"sys/fs/cgroup/cpu.max": text})) == ALLOWED


def test_cgroup_v1_without_a_limit_does_not_cap(tmp_path):
    files = {
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    }
    assert cores(put(tmp_path, files)) == ALLOWED


@pytest.mark.parametrize(
    ("folder", "own", "xdg", "fallback"),
    [
        (cache_dir, "EDGEML_CACHE_DIR", "XDG_CACHE_HOME", ".cache/edgeml"),
        (state_dir, "EDGEML_STATE_DIR", "XDG_STATE_HOME", ".local/state/edgeml"),
    ],
)
def test_folders_follow_xdg_and_can_be_moved(monkeypatch, folder, own, xdg, fallback):
    monkeypatch.setenv("HOME", "/home/user")
    monkeypatch.delenv(own, raising=False)
    monkeypatch.delenv(xdg, raising=False)
    assert folder() == Path("/home/user", fallback)
    monkeypatch.setenv(xdg, "relative/is/ignored")
    assert folder() == Path("/home/user", fallback)
    monkeypatch.setenv(xdg, "/xdg")
    assert folder() == Path("/xdg/edgeml")
    monkeypatch.setenv(own, "~/mine")
    assert folder() == Path("/home/user/mine")
    monkeypatch.setenv(own, "~nobody-of-this-name/mine")
    with pytest.raises(ConfigError, match=f"{own}=~nobody-of-this-name/mine: the home folder is n"):
        folder()
