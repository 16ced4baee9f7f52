from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import edgeml
from edgeml.errors import InputError, ModelError
from edgeml.runtime import TensorSpec


@pytest.fixture
def session(doubles):
    with edgeml.load(doubles, threads=1) as loaded:
        yield loaded


@pytest.fixture
def two_inputs(onnx_file):
    path = onnx_file(
        [("Add", ["a", "b"], ["sum"]), ("Identity", ["a"], ["same"])],
        {"a": ([2], "FLOAT"), "b": ([2], "FLOAT")},
        {"sum": ([2], "FLOAT"), "same": ([2], "FLOAT")},
    )
    with edgeml.load(path, threads=1) as loaded:
        yield loaded


def test_what_a_session_says_of_itself(session, doubles):
    assert session.inputs == (TensorSpec("x", ("N", 3), np.dtype("float32")),)
    assert session.outputs == (TensorSpec("y", ("N", 3), np.dtype("float32")),)
    assert session.path == str(doubles)
    assert repr(session) == f"<Session {str(doubles)!r} on cpu>"
    assert str(session.inputs[0]) == "x: float32 [N, 3]"


def test_one_input_needs_no_name(session):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for inputs in (x, {"x": x}):
        outputs = session.run(inputs)
        assert list(outputs) == ["y"]
        np.testing.assert_array_equal(outputs["y"], 2 * x)


@pytest.mark.parametrize("n", [1, 2, 7, 0])
def test_a_free_dimension_takes_any_size(session, n):
    assert session.run(np.ones((n, 3), np.float32))["y"].shape == (n, 3)


def test_the_outputs_are_the_callers(two_inputs):
    a, b = np.ones(2, np.float32), np.zeros(2, np.float32)
    first = two_inputs.run({"a": a, "b": b})
    assert not any(np.shares_memory(array, a) for array in first.values())
    first["sum"][:] = 9
    assert two_inputs.run({"a": a, "b": b})["sum"].tolist() == [1, 1]


@pytest.mark.parametrize(
    "x",
    [
        np.ones((1, 3)),  # float64
        [[1, 1, 1]],
        [[1.0, 1.0, 1.0]],
        np.ones((3, 1), np.float32).T,
        np.ones((2, 6), np.float32)[:1, ::2],
        memoryview(np.ones((1, 3), np.float32)),
    ],
    ids=["float64", "integers", "floats", "transposed", "strided", "memoryview"],
)
def test_what_becomes_the_models_dtype(session, x):
    assert session.run(x)["y"].tolist() == [[2, 2, 2]]


