"""Files that are replaced whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from edgeml.platform import replacing


def test_the_new_content_takes_the_old_ones_place(tmp_path):
    path = tmp_path / "folder" / "file"
    for content in (b"one", b"two"):
        with replacing(path) as file:
            file.write(content)
            assert not path.exists() or path.read_bytes() == b"one"
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["file"]


@pytest.mark.parametrize(("mode", "umask", "expected"), [
    (0o666, 0o022, 0o644), (0o666, 0o077, 0o600), (0o600, 0o022, 0o600),
])  # fmt: skip
def test_permissions(tmp_path, mode, umask, expected):
    before = os.umask(umask)
    try:
        with replacing(tmp_path / "file", mode):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == expected


def test_an_error_keeps_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), replacing(path) as file:
        file.writelines([b"half", "no bytes"])
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("letter", ["x", "ё", "語"])
def test_a_name_of_the_longest_kind(tmp_path, letter):
    path = tmp_path / (letter * (255 // len(letter.encode())))
    with replacing(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_folder_in_its_place_is_an_error_and_leaves_nothing(tmp_path):
    (tmp_path / "file").mkdir()
    with pytest.raises(IsADirectoryError), replacing(tmp_path / "file"):
        pass
    assert os.listdir(tmp_path) == ["file"]


KILLED = """
import os, signal, sys
from edgeml.platform import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"new" * 100000)
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_keeps_what_was_there(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"
