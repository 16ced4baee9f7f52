from __future__ import annotations

import os
import socket
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import edgeml
from edgeml.errors import DownloadError, ModelError, ModelFormatError, ModelNotFound
from edgeml.runtime._onnx_file import read_onnx

SHIPPED = Path(edgeml.__file__).parent / "models"


@pytest.fixture
def bad(tmp_path):
    """Return what writes bytes to a file that claims to be a model."""

    def write(content: bytes, name: str = "bad.onnx") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


def test_a_missing_file():
    with pytest.raises(ModelNotFound, match=r"no/such\.onnx: there is no such file"):
        edgeml.load("no/such.onnx")
    with pytest.raises(FileNotFoundError):
        edgeml.load("no/such.onnx")


def test_a_folder(tmp_path):
    with pytest.raises(ModelFormatError, match="expected a model file, received a folder"):
        edgeml.load(tmp_path)


def test_neither_file_nor_folder(tmp_path):
    path = tmp_path / "socket.onnx"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))
        with pytest.raises(ModelFormatError, match="received a device"):
            edgeml.load(path)


@pytest.mark.parametrize("folder", [".", "below"])
def test_a_file_that_may_not_be_read(tmp_path, no_rights, folder):
    no_rights()
    with pytest.raises(ModelFormatError, match="cannot be read: Permission denied"):
        edgeml.load(tmp_path / folder / "model.onnx")


@pytest.mark.parametrize("name", ["x" * 300, "~nobody-of-this-name/model.onnx", "a\0b", ""])
def test_a_name_that_no_file_has(name):
    with pytest.raises(ModelError, match=r"no such file|name too long|received a folder"):
        edgeml.load(name)


@pytest.mark.parametrize("name", ["bad.onnx", "bad.tflite"])
def test_an_empty_file(bad, name):
    with pytest.raises(ModelFormatError, match="the file is empty"):
        edgeml.load(bad(b"", name))


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\r\n\x1a\n" + bytes(100), b"<html>404</html>", b"version https://git-lfs", b"x"],
    ids=["picture", "web page", "Git LFS pointer", "one byte"],
)
def test_something_else_renamed(bad, content):
    with pytest.raises(ModelFormatError, match="neither an ONNX nor a TFLite model; it begins"):
        edgeml.load(bad(content))


# The last cut takes a few bytes only: a protobuf cut between two fields is a whole one.
@pytest.mark.parametrize("share", [0.01, 0.5, 0.9999])
@pytest.mark.parametrize("name", ["activity_watch_int8.onnx", "okay_nabu.tflite"])
def test_a_truncated_model(bad, name, share, capfd):
    content = (SHIPPED / name).read_bytes()
    path = bad(content[: int(len(content) * share)], name)
    with pytest.raises(ModelFormatError) as caught:
        edgeml.load(path)
    assert str(path) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_truncated_onnx_model_says_where_it_ends(bad):
    content = (SHIPPED / "silero_vad.onnx").read_bytes()[:1000]
    with pytest.raises(ModelFormatError, match=r"truncated.*is cut off.*has 1000 bytes"):
        edgeml.load(bad(content))


def test_random_bytes_that_begin_as_a_model_does(bad):
    rng = np.random.default_rng(0)
    for size in (1, 10, 1000):
        for start in (b"\x08\x09", b"\x00\x00\x00\x00TFL3"):
            with pytest.raises(ModelFormatError):
                edgeml.load(bad(start + rng.bytes(size)))


def test_every_cut_of_a_small_model_is_refused(bad, doubles):
    content = doubles.read_bytes()
    for size in range(1, len(content) - 1):
        with pytest.raises(ModelError):
            edgeml.load(bad(content[:size])).close()


def test_damaged_bytes_never_crash_the_reader(bad, doubles):
    content = bytearray(doubles.read_bytes())
    rng = np.random.default_rng(0)
    for _ in range(500):
        damaged = bytearray(content)
        for at in rng.integers(0, len(content), 3):
            damaged[at] = rng.integers(256)
        try:
            read_onnx(bad(bytes(damaged)), "damaged")
        except ModelFormatError:
            continue


def test_the_ending_of_the_name_does_not_matter(doubles, tmp_path):
    for name in ("model.bin", "model.ort", "model.tflite", "model"):
        doubles.rename(tmp_path / name)
        with edgeml.load(tmp_path / name) as session:
            assert session.run(np.ones((1, 3)))["y"].shape == (1, 3)
        (tmp_path / name).rename(doubles)


def test_a_path_may_begin_with_a_tilde(doubles, monkeypatch):
    monkeypatch.setenv("HOME", str(doubles.parent))
    edgeml.load(f"~/{doubles.name}").close()


def test_an_opset_that_is_too_new(doubles_with, capfd):
    with pytest.raises(
        ModelFormatError, match=r"Opset 99 .*for an older opset, or install a newer"
    ):
        edgeml.load(doubles_with(opset=99))
    assert capfd.readouterr() == ("", "")


