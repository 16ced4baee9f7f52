"""Isolated models whose worker crashes, hangs, is killed, or cannot be started."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import numpy as np
import pytest

import edgeml
from edgeml.errors import ModelError, OutputError, WorkerLost, WorkerTimeout
from edgeml.runtime import Isolation, _worker_process
from edgeml.runtime._worker_host import Host
from edgeml.runtime._worker_process import NotSent, Process
from edgeml.testing import FakeAccelerator

DEADLINE = 60.0  # seconds that anything here may take
ONE = np.ones((1, 3), np.float32)


ACTIVITY = "edgeml:activity_watch_int8.onnx"
OWN = "fake:npu"  # a worker of the test's own; "fake" has one that all tests share


@pytest.fixture(scope="module")
def shared():
    """Keep a worker of the CPU and one of an accelerator, so that few have to be started."""
    many = Isolation(restarts=1000)
    with (
        FakeAccelerator() as accelerator,
        edgeml.load(ACTIVITY, "cpu", 1, isolated=many) as cpu,
        edgeml.load(ACTIVITY, "fake", 1, isolated=many) as fake,
    ):
        yield accelerator, [(session, States(session)) for session in (cpu, fake)]


@pytest.fixture
def fake(shared):
    """Return the accelerator when the workers that all tests share are back from the last one."""
    accelerator, sessions = shared
    accelerator.heal()
    for session, states in sessions:
        while session.pid is None:
            states.next()
    return accelerator


class States:
    """What a session tells of its state, one after the other."""

    def __init__(self, session):
        self._queue = queue.SimpleQueue()
        session.on("state", self._queue.put)

    def next(self):
        return self._queue.get(timeout=DEADLINE)

    def until(self, state):
        while (found := self.next()).state != state:
            pass
        return found


def runs(session):
    return session.run(ONE)["y"].tolist() == [[2, 2, 2]]


def stat(pid):
    """Return the fields of a process from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def parent(pid):
    try:
        return int(stat(pid)[1])
    except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        return None