class Tensor:
    """An array of another library, passed by DLPack."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **options):
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_an_array_of_another_library(session):
    assert session.run(Tensor(np.ones((1, 3), np.float32)))["y"].tolist() == [[2, 2, 2]]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.ones((1, 4), np.float32), r"'x': expected shape \[N, 3\], received \[1, 4\]"),
        (np.ones(3, np.float32), r"'x': expected shape \[N, 3\], received \[3\]"),
        (np.ones((1, 3), np.int32), r"'x': expected dtype float32, received int32"),
        (np.ones((1, 3), np.float16), r"'x': expected dtype float32, received float16"),
        ({"z": np.ones((1, 3), np.float32)}, r"no input 'z'; expected x: float32 \[N, 3\]"),
        ({}, r"input 'x' is missing; expected x: float32 \[N, 3\], received nothing"),
        ("text", r"'x': expected an array of float32, received str"),
        (None, r"'x': expected an array of float32, received NoneType"),
        ([[1, 2], [3]], r"'x': expected an array of float32, received list"),
    ],
    ids=["shape", "rank", "int32", "float16", "name", "missing", "text", "None", "ragged"],
)
def test_inputs_that_do_not_fit_are_refused(session, inputs, message):
    with pytest.raises(InputError, match=message):
        session.run(inputs)


def test_an_error_carries_what_was_expected(session):
    with pytest.raises(InputError) as caught:
        session.run(np.ones((1, 4), np.float32))
    assert (caught.value.name, caught.value.expected, caught.value.received) == (
        "x",
        ("N", 3),
        (1, 4),
    )


def test_several_inputs_need_names(two_inputs):
    with pytest.raises(InputError, match=r"2 inputs \(a: float32 \[2\]; b: float32 \[2\]\)"):
        two_inputs.run(np.ones(2, np.float32))
    with pytest.raises(InputError, match=r"'b' is missing.*received a"):
        two_inputs.run({"a": np.ones(2, np.float32)})


def test_numbers_that_would_change_are_not_integers(onnx_file):
    path = onnx_file([("Identity", ["n"], ["m"])], {"n": ([], "UINT8")}, {"m": ([], "UINT8")})
    with edgeml.load(path) as session:
        assert session.run(200)["m"] == 200
        for wrong in (1.5, 300, -1):
            with pytest.raises(InputError, match="expected"):
                session.run(wrong)


def test_an_input_without_a_shape_takes_any(onnx_file):
    path = onnx_file([("Relu", ["x"], ["y"])], {"x": (None, "FLOAT")}, {"y": (None, "FLOAT")})
    with edgeml.load(path) as session:
        for shape in ((), (2,), (2, 3)):
            assert session.run(np.ones(shape, np.float32))["y"].shape == shape


def test_strings(onnx_file):
    path = onnx_file(
        [("Identity", ["words"], ["same"])],
        {"words": (["N"], "STRING")},
        {"same": (["N"], "STRING")},
    )
    with edgeml.load(path) as session:
        assert session.inputs[0].dtype == object
        for words in (["a", "bc"], np.array(["a", "bc"]), np.array(["a", "bc"], object)):
            assert session.run(words)["same"].tolist() == ["a", "bc"]
        with pytest.raises(InputError, match="expected dtype object, received float64"):
            session.run(np.ones(2))


def test_an_input_with_a_default_may_be_left_out(onnx_file):
    path = onnx_file(
        [("Mul", ["x", "factor"], ["y"])],
        {"x": ([2], "FLOAT"), "factor": ([], "FLOAT")},
        {"y": ([2], "FLOAT")},
        {"factor": np.array(3, np.float32)},
    )
    with edgeml.load(path) as session:
        assert session.run(np.ones(2, np.float32))["y"].tolist() == [3, 3]


def test_a_model_that_fails_while_running_is_an_error_of_ours(onnx_file, capfd):
    path = onnx_file(
        [("MatMul", ["a", "b"], ["y"])],
        {"a": (["N", "M"], "FLOAT"), "b": (["K", "L"], "FLOAT")},
        {"y": (None, "FLOAT")},
    )
    with edgeml.load(path) as session:
        wrong = {"a": np.ones((2, 3), np.float32), "b": np.ones((2, 3), np.float32)}
        with pytest.raises(ModelError, match=r"MatMul.*dimension mismatch") as caught:
            session.run(wrong)
        assert "ONNXRuntimeError" not in str(caught.value)
        with pytest.raises(ModelError, match="MatMul"):
            session.run(wrong, out={"y": np.empty((2, 3), np.float32)})
    assert capfd.readouterr() == ("", "")


def test_out_is_written_into(two_inputs):
    inputs = {"a": np.ones(2, np.float32), "b": np.arange(2, dtype=np.float32)}
    buffer = np.zeros(2, np.float32)
    outputs = two_inputs.run(inputs, out={"sum": buffer})
    assert outputs["sum"] is buffer
    assert buffer.tolist() == [1, 2]
    assert list(outputs) == ["sum", "same"]
    assert outputs["same"].tolist() == [1, 1]
    outputs["same"][:] = 5  # and it is the caller's
    assert inputs["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ({"z": np.zeros(2, np.float32)}, "no output 'z'"),
        ({"sum": np.zeros(2)}, r"out\['sum'\]: expected a writable .* of float32.*float64"),
        ({"sum": np.zeros(4, np.float32)[::2]}, "read-only or strided"),
        ({"sum": np.frombuffer(bytes(8), np.float32)}, "read-only or strided"),
        ({"sum": [0.0, 0.0]}, r"out\['sum'\]: expected a NumPy array of float32.*received list"),
        ({"sum": np.zeros(3, np.float32)}, r"out\['sum'\]: expected shape \[2\], received \[3\]"),
        ({"sum": np.zeros((1, 2), np.float32)}, r"expected shape \[2\], received \[1, 2\]"),
    ],
    ids=["name", "dtype", "strided", "read-only", "list", "shape", "rank"],
)
def test_out_that_does_not_fit_is_refused(two_inputs, out, message):
    with pytest.raises(InputError, match=message):
        two_inputs.run({"a": np.ones(2, np.float32), "b": np.ones(2, np.float32)}, out=out)


@pytest.mark.parametrize("rows", [1, 3])
def test_out_that_does_not_fit_a_free_dimension_is_refused(session, rows, capfd):
    buffer = np.full((rows, 3), 7, np.float32)
    message = rf"out\['y'\]: expected shape \[2, 3\], received \[{rows}, 3\]"
    with pytest.raises(InputError, match=message) as caught:
        session.run(np.ones((2, 3)), out={"y": buffer})
    assert (caught.value.expected, caught.value.received) == ((2, 3), (rows, 3))
    assert (buffer == 7).all()
    assert capfd.readouterr() == ("", "")


def test_out_beside_an_input_of_strings(onnx_file):
    path = onnx_file(
        [("Identity", ["words"], ["same"]), ("Add", ["x", "x"], ["y"])],
        {"words": (["N"], "STRING"), "x": (["N"], "FLOAT")},
        {"same": (["N"], "STRING"), "y": (["N"], "FLOAT")},
    )
    buffer = np.zeros(2, np.float32)
    inputs = {"words": ["a", "b"], "x": [1, 2]}
    with edgeml.load(path) as session:
        outputs = session.run(inputs, out={"y": buffer})
        assert outputs["y"] is buffer
        assert buffer.tolist() == [2, 4]
        assert outputs["same"].tolist() == ["a", "b"]
        with pytest.raises(InputError, match=r"expected shape \[2\], received \[3\]"):
            session.run(inputs, out={"y": np.zeros(3, np.float32)})


def test_calls_from_many_threads(session):
    def call(i: int) -> bool:
        x = np.full((4, 3), i, np.float32)
        return bool(np.all(session.run(x)["y"] == 2 * x))

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(200)))


async def test_run_async_leaves_the_loops_thread(session, monkeypatch):
    ran_in = []
    run = session.run

    def spied(inputs):
        ran_in.append(threading.current_thread())
        return run(inputs)

    monkeypatch.setattr(session, "run", spied)
    xs = [np.full((1, 3), i, np.float32) for i in range(20)]
    outputs = await asyncio.gather(*(session.run_async(x) for x in xs))
    assert [o["y"][0, 0] for o in outputs] == [2 * i for i in range(20)]
    assert threading.main_thread() not in ran_in


async def test_a_cancelled_call_leaves_the_session_usable(session, monkeypatch):
    entered, proceed = threading.Event(), threading.Event()
    run = session.run

    def slow(inputs):
        entered.set()
        assert proceed.wait(10)
        return run(inputs)

    monkeypatch.setattr(session, "run", slow)
    x = np.ones((1, 3), np.float32)
    call = asyncio.create_task(session.run_async(x))
    assert await asyncio.to_thread(entered.wait, 10)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    proceed.set()
    assert (await session.run_async(x))["y"].tolist() == [[2, 2, 2]]


async def test_run_async_raises_what_run_does(session):
    with pytest.raises(InputError, match="no input"):
        await session.run_async({"z": 1})


def test_a_closed_session_says_so(doubles, no_thread_left):
    session = edgeml.load(doubles)
    x = np.ones((1, 3), np.float32)
    assert asyncio.run(session.run_async(x))["y"].shape == (1, 3)
    session.close()
    session.close()
    assert repr(session).endswith("closed>")
    for call in (lambda: session.run(x), session.placement, session.stream):
        with pytest.raises(ModelError, match="the session is closed; load it again"):
            call()
    with pytest.raises(ModelError, match="closed"):
        asyncio.run(session.run_async(x))


def test_closing_while_calls_run(doubles, no_thread_left):
    session = edgeml.load(doubles, threads=1)
    x = np.ones((64, 3), np.float32)
    done = threading.Barrier(5)

    def work() -> str:
        done.wait(10)
        while True:
            try:
                session.run(x)
            except ModelError as error:
                return str(error)

    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(work) for _ in range(4)]
        done.wait(10)
        session.close()
        assert all("the session is closed" in end.result(10) for end in ends)


async def test_load_async(doubles):
    session = await edgeml.load_async(doubles, "cpu", 1)
    with session:
        assert (await session.run_async(np.ones((1, 3))))["y"].tolist() == [[2, 2, 2]]