def test_a_format_that_is_too_new(doubles_with):
    with pytest.raises(ModelFormatError, match=r"IR version: 99.*install a newer onnxruntime"):
        edgeml.load(doubles_with(ir_version=99))


@pytest.mark.parametrize("domain", ["", "com.example"])
def test_an_unknown_operator(onnx_file, domain, capfd):
    path = onnx_file(
        [("Blur", ["x"], ["y"], {"domain": domain})], {"x": ([1], "FLOAT")}, {"y": ([1], "FLOAT")}
    )
    with pytest.raises(ModelFormatError, match="Blur") as caught:
        edgeml.load(path)
    assert not str(caught.value).startswith(f"{path}: [ONNXRuntimeError]")
    assert capfd.readouterr() == ("", "")


def test_a_shipped_model_that_does_not_ship():
    with pytest.raises(ModelNotFound, match=r"Did you mean edgeml:silero_vad\.onnx\?") as caught:
        edgeml.load("edgeml:silero_vat.onnx")
    assert "okay_nabu.tflite" in str(caught.value)


@pytest.mark.parametrize("name", ["../errors.py", "", "../models/silero_vad.onnx", "/etc/passwd"])
def test_a_shipped_model_is_a_name_and_no_path(name):
    with pytest.raises(ModelNotFound, match="no such model ships"):
        edgeml.load(f"edgeml:{name}")


def test_the_hash_of_a_local_file_is_checked(doubles):
    with pytest.raises(DownloadError, match=f"expected sha256 {'0' * 64}, received"):
        edgeml.load(doubles, sha256="0" * 64)
    with pytest.raises(DownloadError, match="expected 64 hexadecimal digits, received 'abc'"):
        edgeml.load(doubles, sha256="abc")


def external(location: str) -> TensorProto:
    """Return weights that lie in a file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": "0", "length": "12"}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.fixture
def weights_in(onnx_file, tmp_path):
    """Return what makes a model whose weights are in another file; two such files are there."""
    for file in (tmp_path / "beside.bin", tmp_path.parent / "secret.bin"):
        np.arange(3, dtype=np.float32).tofile(file)
    (tmp_path / "link.bin").symlink_to(tmp_path.parent / "secret.bin")

    def build(location: str) -> Path:
        return onnx_file(
            [("Add", ["x", "w"], ["y"])],
            {"x": ([3], "FLOAT")},
            {"y": ([3], "FLOAT")},
            {"w": external(location)},
        )

    return build


def test_weights_beside_the_model(weights_in):
    with edgeml.load(weights_in("beside.bin")) as session:
        assert session.run(np.zeros(3))["y"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "link.bin", "sub/../../secret.bin", "/etc/hostname", "{absolute}"],
)
def test_weights_elsewhere_are_refused(weights_in, tmp_path, location):
    path = weights_in(location.format(absolute=tmp_path / "beside.bin"))
    with pytest.raises(ModelFormatError, match="outside the model's folder; that is refused"):
        edgeml.load(path)


def test_weights_that_are_missing(weights_in, tmp_path):
    with pytest.raises(ModelFormatError, match=r"'gone.bin', which is missing; put it into"):
        edgeml.load(weights_in("gone.bin"))


@pytest.mark.parametrize("location", ["x" * 300, "a\0b", "circle"])
def test_weights_in_what_is_no_file(weights_in, tmp_path, location):
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(ModelFormatError, match=r"model\.onnx: its weights are in"):
        edgeml.load(weights_in(location))


def test_weights_in_a_subgraph_elsewhere_are_refused(tmp_path):
    flag = helper.make_tensor_value_info("flag", TensorProto.BOOL, [])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3])
    branches = {}
    for name in ("then_branch", "else_branch"):
        constant = helper.make_node("Constant", [], ["y"], value=external("../secret.bin"))
        branches[name] = helper.make_graph([constant], name, [], [y])
    graph = helper.make_graph(
        [helper.make_node("If", ["flag"], ["y"], **branches)], "g", [flag], [y]
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(helper.make_model(graph, ir_version=9).SerializeToString())
    assert onnx.load_model(path, load_external_data=False).graph.node[0].op_type == "If"
    with pytest.raises(ModelFormatError, match="outside the model's folder"):
        edgeml.load(path)


def part(number: int, content: bytes) -> bytes:
    """Return a field of a protobuf message; lengths below 2 ** 14."""
    size = len(content)
    return bytes([number << 3 | 2, size & 0x7F | 0x80, size >> 7]) + content


def test_subgraphs_without_end_are_refused(bad):
    graph = b""
    for _ in range(40):  # graph > node > attribute > graph
        graph = part(1, part(5, part(6, graph)))
    with pytest.raises(ModelFormatError, match="nested more than 32 deep"):
        edgeml.load(bad(b"\x08\x09" + part(7, graph)))
