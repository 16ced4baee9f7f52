from __future__ import annotations

import itertools
import json
import logging
import math
from types import SimpleNamespace

import numpy as np
import pytest

import edgeml
from edgeml.cli import main
from edgeml.errors import DelegateError, ModelError
from edgeml.runtime import Availability, Backend, Delegate, Reason, available, measure
from edgeml.runtime._agreement import disagreement
from edgeml.runtime._availability import AVAILABLE
from edgeml.runtime._measure import _Candidate, _is_sure, _time

SPEED = {"cpu": 2.0, "toaster": 1.0, "xnnpack": 1.0}


class Toaster(Backend):
    """A delegate of others, whose outputs are right: the CPU by another name."""

    name = "toaster"
    provider = "CPUExecutionProvider"
    devices = {"slot": "npu"}  # noqa: RUF012
    options = {"crust": ("thin", "thick")}  # noqa: RUF012
    factor = 2.0
    status = AVAILABLE

    def available(self, device=None):
        return self.status

    def attach(self, options, delegate, threads):
        import onnxruntime

        value = onnxruntime.OrtValue.ortvalue_from_numpy(np.array(self.factor, np.float32))
        options.add_initializer("two", value)
        self.kept = value  # the session does not hold it
        return [self.provider]

    def versions(self):
        return {"toaster": "1.0"}


class Wrong(Toaster):
    factor = 2.01


class Broken(Toaster):
    factor = np.nan


@pytest.fixture
def toaster(monkeypatch):
    """Return what installs a toaster, made anew for each model unless it is an object."""

    def install(loads):
        made = loads() if isinstance(loads, type) else loads
        entry = SimpleNamespace(name="toaster", value="toaster_edgeml:T", load=lambda: made)
        monkeypatch.setattr(
            "edgeml.runtime._delegates.metadata.entry_points",
            lambda group, name="toaster": [entry] if name == "toaster" else [],
        )
        return made

    return install


@pytest.fixture
def timed(monkeypatch):
    """Give each delegate its time, whatever the machine does; return the list of what was timed."""
    seen = []
    elsewhere = Availability(Reason.NOT_INSTALLED, "not for these tests")
    for name in ("_openvino.OpenVINO", "_qnn.QNN", "_cuda.CUDA"):
        monkeypatch.setattr(f"edgeml.runtime._delegates.{name}.available", lambda *_: elsewhere)

    def time(candidates, inputs, seconds):
        for candidate in candidates:
            name = candidate.row["delegate"].name
            seen.append(name)
            candidate.rounds, candidate.calls = [SPEED[name]] * 3, 9

    monkeypatch.setattr("edgeml.runtime._measure._time", time)
    return seen


def rows(measurement):
    return {row.delegate.name: row for row in measurement.rows}


def test_the_fastest_wins_and_auto_takes_it(doubles, toaster, timed, cache):
    toaster(Toaster)
    with edgeml.load(doubles) as session:
        assert session.delegate == "cpu"  # nothing was measured yet
    assert not cache.exists()
    found = measure(doubles)
    assert found.winner == Delegate("toaster", "slot")
    assert found.remembered
    right = rows(found)["toaster"]
    assert (right.problem, right.error, right.median_ms) == (None, 0.0, 1.0)
    assert right.load_ms > 0
    with edgeml.load(doubles) as session:
        assert session.delegate == "toaster:slot"
        assert session.run(np.ones((1, 3), np.float32))["y"].tolist() == [[2, 2, 2]]
    with edgeml.load(doubles, threads=1) as session:
        assert session.delegate == "cpu"  # another number of threads is another race


@pytest.mark.parametrize(
    ("kind", "why"),
    [(Wrong, "is off by 0.005 of the CPU's; 0.001 is allowed"), (Broken, "has NaN")],
)
def test_one_whose_outputs_are_off_never_wins(doubles, toaster, timed, kind, why):
    toaster(kind)
    found = measure(doubles)
    assert found.winner.name == "cpu"
    assert why in rows(found)["toaster"].problem
    assert timed == ["cpu"]
    with edgeml.load(doubles) as session:
        assert session.delegate == "cpu"
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_lower_precision_may_be_less_exact(doubles, toaster, timed):
    class Half(Wrong):
        def precision(self, delegate):
            return "fp16"

    toaster(Half)
    assert measure(doubles).winner.name == "toaster"


