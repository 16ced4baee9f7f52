"""Cameras over RTSP and HTTP, from real servers on 127.0.0.1."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.server
import logging
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.devices import Camera
from edgeml.errors import DeviceLost, DeviceNotFound, DeviceTimeout, MediaError
from edgeml.streams import Backoff

pytest.importorskip("av")
cv2 = pytest.importorskip("cv2")

SYSTEM_PYTHON = "/usr/bin/python3"
SOON = Backoff(initial=0.1, maximum=0.3)


@contextlib.contextmanager
def rtsp_server(port: int, login: str = "") -> Iterator[subprocess.Popen[bytes]]:
    script = Path(__file__).with_name("rtsp_server.py")
    words = [SYSTEM_PYTHON, str(script), str(port), *([login] if login else [])]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield server
    finally:
        server.kill()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


@pytest.fixture(scope="module")
def gstreamer() -> None:
    code = "import gi; gi.require_version('GstRtspServer', '1.0')"
    if (
        not os.path.exists(SYSTEM_PYTHON)
        or subprocess.run([SYSTEM_PYTHON, "-c", code], check=False, capture_output=True).returncode
    ):
        pytest.skip("needs Debian's gir1.2-gst-rtsp-server-1.0 and python3-gi")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files, an MJPEG stream at /mjpeg, and silence at /silence."""

    def do_GET(self) -> None:
        if self.path.startswith("/mjpeg"):
            self.stream()
        elif self.path == "/silence":
            self.server.closing.wait()  # type: ignore[attr-defined]
        else:
            super().do_GET()

    def stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        ok, jpeg = cv2.imencode(".jpg", np.full((48, 64, 3), 90, np.uint8))
        assert ok
        part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        with contextlib.suppress(ConnectionError):
            for _ in range(60):
                self.wfile.write(part + jpeg.tobytes() + b"\r\n")
                if self.server.closing.wait(0.01):  # type: ignore[attr-defined]
                    return

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    handler = functools.partial(Handler, directory=str(tmp_path))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = False
    server.closing = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.closing.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


async def take(camera: Camera, count: int) -> list[Any]:
    return [await anext(camera) for _ in range(count)]


async def test_rtsp_server_dies_and_returns(
    gstreamer: None, until: Any, free_port: Any, no_thread_left: None
) -> None:
    port = free_port()
    camera = Camera(f"rtsp://127.0.0.1:{port}/cam", reconnect=SOON, read_timeout=5)
    assert camera.live
    states: list[str] = []
    camera._listener = lambda old, new, reason: states.append(new)
    before = threading.active_count()
    with rtsp_server(port):
        samples = await take(camera, 5)
    assert samples[0].data.shape == (120, 160, 3)
    waiting = asyncio.create_task(read_until_discontinuity(camera))
    await until(lambda: camera.reconnects >= 3)
    assert camera.state in ("reconnecting", "connecting")
    assert threading.active_count() <= before + 1
    with rtsp_server(port):
        async with asyncio.timeout(30):
            back = await waiting
        assert back.meta["discontinuity"]
        assert back.seq > samples[-1].seq
        after = await take(camera, 5)
        assert not any(s.meta.get("discontinuity") for s in after)
        assert camera.state == "flowing"
        assert threading.active_count() <= before + 1
        await camera.aclose()
    assert states[0] == "connecting"
    assert "reconnecting" in states


async def read_until_discontinuity(camera: Camera) -> Any:
    async for sample in camera:
        if sample.meta.get("discontinuity"):
            return sample
    raise AssertionError("the camera ended")


async def test_the_password_is_shown_nowhere(
    gstreamer: None, free_port: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    port = free_port()
    with rtsp_server(port, "me:s3cret"):
        async with Camera(f"rtsp://me:s3cret@127.0.0.1:{port}/cam") as camera:
            assert (await anext(camera)).data.shape == (120, 160, 3)
            assert "s3cret" not in repr(camera) + camera.device
        wrong = Camera(f"rtsp://me:wr0ng@127.0.0.1:{port}/cam")
        with pytest.raises(DeviceNotFound, match="refuses the user and password") as refused:
            await anext(wrong)
        with pytest.raises(DeviceNotFound, match="404"):
            await anext(Camera(f"rtsp://me:s3cret@127.0.0.1:{port}/none"))
    with pytest.raises(DeviceNotFound, match="Connection refused"):
        await anext(Camera(f"rtsp://me:s3cret@127.0.0.1:{port}/cam"))
    error: BaseException | None = refused.value
    while error is not None:
        assert "wr0ng" not in str(error)
        error = error.__cause__ or error.__context__
    assert "s3cret" not in caplog.text
    assert "wr0ng" not in caplog.text


async def test_a_file_on_a_web_server(web: str, tmp_path: Path, no_thread_left: None) -> None:
    clip = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25"]
    run(*clip, "-frames:v", "12", str(tmp_path / "clip.mp4"))
    camera = Camera(f"http://{web}/clip.mp4")
    assert not camera.live
    samples = [s async for s in camera]
    assert [s.t - camera.clock.start for s in samples] == [n * 40_000_000 for n in range(12)]
    with pytest.raises(DeviceNotFound, match="404"):
        await anext(Camera(f"http://{web}/none.mp4"))
    (tmp_path / "page.mp4").write_text("<html>moved</html>" * 50)
    with pytest.raises(MediaError, match="not a video"):
        await anext(Camera(f"http://{web}/page.mp4"))


def run(*argv: str) -> None:
    subprocess.run(argv, check=True)


async def test_mjpeg_over_http(web: str, no_thread_left: None) -> None:
    async with Camera(f"http://{web}/mjpeg?token=abc", reconnect=None) as camera:
        assert camera.live
        assert camera.device.endswith("token=***")
        samples = await take(camera, 5)
        assert samples[0].data.shape == (48, 64, 3)
        assert abs(int(samples[0].data[0, 0, 0]) - 90) <= 2
        assert all(s.t == s.arrived for s in samples)
        with pytest.raises(DeviceLost, match=r"the stream (ended|broke off)"):
            await take(camera, 100)


async def test_a_server_that_says_nothing_times_out(no_thread_left: None, web: str) -> None:
    camera = Camera(f"http://{web}/silence", reconnect=None, open_timeout=0.3)
    with pytest.raises(DeviceTimeout):
        await anext(camera)