def gone(pid):
    """Wait for the end of a process that may be another's child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    try:
        return bool(poll.poll(DEADLINE * 1000))
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("fault", "deadline", "cause"),
    [
        ("crash", DEADLINE, "by SIGSEGV; its last words: Fatal Python error: Segmentation"),
        ("fail", DEADLINE, "the fake accelerator has gone"),
        ("hang", 1, "no answer within 1 s"),
        ("freeze", 1, "no answer within 1 s"),
    ],
)
def test_the_cpu_answers_until_the_delegate_is_back(doubles, fake, caplog, fault, deadline, cause):
    guard = Isolation(deadline=deadline)
    with (
        caplog.at_level(logging.INFO, "edgeml.runtime"),
        edgeml.load(doubles, "fake", 1, isolated=guard) as session,
    ):
        states = States(session)
        assert runs(session)
        before = session.pid
        fake.fault(fault)
        assert runs(session)  # the very call that the worker did not survive
        away = states.next()
        assert (away.state, away.delegate) == ("fallback", "cpu")
        assert cause in away.cause
        back = states.next()
        assert (back.state, back.delegate, back.cause) == ("running", "fake", "")
        assert session.delegate == "fake"
        assert runs(session)
        assert session.pid not in (before, None)
    assert f"{doubles}: fallback on cpu: " in caplog.text
    assert f"{doubles}: running on fake" in caplog.text


def test_without_fallback_the_call_is_lost_and_the_next_waits(doubles, fake):
    guard = Isolation(deadline=1, fallback=False)
    with edgeml.load(doubles, "fake", 1, isolated=guard) as session:
        fake.fault("abort")
        with pytest.raises(WorkerLost, match="worker fake: it was ended by SIGABRT") as caught:
            runs(session)
        assert caught.value.cause.startswith("it was ended by SIGABRT")
        assert runs(session)
        fake.fault("hang")
        with pytest.raises(WorkerTimeout, match="no answer within 1 s") as late:
            runs(session)
        assert isinstance(late.value, TimeoutError)
        assert runs(session)


def test_the_worker_of_the_cpu_comes_back(doubles, shared):
    with edgeml.load(doubles, "cpu", 1, isolated=True) as session:
        states = States(session)
        os.kill(session.pid, signal.SIGKILL)
        lost = states.next()
        assert (lost.state, lost.delegate) == ("lost", "cpu")
        assert lost.cause == "it was ended by SIGKILL"
        assert runs(session)
        assert states.next().state == "running"


def test_all_sessions_of_a_worker_come_back(doubles, fake):
    with (
        edgeml.load(doubles, "fake", 1, isolated=True) as one,
        edgeml.load(ACTIVITY, "fake", 1, isolated=True) as other,
    ):
        assert one.pid == other.pid
        states = [States(one), States(other)]
        os.kill(one.pid, signal.SIGKILL)
        assert [s.until("running").delegate for s in states] == ["fake", "fake"]
        assert one.pid == other.pid
        assert runs(one)


def test_a_worker_that_dies_opening_a_file_is_told_and_does_not_harm_us(doubles, fake, caplog):
    fake.fault("open-crash")
    with pytest.raises(WorkerLost, match="worker fake:npu: it was ended by SIGSEGV"):
        edgeml.load(doubles, OWN, 1, isolated=True)
    fake.fault("open-crash")
    with edgeml.load(doubles, f"{OWN},cpu", 1, isolated=True) as session:
        assert session.delegate == "cpu"
        assert runs(session)
    assert "delegate fake:npu: worker fake:npu: it was ended by SIGSEGV" in caplog.text


class Deadly:
    """A model that ends each worker that opens it."""

    opened = 0

    def sit(self, process):
        self.opened += 1
        process.kill("it is deadly")
        raise WorkerLost("it is deadly")

    def lost(self, process, cause):
        """Know that the process is gone."""

    rest = lost


def test_a_model_that_ends_each_worker_does_not_keep_others_away(doubles, fake):
    with edgeml.load(doubles, OWN, 1, isolated=Isolation(within=3600)) as session:
        states, deadly = States(session), Deadly()
        host = Host.join(deadly, OWN, Isolation())
        os.kill(session.pid, signal.SIGKILL)
        assert states.until("running").delegate == "fake:npu"
        while session.pid is None or host.process(DEADLINE).pid != session.pid:
            states.until("running")  # it may have sat beside the deadly one before
        assert runs(session)
        host.leave(deadly)
    assert deadly.opened == 2


@pytest.mark.parametrize("executable", ["", "/no/python"])
def test_a_worker_that_cannot_be_started_says_why(doubles, shared, monkeypatch, executable):
    monkeypatch.setattr(sys, "executable", executable)
    why = "no Python to start it with|No such file or directory"
    with pytest.raises(WorkerLost, match=f"worker fake:npu: it cannot be started: .*({why})"):
        edgeml.load(doubles, OWN, 1, isolated=True)
    monkeypatch.undo()
    with edgeml.load(doubles, OWN, 1, isolated=True) as session:
        assert runs(session)


def test_a_spent_budget_leaves_the_cpu(doubles, fake):
    guard = Isolation(restarts=2, within=3600)
    with edgeml.load(doubles, OWN, 1, isolated=guard) as session:
        states = States(session)
        fake.fault("open-crash", times=None)
        os.kill(session.pid, signal.SIGKILL)
        assert states.next().cause == "it was ended by SIGKILL"
        spent = states.next()
        assert spent.state == "fallback"
        assert "all 2 restarts within 3600 s are spent; the next is in 3" in spent.cause
        assert runs(session)
        assert session.pid is None


def test_a_spent_budget_without_fallback_is_an_error(doubles, fake):
    guard = Isolation(restarts=1, within=3600, fallback=False)
    with edgeml.load(doubles, OWN, 1, isolated=guard) as session:
        fake.fault("open-crash", times=None)
        states = States(session)
        os.kill(session.pid, signal.SIGKILL)
        assert states.next().state == "lost"
        with pytest.raises(WorkerLost, match="all 1 restarts within 3600 s are spent"):
            runs(session)
        with pytest.raises(WorkerLost, match="all 1 restarts within 3600 s are spent"):
            edgeml.load(doubles, OWN, 1, isolated=guard)


def test_a_model_that_cannot_be_opened_for_some_time_returns(doubles, fake, caplog):
    with edgeml.load(doubles, "fake", 1, isolated=True) as session:
        states = States(session)
        fake.fault("open", times=2)
        os.kill(session.pid, signal.SIGKILL)
        assert states.until("running").delegate == "fake"
        assert runs(session)
    assert caplog.text.count("the fake accelerator does not open models now") == 2


def test_a_file_that_has_changed_is_not_opened_again(doubles, fake, caplog):
    with edgeml.load(doubles, "fake", 1, isolated=True) as session:
        states = States(session)
        shutil.copy(doubles, other := doubles.with_suffix(".new"))
        os.replace(other, doubles)
        fake.fault("crash")
        with pytest.raises(ModelError, match="the file has changed; load it again"):
            runs(session)
        assert states.next().state == "fallback"


def test_outputs_that_are_not_finite(doubles, fake):
    with edgeml.load(doubles, "fake", 1, isolated=Isolation(finite=True)) as session:
        states = States(session)
        fake.fault("nan")
        assert runs(session)
        assert states.next().cause == "fake returned NaN or infinity in 'y', where the CPU does not"
        assert states.next().state == "running"
        infinite = session.run(ONE * np.float32(np.inf))["y"]  # the CPU's, too
        assert np.isinf(infinite).all()
        assert session.delegate == "fake"
    with edgeml.load(doubles, "fake", 1, isolated=Isolation(finite=True, fallback=False)) as alone:
        fake.fault("nan")
        with pytest.raises(OutputError, match="fake returned NaN or infinity in 'y'"):
            runs(alone)
        assert runs(alone)


def test_closing_waits_for_a_call_that_hangs(doubles, fake):
    session = edgeml.load(doubles, "fake", 1, isolated=Isolation(deadline=1, fallback=False))
    fake.fault("hang")
    told = threading.Event()
    session.on("state", lambda state: told.set())
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(runs, session)
        while not hangs.running() or fake.left():
            pass
        session.close()
        assert isinstance(hangs.exception(DEADLINE), WorkerTimeout)
    with pytest.raises(ModelError, match="the session is closed"):
        runs(session)


def test_a_listener_that_raises_does_not_stop_the_restart(doubles, fake, caplog):
    with edgeml.load(doubles, "fake", 1, isolated=True) as session:
        listener = session.on("state", lambda state: 1 / 0)
        states = States(session)
        fake.fault("crash")
        assert runs(session)
        assert states.until("running")
        session.off("state", listener)
    assert "a listener of 'state' raised" in caplog.text


# --- streams ---


def test_the_state_of_an_onnx_stream_outlives_its_worker(onnx_file, fake):
    path = onnx_file(
        [("Add", ["x", "state"], ["total"]), ("Identity", ["total"], ["stateN"])],
        {"x": ([1, 2], "FLOAT"), "state": ([1, 2], "FLOAT")},
        {"total": ([1, 2], "FLOAT"), "stateN": ([1, 2], "FLOAT")},
    )
    x = np.ones((1, 2), np.float32)
    with edgeml.load(path, "fake", 1, isolated=True) as session, session.stream() as stream:
        found = [stream.run(x)["total"].tolist() for _ in range(2)]
        fake.fault("crash")
        found += [stream.run(x)["total"].tolist() for _ in range(3)]
    assert found == [[[n, n]] for n in range(1, 6)]


def test_a_tflite_stream_begins_anew_and_says_so(shared, caplog):
    steps = np.random.default_rng(0).integers(-128, -100, (60, 1, 3, 40), dtype=np.int8)
    with (
        edgeml.load("edgeml:okay_nabu.tflite", "cpu", 1, isolated=True) as session,
        session.stream() as stream,
    ):
        name = session.outputs[0].name
        first = [stream.run(step)[name].item() for step in steps]
        states = States(session)
        os.kill(session.pid, signal.SIGKILL)
        assert states.next().state == "lost"
        assert [stream.run(step)[name].item() for step in steps] == first
    assert caplog.text.count("a stream begins anew: its state went with a worker") == 1


# --- nothing is left ---


def descriptors():
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # that of the folder itself
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found


def mapped():
    """Return how many memories this process shares."""
    return Path("/proc/self/maps").read_text().count("memfd:edgeml")


def children():
    return sorted(
        pid for pid in os.listdir("/proc") if pid.isdigit() and parent(pid) == os.getpid()
    )


def test_nothing_is_left_after_kills_and_close(doubles, fake, no_thread_left):
    files, processes, shared = descriptors(), children(), mapped()
    big = np.ones((50000, 3), np.float32)
    with edgeml.load(doubles, OWN, 1, isolated=True) as session:
        states = States(session)
        for _ in range(3):
            fake.fault("crash")
            assert session.run(big)["y"].shape == big.shape
            states.until("running")
            with ThreadPoolExecutor(3) as pool:
                assert all(pool.map(runs, [session] * 6))
        assert len(children()) <= len(processes) + 2
    assert children() == processes
    # The CPU's worker, which stays, may have got one more lane; of each kill there were three.
    assert len(descriptors()) <= len(files) + 1
    assert mapped() <= shared + 2


def test_a_call_that_cannot_be_sent_knows_why(monkeypatch, no_thread_left):
    monkeypatch.setattr(_worker_process, "_END_TIME", DEADLINE)
    process = Process("of the test", lambda process: None)

    def cause():
        with pytest.raises(NotSent):
            process.call({"op": "close"}, {}, DEADLINE, dict)
        return process.cause

    with pytest.raises(ModelError, match="KeyError"):
        process.call({"op": "unload", "model": 0}, {}, DEADLINE, dict)
    said = os.open(f"/proc/{process.pid}/fd/1", os.O_WRONLY)  # its last words may still come
    os.kill(process.pid, signal.SIGKILL)
    assert gone(process.pid)
    with ThreadPoolExecutor(1) as pool:
        found = pool.submit(cause)
        wait([found], 0.1)  # one that does not wait for them is done
        os.close(said)
        assert found.result(DEADLINE) == "it was ended by SIGKILL"


def test_an_error_that_is_kept_keeps_no_memory(no_thread_left):
    before, process = mapped(), Process("of the test", lambda process: None)
    big = {"x": np.ones(1 << 20, np.uint8)}
    with pytest.raises(ModelError, match="KeyError"):
        process.call({"op": "run", "model": 0}, big, DEADLINE, dict)
    os.kill(process.pid, signal.SIGSTOP)
    while stat(process.pid)[0] != "T":
        pass
    with pytest.raises(WorkerTimeout) as caught:
        process.call({"op": "run", "model": 0}, big, 0.1, dict)
    assert process.ended.wait(DEADLINE)
    assert mapped() == before
    assert caught.value.__context__ is not None  # whose traceback holds the call's frames


def test_a_session_that_nobody_holds_frees_its_worker(doubles, fake, no_thread_left):
    session = edgeml.load(doubles, OWN, 1, isolated=True)
    assert runs(session)
    pid = session.pid
    del session
    gc.collect()
    assert gone(pid)


def test_a_worker_inherits_nothing(doubles, fake, tmp_path):
    with open(tmp_path / "secret", "w") as file:
        os.set_inheritable(file.fileno(), True)
        with edgeml.load(doubles, OWN, 1, isolated=True) as session:
            assert runs(session)
            held = [os.readlink(path) for path in Path(f"/proc/{session.pid}/fd").iterdir()]
    assert not any("secret" in name for name in held)
    assert len(held) < 16, held


PROGRAM = """
import os, signal, sys
import numpy as np, edgeml
from edgeml.testing import FakeAccelerator
with FakeAccelerator() as fake:
    session = edgeml.load(sys.argv[1], "fake", 1, isolated=True)
    session.on("state", lambda state: os._exit(1))
    print(session.pid, fake._folder, flush=True)
    if sys.argv[2] == "freeze":
        fake.fault("freeze")
        session.run(np.ones((1, 3), np.float32))
    signal.pause()
"""


@pytest.mark.parametrize("how", ["idle", "freeze"])
def test_a_worker_ends_with_its_program(doubles, how):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(doubles), how], stdout=subprocess.PIPE, text=True
    )
    with program:
        pid, folder = program.stdout.readline().split()
        try:
            if how == "freeze":  # the worker is stopped: only the kernel can still end it
                while stat(pid)[0] != "T":
                    pass
        finally:
            program.kill()
    shutil.rmtree(folder)
    assert gone(int(pid))