def test_a_simulator_is_checked_and_never_wins(doubles, toaster, timed):
    class Simulator(Toaster):
        status = Availability(Reason.SIMULATED, "no real toaster")

    toaster(Simulator)
    assert "toaster" not in rows(measure(doubles))
    found = measure(doubles, "toaster")
    assert found.winner.name == "cpu"
    assert found.rows[1].error == 0.0
    assert "a simulator" in found.rows[1].problem
    assert timed == ["cpu", "cpu"]


def test_what_cannot_be_had_is_a_row_with_the_reason(doubles, toaster, timed):
    class Unplugged(Toaster):
        status = Availability(Reason.NO_DEVICE, "it is not plugged in")

    toaster(Unplugged)
    found = measure(doubles, "toaster,tosater")
    assert [row.problem for row in found.rows][1] == "it is not plugged in"
    assert "did you mean toaster?" in found.rows[2].problem


@pytest.mark.parametrize(
    "wrong", [{"threads": 0}, {"threads": 40_000}, {"seconds": 0}, {"seconds": math.nan}], ids=str
)
def test_what_would_never_end_is_refused(doubles, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
        measure(doubles, **wrong)


def test_what_fails_to_open_is_a_row_with_the_reason(doubles, toaster, timed):
    class Burnt(Toaster):
        def attach(self, options, delegate, threads):
            raise RuntimeError("the heating element is gone")

    toaster(Burnt)
    assert "the heating element is gone" in rows(measure(doubles))["toaster"].problem
    with pytest.raises(DelegateError, match="no option 'crumb'"):
        measure(doubles, Delegate("toaster", crumb=1))


def test_the_winners_options_are_remembered(doubles, toaster, timed):
    toaster(Toaster)
    measure(doubles, [Delegate("toaster", crust="thin")])
    with edgeml.load(doubles) as session:
        assert session._used.options == {"crust": "thin"}


def test_a_winner_is_forgotten_when_a_version_changes(doubles, toaster, timed, caplog):
    made = toaster(Toaster)
    measure(doubles)
    made.versions = lambda: {"toaster": "2.0"}
    with caplog.at_level(logging.INFO, "edgeml.runtime"), edgeml.load(doubles) as session:
        assert session.delegate == "cpu"
    assert "measured with other versions than now" in caplog.text


def test_a_winner_is_forgotten_on_another_device(doubles, toaster, timed, monkeypatch):
    toaster(Toaster)
    measure(doubles)
    monkeypatch.setattr("edgeml.runtime._winners.cpu_name", lambda: "Pentium 90")
    with edgeml.load(doubles) as session:
        assert session.delegate == "cpu"


def test_a_winner_is_forgotten_when_the_weights_beside_the_model_change(
    tmp_path, onnx_file, toaster, timed
):
    import onnx

    file = onnx_file(
        [("Mul", ["x", "two"], ["y"])],
        {"x": (["N", 3], "FLOAT")},
        {"y": (["N", 3], "FLOAT")},
        {"two": np.full((1, 3), 2, np.float32)},
    )
    model = onnx.load(file)
    onnx.save(model, file, save_as_external_data=True, location="w.bin", size_threshold=0)

    class Plain(Toaster):
        def attach(self, options, delegate, threads):
            return [self.provider]

    toaster(Plain)
    measure(file)
    with edgeml.load(file) as session:
        assert session.delegate == "toaster:slot"
    (tmp_path / "w.bin").write_bytes(np.full((1, 3), 3, np.float32).tobytes() + b"\0")
    with edgeml.load(file) as session:
        assert session.delegate == "cpu"


def test_a_winner_whose_device_has_gone_falls_back_to_the_cpu(doubles, toaster, timed, caplog):
    made = toaster(Toaster)
    measure(doubles)
    made.status = Availability(Reason.NO_DEVICE, "it was unplugged")
    with edgeml.load(doubles) as session:
        assert session.delegate == "cpu"
    assert "toaster:slot: it was unplugged" in caplog.text


@pytest.mark.parametrize("text", ["", "[]", '{"winner": 3}', '{"winner": {"name": 4}}'])
def test_a_damaged_memory_is_said_and_ignored(doubles, toaster, timed, cache, caplog, text):
    toaster(Toaster)
    measure(doubles)
    (file,) = (cache / "delegates").iterdir()
    file.write_text(text)
    with edgeml.load(doubles) as session:
        assert session.delegate == "cpu"
    assert "measure again" in caplog.text


def test_a_cache_that_cannot_be_written_is_said(doubles, toaster, timed, cache, caplog):
    toaster(Toaster)
    cache.write_text("a file where the folder should be")
    assert not measure(doubles).remembered
    assert "cannot be remembered" in caplog.text


def test_a_cache_that_may_not_be_read_is_an_empty_one(cache, no_rights):
    model = "edgeml:activity_watch_int8.onnx"
    cache.mkdir()
    edgeml.load(model).close()
    no_rights()  # such as that of another user's home folder
    with edgeml.load(model) as session:
        assert session.delegate == "cpu"


def test_measure_as_a_delegate(doubles, toaster, timed, caplog):
    toaster(Toaster)
    with edgeml.load(doubles, delegate="measure") as session:
        assert session.delegate == "toaster:slot"
    with edgeml.load(doubles, delegate="auto") as session:
        assert session.delegate == "toaster:slot"


def test_measure_is_for_files(doubles):
    import onnx

    from edgeml.graph._execute import open_session

    with pytest.raises(DelegateError, match=r"only edgeml\.load can measure"):
        open_session(onnx.load(doubles), delegate="measure")


def test_a_moment_that_slows_all_down_decides_nothing(doubles, toaster, monkeypatch):
    toaster(Toaster)

    def time(candidates, inputs, seconds):
        for candidate, rounds in zip(candidates, [[2, 2, 9, 9, 9], [3, 3, 8, 8, 8]], strict=True):
            candidate.rounds, candidate.calls = [r * 1.0 for r in rounds], 5

    monkeypatch.setattr("edgeml.runtime._measure._time", time)
    found = measure(doubles, "toaster")
    assert found.winner.name == "toaster"
    assert found.rows[1].speedup == pytest.approx(9 / 8)


def test_one_that_fails_while_it_is_timed_is_a_row_with_the_reason(doubles, toaster):
    toaster(Toaster)
    calls = []

    class Unplugged:
        """A session of a device that goes away after a while."""

        def __init__(self, session):
            self._session = session

        def __getattr__(self, name):
            return getattr(self._session, name)

        def run(self, *args):
            calls.append(args)
            if len(calls) > 30:
                kind = type("EPFail", (Exception,), {"__module__": "onnxruntime.capi.state"})
                raise kind("[ONNXRuntimeError] : 11 : EP_FAIL : the toaster does not answer")
            return self._session.run(*args)

    def load(file, delegate, threads):
        session = edgeml.load(file, delegate, threads)
        if session.delegate == "toaster":
            session._ort = Unplugged(session._ort)
        return session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeml.runtime._load.load", load)
        found = measure(doubles, "toaster", seconds=0.05)
    assert found.winner.name == "cpu"
    problem = rows(found)["toaster"].problem
    assert "failed while it was timed" in problem
    assert "the toaster does not answer" in problem
    assert "put cpu behind the delegate" in problem


@pytest.mark.parametrize(
    ("first", "second", "sure"),
    [
        ([1.0] * 20, [1.2] * 20, True),
        ([1.0] * 20, [1.01] * 20, True),  # whichever wins, it costs nothing
        ([1.0] * 20, [0.8, 1.25] * 10, False),
        ([1.0] * 4, [1.2, 1.2, 1.2, 0.9], False),
        ([1.0] * 20 + [9.0], [1.2] * 20 + [1.2], True),  # one busy moment
    ],
)
def test_timing_ends_when_no_other_can_be_much_faster(first, second, sure):
    racing = [_Candidate({}, None, None, rounds) for rounds in (first, second)]
    assert _is_sure(racing) is sure


def test_timing_goes_on_while_two_are_close(monkeypatch):
    now = [0.0]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("edgeml.runtime._measure.time", clock)

    def turn(candidate, inputs, reference):
        now[0] += 0.02
        candidate.rounds.append(next(candidate.call))

    monkeypatch.setattr("edgeml.runtime._measure._turn", turn)

    def spent(noise):
        now[0] = 0.0
        racing = [
            _Candidate({"problem": None}, None, itertools.cycle(times))
            for times in ([1.0, 1.0], [1.1 - noise, 1.1 + noise])
        ]
        _time(racing, None, 1.0)
        return now[0]

    assert spent(0.0) == pytest.approx(1.0, abs=0.05)
    assert spent(0.3) == pytest.approx(4.0, abs=0.05)


def test_real_times_on_the_cpu(doubles):
    found = measure(doubles, "cpu", seconds=0.05)
    (row,) = found.rows
    assert row.median_ms > 0
    assert row.spread_ms[0] <= row.median_ms <= row.spread_ms[1]
    assert row.calls >= 11


def test_a_tflite_model_against_plain_kernels():
    found = measure("edgeml:blazeface.tflite", seconds=0.05)
    reference, fast = found.rows
    assert reference.delegate.options == {"xnnpack": False}
    assert fast.delegate.name == "xnnpack"
    assert fast.error < fast.tolerance
    assert found.winner.name == "xnnpack"


def test_a_model_that_keeps_its_state_itself(timed):
    assert rows(measure("edgeml:okay_nabu.tflite"))["xnnpack"].error == 0


def test_a_model_that_does_not_run_says_so():
    with pytest.raises(ModelError, match="free dimensions of input, state were 1: give inputs="):
        measure("edgeml:silero_vad.onnx", "cpu", seconds=0.05)
    inputs = {
        "input": np.zeros((1, 576), np.float32),
        "state": np.zeros((2, 1, 128), np.float32),
        "sr": np.array(16000),
    }
    assert measure("edgeml:silero_vad.onnx", "cpu", seconds=0.05, inputs=inputs).rows[0].calls


def test_openvino_is_measured():
    if not (found := available("openvino")):
        pytest.skip(str(found))
    found = measure("edgeml:activity_watch_int8.onnx", "openvino", seconds=0.1)
    assert found.rows[1].problem is None
    assert found.rows[1].error < found.rows[1].tolerance


# --- how far outputs are apart ---


def apart(expected, received):
    return disagreement([{"y": np.asarray(expected)}], [{"y": np.asarray(received)}])


def test_disagreement_is_relative():
    assert apart([1.0, 2.0], [1.0, 2.0])[0] == 0
    error, output = apart([3.0, -4.0], [3.03, -4.04])
    assert error == pytest.approx(0.01)
    assert output == "y"


def test_one_value_that_is_far_off_among_many_is_found():
    expected = np.ones(10000)
    received = expected.copy()
    received[7] = 2.0
    assert apart(expected, received)[0] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("expected", "received"),
    [([1.0], [np.nan]), ([1.0], [np.inf]), ([np.nan], [1.0]), ([0.0], [1e-9]), ([1.0], [1.0, 1.0])],
)
def test_disagreement_without_measure_is_infinite(expected, received):
    assert apart(expected, received)[0] == np.inf


