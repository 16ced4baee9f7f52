"""Isolated models: what the worker process returns is what this process would."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

import edgeml
from edgeml.errors import DelegateError, InputError, ModelError, ModelFormatError, ModelNotFound
from edgeml.runtime import Delegate, IsolatedSession, Isolation

ACTIVITY = "edgeml:activity_watch_int8.onnx"
MOTION = np.random.default_rng(0).normal(size=(1, 100, 6)).astype(np.float32)

KINDS = {
    "u": ("UINT8", np.uint8),
    "f": ("FLOAT", np.float32),
    "h": ("FLOAT16", np.float16),
    "d": ("DOUBLE", np.float64),
    "i": ("INT64", np.int64),
    "b": ("BOOL", np.bool_),
    "s": ("STRING", object),
}


def values(shape):
    """Return an array of each kind."""
    numbers = np.random.default_rng(1).integers(0, 200, shape)
    made = {name: numbers.astype(dtype) for name, (_, dtype) in KINDS.items() if name != "s"}
    strings = np.array([f"ü{n}" for n in numbers.reshape(-1)], object).reshape(shape)
    return {**made, "s": strings}


@pytest.fixture(scope="module")
def anchor():
    """Keep a worker of the CPU, so that each test does not start one of its own."""
    with edgeml.load(ACTIVITY, "cpu", threads=1, isolated=True) as session:
        yield session


@pytest.fixture
def every_kind(onnx_file, anchor):
    """Return a session whose outputs are its inputs, one of each dtype."""
    path = onnx_file(
        [("Identity", [name], [f"{name}_same"]) for name in KINDS],
        {name: (["N", "M"], dtype) for name, (dtype, _) in KINDS.items()},
        {f"{name}_same": (["N", "M"], dtype) for name, (dtype, _) in KINDS.items()},
    )
    with edgeml.load(path, "cpu", threads=1, isolated=True) as session:
        yield session


def test_every_dtype_and_shape_goes_there_and_back(every_kind):
    for shape in ((1, 3), (0, 2), (300, 400), (7, 1)):  # (300, 400) needs more memory
        given = values(shape)
        outputs = every_kind.run(given)
        assert list(outputs) == [f"{name}_same" for name in KINDS]
        for name, array in given.items():
            received = outputs[f"{name}_same"]
            assert received.dtype == array.dtype
            np.testing.assert_array_equal(received, array)


@pytest.fixture(scope="module")
def several(tmp_path_factory, anchor):
    """Return sessions of one worker: doubles, joins (which fails for some), strings."""
    texts = {
        "doubles": "(float[N,M] x) => (float[N,M] y) { y = Add (x, x) }",
        "joins": "(float[N,M] x) => (float[N,K] y) <float[2,4] e = {1, 2, 3, 4, 5, 6, 7, 8}>"
        " { y = Concat <axis = 1> (x, e) }",
        "strings": "(string[N,M] x) => (string[N,M] y) { y = Identity (x) }",
    }
    folder = tmp_path_factory.mktemp("several")
    with contextlib.ExitStack() as stack:
        found = {}
        for name, text in texts.items():
            path = folder / f"{name}.onnx"
            onnx.save(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> g {text}'),
                      path)  # fmt: skip
            found[name] = stack.enter_context(edgeml.load(path, "cpu", 1, isolated=True))
        yield found


CALLS = st.lists(
    st.tuples(
        st.sampled_from(["doubles", "joins", "strings"]),
        st.sampled_from([(2, 3), (2, 3), (3, 2), (0, 3), (1, 6), (200, 300)]),
        st.integers(0, 99),
    ),
    max_size=30,
)


@given(calls=CALLS)
def test_calls_in_any_order_get_their_own_answers(several, calls):
    """Calls that repeat are told briefly, whatever was between them."""
    for name, shape, start in calls:
        x = np.arange(start, start + np.prod(shape, dtype=int)).reshape(shape)
        if name == "strings":
            x = np.array([str(n) for n in x.reshape(-1)], object).reshape(shape)
            expected = x
        else:
            x = x.astype(np.float32)
            expected = x + x
        if name == "joins" and not x.size:  # the runtime joins nothing to anything
            continue
        if name == "joins" and len(x) != 2:
            with pytest.raises(ModelError, match="Concat"):
                several[name].run(x)
            continue
        if name == "joins":
            expected = np.hstack([x, np.arange(1, 9, dtype=np.float32).reshape(2, 4)])
        np.testing.assert_array_equal(several[name].run(x)["y"], expected)


def test_the_outputs_are_the_callers(every_kind):
    first = every_kind.run(values((2, 2)))
    kept = {name: array.copy() for name, array in first.items()}
    every_kind.run({name: np.roll(array, 1) for name, array in values((2, 2)).items()})
    for name, array in first.items():
        np.testing.assert_array_equal(array, kept[name])
        assert array.flags.writeable


def test_strided_inputs_and_outputs_to_write_into(every_kind):
    given = values((4, 6))
    given["f"] = given["f"][:, ::2]
    out = np.empty((4, 3), np.float32)
    outputs = every_kind.run(given, out={"f_same": out})
    assert outputs["f_same"] is out
    np.testing.assert_array_equal(out, given["f"])
    with pytest.raises(InputError, match=r"out\['f_same'\]: expected shape \[4, 3\]"):
        every_kind.run(given, out={"f_same": np.empty((4, 4), np.float32)})


def test_the_models_are_those_of_this_process(anchor):
    with edgeml.load(ACTIVITY, "cpu", threads=1) as here:
        assert (anchor.inputs, anchor.outputs) == (here.inputs, here.outputs)
        assert anchor.metadata == here.metadata
        assert anchor.path == here.path
        assert anchor.delegate == here.delegate == "cpu"
        expected = here.run(MOTION)["probabilities"]
        np.testing.assert_array_equal(anchor.run(MOTION)["probabilities"], expected)
        assert [n.name for n in anchor.placement()] == [n.name for n in here.placement()]
    profiled = anchor.placement(profile=True, inputs=MOTION)
    assert sum(node.share for node in profiled) == pytest.approx(1)
    assert "run on the CPU" in profiled.advice


def test_maps_and_sequences_come_back(tmp_path, anchor):
    node = helper.make_node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_int64s=[3, 5])
    kind = helper.make_sequence_type_proto(
        helper.make_map_type_proto(
            onnx.TensorProto.INT64, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
        )
    )
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("p", onnx.TensorProto.FLOAT, ["N", 2])],
        [helper.make_value_info("m", kind)],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    path = tmp_path / "map.onnx"
    made = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path.write_bytes(made.SerializeToString())
    with edgeml.load(path, "cpu", isolated=True) as session:
        outputs = session.run(np.array([[0.25, 0.75]], np.float32))
    assert outputs == {"m": [{3: 0.25, 5: 0.75}]}


# --- streams ---


def test_a_stream_of_an_onnx_model_keeps_its_state(anchor):
    sound = np.random.default_rng(2).normal(size=(6, 1, 576)).astype(np.float32) / 10
    found = []
    for isolated in (False, True):
        with (
            edgeml.load("edgeml:silero_vad.onnx", "cpu", threads=1, isolated=isolated) as session,
            session.stream(constants={"sr": 16000}) as stream,
        ):
            found.append([float(stream.run(part)["output"][0, 0]) for part in sound])
            stream.reset()
            assert float(stream.run(sound[0])["output"][0, 0]) == found[-1][0]
    assert found[0] == found[1]


def test_a_stream_of_a_tflite_model_has_its_state_in_the_worker(anchor):
    steps = np.random.default_rng(3).integers(-128, -100, (60, 1, 3, 40), dtype=np.int8)
    found = []
    for isolated in (False, True):
        with edgeml.load("edgeml:okay_nabu.tflite", "cpu", 1, isolated=isolated) as session:
            name = session.outputs[0].name
            with session.stream() as stream, session.stream() as other:
                other.run(steps[0])
                found.append([stream.run(step)[name].item() for step in steps])
                stream.reset()
                assert [stream.run(step)[name].item() for step in steps] == found[-1]
    assert found[0] == found[1]
    assert len(set(found[0])) > 1


def test_a_model_without_state_has_no_stream(anchor):
    with pytest.raises(ModelError, match="a stream needs the model's state"):
        anchor.stream()
    with (
        edgeml.load("edgeml:blazeface.tflite", "cpu", 1, isolated=True) as session,
        pytest.raises(ModelError, match="has no state; use run"),
    ):
        session.stream()


# --- several callers ---


def test_calls_from_many_threads_get_their_own_answers(every_kind):
    def double(n):
        given = values((n % 5 + 1, 3))
        given["i"] = np.full((2, 2), n, np.int64)
        return every_kind.run(given)["i_same"].tolist()

    with ThreadPoolExecutor(12) as pool:  # more than there are lanes
        answers = list(pool.map(double, range(60)))
    assert answers == [[[n, n], [n, n]] for n in range(60)]


async def gathered(session, n):
    return await asyncio.gather(*(session.run_async(MOTION * i) for i in range(n)))


def test_calls_from_a_loop(anchor):
    with edgeml.load(ACTIVITY, "cpu", threads=1) as here:
        expected = [here.run(MOTION * i)["probabilities"] for i in range(8)]
    for one, other in zip(asyncio.run(gathered(anchor, 8)), expected, strict=True):
        np.testing.assert_array_equal(one["probabilities"], other)


def test_loading_from_a_loop(anchor):
    async def load_and_run():
        session = await edgeml.load_async(ACTIVITY, "cpu", threads=1, isolated=True)
        with session:
            return session.pid, (await session.run_async(MOTION))["probabilities"].shape

    assert asyncio.run(load_and_run()) == (anchor.pid, (1, 7))


def test_all_sessions_of_a_delegate_share_a_worker(anchor, doubles):
    with edgeml.load(doubles, "cpu", threads=1, isolated=True) as other:
        assert isinstance(other, IsolatedSession)
        assert other.pid == anchor.pid
        assert other.pid != os.getpid()
        assert other.run(np.ones((1, 3), np.float32))["y"].tolist() == [[2, 2, 2]]
    with pytest.raises(ModelError, match="the session is closed"):
        other.run(np.ones((1, 3), np.float32))
    assert anchor.run(MOTION)["probabilities"].shape == (1, 7)


# --- errors ---


def test_errors_are_those_of_this_process(anchor, tmp_path):
    with pytest.raises(InputError, match=r"expected shape \[batch, 100, 6\]"):
        anchor.run(np.zeros((1, 6), np.float32))
    with pytest.raises(InputError, match="expected dtype float32, received int64"):
        anchor.run(np.zeros((1, 100, 6), np.int64))
    with pytest.raises(ModelNotFound):
        edgeml.load(tmp_path / "none.onnx", isolated=True)
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"\x08\x09 this is no model")
    with pytest.raises(ModelFormatError, match=r"broken\.onnx") as caught:
        edgeml.load(broken, isolated=True)
    assert caught.value.path == str(broken)


def test_an_error_of_the_model_does_not_end_the_worker(onnx_file, anchor):
    path = onnx_file(
        [("Reshape", ["x", "shape"], ["y"])],
        {"x": (["N"], "FLOAT"), "shape": ([2], "INT64")},
        {"y": (["A", "B"], "FLOAT")},
    )
    with edgeml.load(path, "cpu", isolated=True) as session:
        x = np.zeros(6, np.float32)
        with pytest.raises(ModelError, match="Reshape"):
            session.run({"x": x, "shape": np.array([4, 2])})
        assert session.run({"x": x, "shape": np.array([3, 2])})["y"].shape == (3, 2)
        assert session.pid == anchor.pid


def test_too_many_inputs_are_an_error_on_either_side(onnx_file, anchor):
    names = [f"{'long' * 40}{i}" for i in range(500)]
    taken = {name: ([1], "FLOAT") for name in names}
    one = {"x": ([1], "FLOAT")}
    x = np.ones(1, np.float32)
    many_in = onnx_file([("Sum", names, ["x"])], taken, one, name="in.onnx")
    many_out = onnx_file(
        [("Identity", ["x"], [name]) for name in names], one, taken, name="out.onnx"
    )
    for path, inputs in ((many_in, dict.fromkeys(names, x)), (many_out, {"x": x})):
        with (
            edgeml.load(path, "cpu", 1, isolated=True) as session,
            pytest.raises(ModelError, match="so many inputs or outputs cannot be isolated"),
        ):
            session.run(inputs)
    assert anchor.pid is not None


def test_a_call_after_one_that_failed_with_new_memory_is_right(onnx_file, anchor):
    names = [f"{'long' * 40}{i}" for i in range(500)]
    path = onnx_file(
        [("Identity", ["x"], [name]) for name in names],
        {"x": (["N"], "FLOAT")},
        {name: (["N"], "FLOAT") for name in names},
    )
    with edgeml.load(path, "cpu", 1, isolated=True) as many:
        expected = [anchor.run(MOTION)["probabilities"] for _ in range(2)][1]
        with pytest.raises(ModelError, match="so many inputs or outputs"):
            many.run(np.ones(1000, np.float32))  # memory was made for it, and it was not sent
        np.testing.assert_array_equal(anchor.run(MOTION)["probabilities"], expected)


def test_strings_are_all_that_objects_may_be(every_kind):
    given = values((1, 1))
    given["s"] = np.array([[object()]], object)
    with pytest.raises(InputError, match="input 's': expected strings, received other objects"):
        every_kind.run(given)
    assert every_kind.run(values((1, 1)))["s_same"].shape == (1, 1)


def test_what_the_worker_logs_is_logged_here(anchor, doubles, caplog):
    with (
        caplog.at_level(logging.WARNING, "edgeml.runtime"),
        edgeml.load(doubles, "opnvino,cpu", isolated=True) as session,
    ):
        assert session.delegate == "cpu"
    assert "did you mean openvino?" in caplog.text


def test_none_that_can_be_had_says_why_of_each(doubles):
    with pytest.raises(DelegateError, match=r"no delegate of 'tosater,opnvino'") as caught:
        edgeml.load(doubles, "tosater,opnvino", isolated=True)
    assert caught.value.delegate == "tosater,opnvino"


def test_what_cannot_be_isolated_is_refused(doubles):
    with pytest.raises(DelegateError, match='delegate "measure" opens all delegates in this'):
        edgeml.load(doubles, "measure", isolated=True)
    with pytest.raises(DelegateError, match="its options cannot be sent to a worker"):
        edgeml.load(doubles, Delegate("cpu", dims={"N": object()}), isolated=True)


def test_other_systems_than_linux_are_refused(doubles, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(DelegateError, match="isolated= is for Linux, and this is darwin"):
        edgeml.load(doubles, isolated=True)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "1"])
@pytest.mark.parametrize("name", ["deadline", "load_deadline", "restarts", "within"])
def test_the_guards_are_numbers_that_can_be_waited_for(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a .*; received {value!r}"):
        Isolation(**{name: value})


def test_the_longest_deadline(doubles, anchor):
    longest = Isolation(deadline=1e9, load_deadline=1e9, within=1e9)
    with edgeml.load(doubles, "cpu", 1, isolated=longest) as session:
        assert session.run(np.ones((1, 3), np.float32))["y"].tolist() == [[2, 2, 2]]


def test_isolated_is_a_guard(doubles):
    with pytest.raises(TypeError, match="True, False or an Isolation; received 'yes'"):
        edgeml.load(doubles, "cpu", isolated="yes")


def test_there_is_one_event(anchor):
    for method in (anchor.on, anchor.off):
        with pytest.raises(ValueError, match="no event 'stat'; expected state"):
            method("stat", print)


def test_a_forked_process_needs_workers_of_its_own(anchor):
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        child = os.fork()
    if child == 0:
        try:
            anchor.run(MOTION)
        except ModelError as error:
            os.write(writing, f"{error}\n".encode())
            anchor.close()  # must not end the parent's worker
            with edgeml.load(ACTIVITY, "cpu", threads=1, isolated=True) as own:
                os.write(writing, f"{own.run(MOTION)['probabilities'].shape}".encode())
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as told:
        refused, ran = told.read().splitlines()
    assert "a forked process cannot use its parent's" in refused
    assert ran == "(1, 7)"
    assert anchor.run(MOTION)["probabilities"].shape == (1, 7)


def test_closing_waits_for_calls_that_run(doubles, anchor):
    session = edgeml.load(doubles, "cpu", threads=1, isolated=True)
    started = threading.Barrier(5)
    x = np.ones((20000, 3), np.float32)

    def run_until_closed():
        started.wait()
        while True:
            assert session.run(x)["y"][0, 0] == 2

    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(run_until_closed) for _ in range(4)]
        started.wait()
        session.run(x)
        session.close()
        for run in runs:
            with pytest.raises(ModelError, match="the session is closed"):
                run.result()
    session.close()


class Interrupted:
    """A condition at which Ctrl-C comes when it is entered for the second time."""

    def __init__(self, condition):
        self._condition, self._entered = condition, 0

    def __getattr__(self, name):
        return getattr(self._condition, name)

    def __enter__(self):
        self._entered += 1
        if self._entered == 2:
            raise KeyboardInterrupt
        return self._condition.__enter__()

    def __exit__(self, *exc_info):
        return self._condition.__exit__(*exc_info)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a socket's end
@pytest.mark.parametrize("where", ["host", "process"])
def test_a_call_that_ends_by_ctrl_c_is_not_waited_for(doubles, anchor, monkeypatch, where):
    session = edgeml.load(doubles, "cpu", threads=1, isolated=True)
    owner, name = {
        "host": (session._seat._host, "changed"),
        "process": (session._seat._remote.process, "_changed"),
    }[where]
    lanes = session._seat._remote.process._lanes
    before = len(lanes)
    x = np.ones((1, 3), np.float32)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, Interrupted(getattr(owner, name)))
        with pytest.raises(KeyboardInterrupt):
            session.run(x)
    gc.collect()
    assert len(lanes) == before - (where == "process")
    assert session.run(x)["y"].tolist() == [[2, 2, 2]]
    with ThreadPoolExecutor(1) as pool:
        pool.submit(session.close).result(60)
