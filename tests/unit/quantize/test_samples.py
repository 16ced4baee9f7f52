"""Examples from what a user has, divided; and what is wrong with them."""

from __future__ import annotations

import asyncio
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeml.data import Dataset
from edgeml.errors import DataError, InputError, ModelError
from edgeml.quantize import set_metadata
from edgeml.quantize._samples import Samples, samples_of
from edgeml.streams import Sample, Source

X = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
Y = np.arange(12) % 3


def model(*inputs, output="y"):
    infos = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    node = helper.make_node("Identity", [inputs[0][0]], [output])
    out = helper.make_tensor_value_info(output, inputs[0][1], None)
    return helper.make_model(helper.make_graph([node], "g", infos, [out]))


ONE = model(("x", TensorProto.FLOAT, ("n", 4)))
TWO = model(("x", TensorProto.FLOAT, ("n", 4)), ("ids", TensorProto.INT64, ("n", 2)))


def all_of(samples):
    return np.concatenate([feed["x"] for feed in samples.feeds(range(len(samples)))])


def test_arrays_pairs_lists_datasets_and_files_are_the_same(tmp_path):
    np.savez(tmp_path / "data.npz", x=X, labels=Y, groups=Y)
    feeds = [{"x": row[None]} for row in X]
    for data in (X, {"x": X}, (X, Y), feeds, (feeds, Y), Dataset.from_arrays(X, Y),
                 tmp_path / "data.npz", str(tmp_path / "data.npz")):  # fmt: skip
        found = samples_of(data, ONE)
        np.testing.assert_array_equal(all_of(found), X)
        if found.labels is not None:
            assert [found.label(i) for i in range(12)] == Y.tolist()
    assert found.groups == Y.tolist()
    assert samples_of(X, ONE, labels=Y).labels == Y.tolist()
    assert samples_of(found, ONE) is found


def test_a_stream_gives_its_first_examples(monkeypatch):
    feeds = ({"x": row[None]} for row in X)
    rows = (Sample(row, 0, 0) for row in X)
    for data in (iter(X), feeds, rows):
        np.testing.assert_array_equal(all_of(samples_of(data, ONE)), X)
    monkeypatch.setattr("edgeml.quantize._samples.MOST_OF_A_STREAM", 5)
    assert len(samples_of(itertools.cycle(X), ONE)) == 5
    with pytest.raises(DataError, match="empty"):
        samples_of(iter(()), ONE)


def test_several_inputs_types_and_numbers_without_a_batch():
    scalar = model(("x", TensorProto.FLOAT, ("n", 4)), ("rate", TensorProto.INT64, ()))
    found = samples_of({"x": X.astype(np.float64), "rate": np.array(16000)}, scalar)
    feed = found.feed(3)
    assert (feed["x"].dtype, feed["rate"].dtype, feed["rate"].shape) == ("float32", "int64", ())
    ids = np.arange(24).reshape(12, 2)
    assert samples_of({"x": X, "ids": ids}, TWO).feed(1)["ids"].tolist() == [[2, 3]]
    assert samples_of([{"x": [[1, 2, 3, 4]], "ids": [[1, 2]]}], TWO).feed(0)["ids"].dtype == "int64"


