"""A download that is killed leaves nothing that a later load could take for the model."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import edgeml

DEADLINE = 30.0  # seconds


class Server(ThreadingHTTPServer):
    """Sends the first half of the model, then waits until it may send the rest."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.half = len(content) // 2
        self.go_on = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/model.onnx"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        self.send_response(200)
        self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        try:
            self.wfile.write(server.content[: server.half])
            self.wfile.flush()
            if server.go_on.wait(DEADLINE):
                self.wfile.write(server.content[server.half :])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client was killed

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server(onnx_file):
    # Several megabytes, as the client reads by the megabyte: part of it is in its file.
    weights = np.random.default_rng(0).normal(size=1 << 20).astype(np.float32)
    path = onnx_file(
        [("Add", ["x", "w"], ["y"])], {"x": ([1], "FLOAT")}, {"y": ([1 << 20], "FLOAT")},
        {"w": weights},
    )  # fmt: skip
    server = Server(path.read_bytes())
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


def start(server, sha256):
    script = "import sys, edgeml; edgeml.load(sys.argv[1], sha256=sys.argv[2]).close()"
    return subprocess.Popen(
        [sys.executable, "-c", script, server.url, sha256],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ,  # with the test's EDGEML_CACHE_DIR
    )


def wait_until(condition, process):
    end = time.monotonic() + DEADLINE
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_download_that_is_killed_leaves_no_model(server, cache):
    sha256 = hashlib.sha256(server.content).hexdigest()
    folder = cache / "models"

    def some_is_written():
        return any(file.stat().st_size for file in folder.glob(".part-*"))

    with start(server, sha256) as process:
        wait_until(some_is_written, process)
        process.send_signal(signal.SIGKILL)
        assert process.wait(DEADLINE) == -signal.SIGKILL
    assert [file.name for file in folder.iterdir() if not file.name.startswith(".part-")] == []

    server.go_on.set()
    with edgeml.load(server.url, sha256=sha256) as session:
        assert session.run(np.zeros(1))["y"].shape == (1 << 20,)


def test_two_that_fetch_the_same_model_at_once(server, cache):
    sha256 = hashlib.sha256(server.content).hexdigest()
    with start(server, sha256) as one, start(server, sha256) as other:
        wait_until(lambda: len(list((cache / "models").glob(".part-*"))) == 2, one)
        server.go_on.set()
        for process in (one, other):
            said, _ = process.communicate(timeout=DEADLINE)
            assert process.returncode == 0, said
    (file,) = (cache / "models").iterdir()
    assert hashlib.sha256(file.read_bytes()).hexdigest() == sha256


def test_the_next_download_removes_parts_that_are_a_day_old(server, cache):
    folder = cache / "models"
    folder.mkdir(parents=True)
    old, young = folder / ".part-old", folder / ".part-young"
    for part in (old, young):
        part.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 24 * 3600
    os.utime(old, (two_days_ago, two_days_ago))
    server.go_on.set()
    edgeml.load(server.url, sha256=hashlib.sha256(server.content).hexdigest()).close()
    assert (old.exists(), young.exists()) == (False, True)
