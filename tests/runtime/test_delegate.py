from __future__ import annotations

import logging

import numpy as np
import pytest

import edgeml
from edgeml.errors import DelegateError
from edgeml.runtime._delegate import Entry, choose, parse


def test_the_grammar():
    assert parse("npu, openvino:GPU!,cpu") == (
        Entry("npu"),
        Entry("openvino", "gpu", required=True),
        Entry("cpu"),
    )


@pytest.mark.parametrize("text", ["", "cpu,", ",cpu", "cpu!!", ":gpu", "openvino:", "c p u", "!"])
def test_what_is_not_of_the_grammar_is_refused(text):
    with pytest.raises(DelegateError, match="expected name"):
        parse(text)


@pytest.mark.parametrize("text", ["auto", "cpu", "cpu!", "CPU"])
def test_the_cpu_can_be_had(text):
    assert choose(text).name == "cpu"


def test_an_entry_that_cannot_be_had_is_logged_with_the_reason(caplog):
    with caplog.at_level(logging.WARNING, "edgeml.runtime"):
        assert choose("npu,cpu").name == "cpu"
    assert "npu: this version runs models on the CPU only" in caplog.text


def test_none_that_can_be_had_says_what_there_is(doubles):
    with pytest.raises(DelegateError, match=r"'openvino:gpu'.*available: cpu") as caught:
        edgeml.load(doubles, delegate="openvino:gpu")
    assert caught.value.delegate == "openvino:gpu"


def test_the_cpu_has_no_devices():
    with pytest.raises(DelegateError, match="no devices to choose from"):
        choose("cpu:1")


def test_placement_names_every_node(doubles):
    with edgeml.load(doubles) as session:
        assert session.delegate == "cpu"
        assert [(n.name, n.op, n.delegate) for n in session.placement()] == [
            ("node0", "Mul", "CPUExecutionProvider")
        ]


def test_placement_of_a_runtime_that_does_not_tell(doubles):
    class Old:
        """A session of a release before the runtime told where nodes run."""

    with edgeml.load(doubles) as session:
        session._ort = Old()
        assert [(n.op, n.delegate) for n in session.placement()] == [
            ("Mul", "CPUExecutionProvider")
        ]


def test_placement_of_a_tflite_model():
    with edgeml.load("edgeml:blazeface.tflite") as session:
        ops = {node.op: node.delegate for node in session.placement()}
    assert ops["CONV_2D"] == "cpu"
    assert ops["DELEGATE"] == "xnnpack"


def test_threads_are_at_least_one(doubles):
    with pytest.raises(ValueError, match="at least 1"):
        edgeml.load(doubles, threads=0)
    with edgeml.load(doubles, threads=1) as session:
        assert session.run(np.ones((1, 3), np.float32))["y"].tolist() == [[2, 2, 2]]