def test_pictures_in_folders_of_classes(tmp_path):
    pixels = {"type": "image", "size": [4, 4], "dtype": "float32", "std": [255] * 3}
    net = model(("x", TensorProto.FLOAT, (1, 3, 4, 4)))
    for label, gray in (("cat", 40), ("dog", 200)):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "a.png"), np.full((4, 4, 3), gray, np.uint8))
    with pytest.raises(ModelError, match=r"preprocess\): write them with edgeml"):
        samples_of(tmp_path, net)
    described = set_metadata(net, {"labels": ["dog", "cat"], "preprocess": pixels})
    found = samples_of(tmp_path, described)
    assert found.labels == [1, 0]
    assert found.feed(0)["x"].shape == (1, 3, 4, 4)
    assert found.feed(0)["x"] == pytest.approx(40 / 255, abs=0.01)
    (tmp_path / "dog").rename(tmp_path / "dogs")
    with pytest.raises(DataError, match=r"dogs holds pictures and is no label.*has dog, cat"):
        samples_of(tmp_path, described)
    assert samples_of(tmp_path / "dogs", described).labels is None
    (tmp_path / "dogs").rename(tmp_path / "dog")
    (tmp_path / "dog" / "a.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"dog/a\.png cannot be read"):
        found.feed(1)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        samples_of(empty, described)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (X[:0], {}, "empty"),
        ([], {}, "empty"),
        (X[:, :3], {}, r"'x': expected examples of shape \[4\], received \[3\]"),
        (X[0], {}, r"expected examples of shape \[4\], received \[\]"),
        ([{"x": X}, {"x": X[:, :2]}], {}, r"example 1: 'x': expected shape \['any', 4\]"),
        ([{"z": X}], {}, r"example 0: expected inputs \['x'\], received \['z'\]"),
        ([X], {}, "list of {input name: array}, received one of ndarray"),
        ({"z": X}, {}, r"the model's inputs \['x'\], received \['z'\]"),
        ((X, Y[:5]), {}, "5 labels for 12 examples"),
        ([{"x": X.astype(str)}], {}, "expected numbers that become float32, received <U"),
        (X, {"groups": Y[:5]}, "5 groups for 12 examples"),
        (7, {}, "received int"),
        ("/nowhere", {}, "/nowhere: expected a folder of pictures or an .npz file"),
    ],
)
def test_bad_data_say_what_is_wrong(data, options, message):
    with pytest.raises((DataError, InputError), match=message):
        samples_of(data, ONE, **options)


def test_more_bad_data(tmp_path):
    with pytest.raises(DataError, match=r"inputs \['x', 'ids'\]: pass {name: array}"):
        samples_of(X, TWO)
    with pytest.raises(DataError, match="different lengths"):
        samples_of({"x": X, "ids": np.zeros((5, 2))}, TWO)
    with pytest.raises(InputError, match="'x' takes 8 along its first axis"):
        samples_of(X, model(("x", TensorProto.FLOAT, (8, 4))))
    for name, content in (("text.npz", b"text"), ("empty.npz", b"")):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=rf"{name} cannot be read"):
            samples_of(tmp_path / name, ONE)
    np.savez(tmp_path / "pickled.npz", x=np.array([{}, 1], object))
    with pytest.raises(DataError, match=r"pickled.npz cannot be read.*allow_pickle"):
        samples_of(tmp_path / "pickled.npz", ONE)


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=60),
    st.sampled_from([(0.3, 0.3, 0.4), (0.2, 0.2, 0.6), (0.5, 0.5)]),
    st.integers(0, 3),
    st.booleans(),
)
def test_parts_are_disjoint_complete_and_never_divide_a_group(groups, shares, seed, grouped):
    samples = Samples(
        len(groups), dict, groups=[(g, "person") for g in groups] if grouped else None
    )
    parts = samples.split(shares, seed)
    assert sorted(np.concatenate(parts)) == list(range(len(groups)))
    if grouped:
        owners = [{groups[i] for i in part} for part in parts]
        assert sum(map(len, owners)) == len(set(groups))
    else:
        assert all(abs(len(p) - s * len(groups)) <= 1 for p, s in zip(parts, shares, strict=True))
    again = samples.split(shares, seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


def test_digests_tell_contents_apart():
    one, other = samples_of(X, ONE), samples_of(X + np.eye(12, 4, dtype=np.float32), ONE)
    assert one.digest([0, 1]) == samples_of({"x": X.copy()}, ONE).digest([0, 1])
    assert one.digest([0]) != other.digest([0])
    text = model(("t", TensorProto.STRING, ("n", 1)))
    words = [samples_of(np.array([[w]], object), text).digest([0]) for w in ("a", "a", "b")]
    assert words[0] == words[1] != words[2]


def test_a_live_source_is_read_once_and_closed(net):
    """Also while a loop is running."""
    made = net(4)
    model = made.model(made.gemm("x", 2, 4))
    closed = []

    async def stream():
        try:
            n = 0
            while True:
                yield np.full(4, n, np.float32)
                n += 1
        finally:
            closed.append(True)

    async def main():
        return samples_of(stream(), model)

    samples = asyncio.run(main())
    assert len(samples) == 1000
    assert closed == [True]
    np.testing.assert_array_equal(samples.feed(3)["x"], np.full((1, 4), 3, np.float32))
    source = Source.of([np.zeros(4, np.float32)] * 3)
    assert len(samples_of(source, model)) == 3
