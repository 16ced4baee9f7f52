"""The layout: two folders at the top that are packages inside edgeml, and nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import edgeml

ROOT = Path(__file__).resolve().parents[2]
LINKED = ["devices", "quantize"]


def python(code: str, *, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("name", LINKED)
def test_package_is_a_link_to_the_folder_at_the_top(name):
    link = ROOT / "edgeml" / name
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    assert (link / "__init__.py").samefile(ROOT / name / "__init__.py")


def test_the_boards_files_are_a_link_to_the_folder_at_the_top():
    link = ROOT / "edgeml" / "firmware_configs"
    assert os.readlink(link) == "../firmware_configs"
    assert (link / "x86-64" / "board.toml").is_file()


@pytest.mark.parametrize("name", LINKED)
def test_import_by_the_name_of_the_folder_is_refused_with_the_right_name(name):
    done = python(f"import {name}", cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"ImportError: import edgeml.{name}, ")


@pytest.mark.parametrize("name", LINKED)
def test_an_install_has_no_such_name_at_the_top(name, tmp_path):
    code = f"import importlib.util; print(importlib.util.find_spec({name!r}))"
    assert python(code, cwd=tmp_path).stdout.strip() == "None"


@pytest.mark.parametrize("name", LINKED)
def test_a_users_own_module_of_that_name_does_not_shadow_ours(name, tmp_path):
    (tmp_path / f"{name}.py").write_text("MINE = True\n")
    done = python(f"import {name}, edgeml.{name}; print({name}.MINE)", cwd=tmp_path)
    assert done.stdout.strip() == "True", done.stderr


def test_version_is_the_one_the_build_reads():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+|\.dev\d+)?", edgeml.__version__)
    assert f"## [{edgeml.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_extras_that_gather_others_name_only_extras_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for needs in extras.values():
        for own in re.findall(rf"{project['name']}\[([\w,-]+)\]", " ".join(needs)):
            assert set(own.split(",")) <= extras.keys()


def test_extras_named_in_the_code_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for top in ("edgeml", *LINKED):
        for path in (ROOT / top).rglob("*.py"):
            for extra in re.findall(r'\brequire\([^)]*extra="([\w-]+)"', path.read_text()):
                assert extra in extras, f"{path.relative_to(ROOT)} names the extra {extra!r}"