def test_indices_count_by_how_many_are_others():
    assert apart([1, 2, 3, 4], [1, 2, 3, 5])[0] == 0.25
    assert apart([True, False], [True, True])[0] == 0.5
    assert apart(np.array([200], np.uint8), np.array([198], np.uint8))[0] == pytest.approx(0.01)


# --- the command ---


def test_the_command_prints_a_table(doubles, toaster, timed, capsys):
    toaster(Wrong)
    assert main(["bench", str(doubles), "--delegates", "--shape", "x=2,3"]) == 0
    text = capsys.readouterr().out
    assert "DELEGATE" in text
    assert "toaster:slot: output 'y' is off by" in text
    assert text.endswith(
        "the fastest whose outputs are right: cpu; delegate=auto takes it from now on\n"
    )


def test_the_command_prints_json(doubles, toaster, timed, capsys):
    toaster(Toaster)
    assert main(["bench", str(doubles), "--delegates", "toaster", "--threads", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["type"], report["schema"], report["threads"]) == ("bench-delegates", 1, 1)
    assert report["winner"]["name"] == "toaster"
    assert [row["median_ms"] for row in report["rows"]] == [2.0, 1.0]
    assert main(["bench", str(doubles), "--delegates", "--threads", "1,2"]) == 1
    assert "one count together with --delegates" in capsys.readouterr().err
