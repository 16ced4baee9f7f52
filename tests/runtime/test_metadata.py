from __future__ import annotations

import json

import pytest

import edgeml
from edgeml.errors import ModelFormatError
from edgeml.runtime import Metadata

PROPS = {
    "edgeml.schema": "1",
    "edgeml.task": "image-classification",
    "edgeml.labels": '["cat", "dog"]',
    "edgeml.preprocess": '{"size": [224, 224]}',
    "edgeml.postprocess": '{"activation": "softmax"}',
    "edgeml.state": '{"h": "hn"}',
    "edgeml.license": "MIT",
    "edgeml.origin": "made for a test",
    "edgeml.unheard_of": "kept",
    "another.tool": "kept too",
}


def test_the_keys_are_read(doubles_with):
    with edgeml.load(doubles_with(props=PROPS)) as session:
        metadata = session.metadata
    assert metadata == Metadata.of(PROPS)
    assert metadata.task == "image-classification"
    assert metadata.labels == ("cat", "dog")
    assert metadata.preprocess == {"size": [224, 224]}
    assert metadata.postprocess == {"activation": "softmax"}
    assert metadata.state == {"h": "hn"}
    assert (metadata.license, metadata.origin) == ("MIT", "made for a test")
    assert metadata.props == PROPS


def test_a_model_without_keys(doubles):
    with edgeml.load(doubles) as session:
        assert session.metadata == Metadata()


@pytest.mark.parametrize("schema", ["2", "99", "one", "-1", "", "²"])
def test_a_newer_schema_is_refused_with_what_to_do(doubles_with, schema):
    path = doubles_with(props={"edgeml.schema": schema})
    with pytest.raises(ModelFormatError, match="install a newer edgeml-runtime") as caught:
        edgeml.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("labels", "cat, dog", "edgeml.labels is not JSON"),
        ("labels", '{"0": "cat"}', "edgeml.labels must be a JSON list; received dict"),
        ("preprocess", "[1]", "edgeml.preprocess must be a JSON object; received list"),
        ("postprocess", "{", "edgeml.postprocess is not JSON"),
        ("state", '{"h": 1}', "edgeml.state must name an output for each input; received 1"),
        ("state", "[" * 100_000, "edgeml.state is not JSON"),
    ],
)
def test_a_key_that_is_not_what_it_should_be(doubles_with, key, text, message):
    with pytest.raises(ModelFormatError, match=message):
        edgeml.load(doubles_with(props={f"edgeml.{key}": text}))


@pytest.mark.parametrize(
    "name",
    [
        "activity_watch_int8.onnx", "blazeface.tflite", "efficientnet_lite0_int8.onnx",
        "nanodet_g_416_int8.onnx", "okay_nabu.tflite", "silero_vad.onnx",
    ],
)  # fmt: skip
def test_shipped_models_say_what_they_are(name):
    with edgeml.load(f"edgeml:{name}") as session:
        metadata = session.metadata
    assert metadata.task
    assert metadata.labels
    assert metadata.license
    assert metadata.origin
    assert json.loads(metadata.props["edgeml.schema"]) == 1
