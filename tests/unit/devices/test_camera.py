"""Cameras: arguments, presets, the V4L2 path with a stand-in, listing."""

from __future__ import annotations

import errno
import os
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.devices import Camera, list_cameras
from edgeml.devices._camera import _csi
from edgeml.devices._camera._capture import Capture, FrameCounts
from edgeml.devices._camera._list import CameraInfo, can_capture
from edgeml.devices._camera._pixels import Layout
from edgeml.devices._camera._target import mask, mask_text, parse
from edgeml.devices._camera._v4l2 import V4l2Capture, check_node
from edgeml.errors import DeviceLost, DeviceNotFound
from edgeml.streams import Backoff

cv2 = pytest.importorskip("cv2")


@pytest.mark.parametrize(
    ("device", "kind", "value", "live"),
    [
        (0, "v4l2", "/dev/video0", True),
        ("2", "v4l2", "/dev/video2", True),
        ("/dev/v4l/by-id/usb-cam", "v4l2", "/dev/v4l/by-id/usb-cam", True),
        ("csi:1", "csi", "1", True),
        ("rtsp://cam/1", "url", "rtsp://cam/1", True),
        ("RTSP://Cam/One", "url", "rtsp://Cam/One", True),
        ("http://cam/stream", "url", "http://cam/stream", True),
        ("http://cam/live.m3u8", "url", "http://cam/live.m3u8", True),
        ("https://site/a.mp4?x=1", "url", "https://site/a.mp4?x=1", False),
        ("file:///tmp/a.mp4", "path", "/tmp/a.mp4", False),
        ("file:///tmp/my%20clip.mp4", "path", "/tmp/my clip.mp4", False),
        ("clip.mp4", "path", "clip.mp4", False),
        (Path("pictures"), "path", "pictures", False),
    ],
)
def test_what_a_device_stands_for(device: Any, kind: str, value: str, live: bool) -> None:
    target = parse(device)
    assert (target.kind, target.value, target.live) == (kind, value, live)


def test_shipped_media() -> None:
    assert parse("edgeml:street.mp4").value.endswith("edgeml/media/street.mp4")


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("rtsp://me:pw@host:554/a?b=c", "rtsp://me:***@host:554/a?b=c"),
        ("rtsp://me:p@w:x@host/a", "rtsp://me:***@host/a"),
        ("rtsp://:pw@host/a", "rtsp://:***@host/a"),
        ("rtsp://me@host/a", "rtsp://me@host/a"),
        (
            "http://h/a?user=x&password=y&Access_Token=z",
            "http://h/a?user=x&password=***&Access_Token=***",
        ),
        ("rtsp://me:pw@[broken/a", "rtsp://me:***@[broken/a"),
    ],
)
def test_passwords_are_masked(url: str, masked: str) -> None:
    assert mask(url) == masked
    if "[broken" not in url:
        assert "pw" not in repr(Camera(url))


def test_passwords_in_a_text_are_masked() -> None:
    assert (
        mask_text("open rtsp://a:b@c and http://d:e@f") == "open rtsp://a:***@c and http://d:***@f"
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Camera(-1), "0 or more"),
        (lambda: Camera(""), "empty"),
        (lambda: Camera("rtsp://me:pw@[broken"), r"^rtsp://me:\*\*\*@\[broken is not a URL"),
        (lambda: Camera("csi:front"), "csi:0"),
        (lambda: Camera("a.mp4", size=(0, 4)), "size must be"),
        (lambda: Camera("a.mp4", size=4), "size must be"),
        (lambda: Camera("a.mp4", size=(4, float("inf"))), "size must be"),
        (lambda: Camera("a.mp4", size=(100_000, 4)), "each 1 to 16384"),
        (lambda: Camera("a.mp4", fps=0), "fps must be"),
        (lambda: Camera("a.mp4", pace="fast"), "pace must be"),
        (lambda: Camera("a.mp4", live=True), "addresses on the web"),
        (lambda: Camera("a.mp4", fourcc="MJPG"), "fourcc= means nothing"),
        (lambda: Camera(0, loop=True), "loop= means nothing for /dev/video0"),
        (lambda: Camera(0, fourcc="JPEGS"), "four letters"),
        (lambda: Camera.command("cat x", size=(4, 4)), r"\['cat', 'x'\]"),
        (lambda: Camera.command(["x"], size=(4, 4), pixel_format="p010"), "pixel_format must be"),
        (lambda: Camera.command(["x"], size=(5, 4), pixel_format="yuv420p"), "even sizes"),
        (lambda: Camera.command(["x"], size=(8, 4), stride=8), "a row of bgr24 has 24 bytes"),
    ],
)
def test_wrong_arguments(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_a_device_of_the_wrong_type() -> None:
    with pytest.raises(TypeError, match="received list"):
        Camera([0])  # type: ignore[arg-type]


def test_what_is_live_reconnects() -> None:
    assert Camera(0).reconnect is not None
    assert Camera(0).read_timeout == 10.0
    assert Camera("a.mp4").reconnect is None
    assert Camera("a.mp4").read_timeout is None
    assert Camera("http://h/cam", live=False).reconnect is None


# Presets


def test_rpicam() -> None:
    argv, layout = _csi.command(1, (650, 480), 25, which=lambda name: f"/usr/bin/{name}")
    assert argv == [
        "rpicam-vid",
        "--camera",
        "1",
        "--codec",
        "yuv420",
        "--width",
        "650",
        "--height",
        "480",
        "--framerate",
        "25",
        "--timeout",
        "0",
        "--nopreview",
        "--flush",
        "--output",
        "-",
    ]
    assert layout.stride == 704
    assert layout.nbytes == 704 * 480 * 3 // 2


def test_older_rpicam_and_defaults() -> None:
    argv, layout = _csi.command(0, None, None, which=lambda n: n if "libcamera" in n else None)
    assert argv[0] == "libcamera-vid"
    assert (layout.width, layout.height, layout.stride) == (1280, 720, 1280)


def test_jetson(tmp_path: Path) -> None:
    argv, layout = _csi.command(
        0, (640, 480), 29.97, which=lambda n: n if n.startswith("gst") else None, tegra=tmp_path
    )
    assert " ".join(argv) == (
        "gst-launch-1.0 -q nvarguscamerasrc sensor-id=0 ! "
        "video/x-raw(memory:NVMM),width=640,height=480,framerate=29970/1000 ! "
        "nvvidconv ! video/x-raw,format=BGRx ! fdsink fd=1 sync=false"
    )
    assert layout.nbytes == 640 * 480 * 4


async def test_no_program_for_a_ribbon_cable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceNotFound, match="csi:0 needs rpicam-vid"):
        await anext(Camera("csi:0"))


@pytest.mark.parametrize(
    ("name", "stride"), [("yuv420p", 32), ("nv12", 32), ("bgr24", 64), ("gray8", 32)]
)
def test_padded_rows(name: str, stride: int) -> None:
    size = (20, 8)
    plain, padded = Layout(size, name), Layout(size, name, stride)
    raw = np.random.default_rng(0).integers(16, 235, plain.nbytes).astype(np.uint8)
    rows = {"yuv420p": [20] * 8 + [10] * 8, "nv12": [20] * 12, "bgr24": [60] * 8, "gray8": [20] * 8}
    spread, at = [], 0
    for length in rows[name]:
        wide = stride // 2 if length == 10 else stride
        spread.append(np.pad(raw[at : at + length], (0, wide - length), constant_values=255))
        at += length
    image = padded.to_bgr(np.concatenate(spread))
    np.testing.assert_array_equal(image, plain.to_bgr(raw))
    assert image.shape == (8, 20, 3)
    assert image.flags.c_contiguous


# V4L2


class StandIn:
    """What OpenCV gives for a camera, with `images` frames."""

    def __init__(self, images: int, stamp: float | None = None, opened: bool = True) -> None:
        self.images = images
        self.stamp = stamp
        self.opened = opened
        self.released = 0

    def isOpened(self) -> bool:
        return self.opened

    def read(self) -> tuple[bool, Any]:
        if self.images == 0:
            return False, None
        self.images -= 1
        return True, np.zeros((48, 64, 3), np.uint8)

    def get(self, prop: int) -> float:
        if prop == cv2.CAP_PROP_POS_MSEC:
            return 0.0 if self.stamp is None else time.monotonic() * 1e3 + self.stamp
        return {cv2.CAP_PROP_FRAME_WIDTH: 64, cv2.CAP_PROP_FRAME_HEIGHT: 48}.get(prop, 10.0)

    def release(self) -> None:
        self.released += 1


class UsbCamera(Camera):
    """A camera whose OpenCV is a stand-in."""

    def __init__(self, stand_ins: list[StandIn], **options: Any) -> None:
        super().__init__(0, **options)
        self.stand_ins = stand_ins
        self.asked: list[tuple[str, list[int]]] = []

    def _new_capture(self) -> Capture:
        def opener(path: str, parameters: Any) -> StandIn:
            self.asked.append((path, list(parameters)))
            return self.stand_ins[len(self.asked) - 1]

        return V4l2Capture(
            "/dev/video0",
            self.counts,
            size=self._size,
            fps=self._fps,
            fourcc=self._fourcc,
            opener=opener,
        )


async def test_v4l2_parameters_stamp_and_size(caplog: pytest.LogCaptureFixture) -> None:
    stand_in = StandIn(3, stamp=-25.0)
    async with UsbCamera([stand_in], size=(32, 24), fps=30, fourcc="MJPG") as camera:
        sample = await anext(camera)
    path, parameters = camera.asked[0]
    assert path == "/dev/video0"
    asked = dict(zip(parameters[::2], parameters[1::2], strict=True))
    assert next(iter(asked)) == cv2.CAP_PROP_FOURCC
    assert asked[cv2.CAP_PROP_FOURCC] == cv2.VideoWriter_fourcc(*"MJPG")
    assert asked[cv2.CAP_PROP_FRAME_WIDTH] == 32
    assert asked[cv2.CAP_PROP_FPS] == 30
    assert asked[cv2.CAP_PROP_BUFFERSIZE] == 1
    assert sample.data.shape == (24, 32, 3)
    assert 20e6 < sample.arrived - sample.t < 9e9
    assert "no 32x24; its 64x48 is resized" in caplog.text
    assert "asked for 30 fps, the camera gives 10" in caplog.text
    assert stand_in.released == 1


async def test_v4l2_without_a_usable_stamp() -> None:
    async with UsbCamera([StandIn(1, stamp=1e6)]) as camera:
        sample = await anext(camera)
    assert sample.t == sample.arrived


async def test_v4l2_unplugged_and_back() -> None:
    stand_ins = [StandIn(2), StandIn(2)]
    async with UsbCamera(stand_ins, reconnect=Backoff(initial=0.01)) as camera:
        samples = [await anext(camera) for _ in range(4)]
    assert [bool(s.meta.get("discontinuity")) for s in samples] == [False, False, True, False]
    assert all(s.released == 1 for s in stand_ins)
    with pytest.raises(DeviceLost, match="/dev/video0: the camera stopped or was unplugged"):
        await anext(UsbCamera([StandIn(0)], reconnect=None))


async def test_v4l2_that_is_busy() -> None:
    stand_in = StandIn(0, opened=False)
    with pytest.raises(DeviceNotFound, match="another program uses it"):
        await anext(UsbCamera([stand_in]))
    assert stand_in.released == 1


async def test_no_such_camera() -> None:
    with pytest.raises(DeviceNotFound, match=r"/dev/video97: there is no such camera; found"):
        await anext(Camera(97))


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.EACCES, "usermod -aG video"), (errno.ENOENT, "no such"), (errno.EIO, "cannot be")],
)
def test_why_a_node_cannot_be_opened(number: int, words: str) -> None:
    def refuse(path: str, flags: int) -> int:
        raise OSError(number, os.strerror(number), path)

    with pytest.raises(DeviceNotFound, match=words):
        check_node("/dev/video0", refuse)


def test_a_capture_can_be_stopped_and_closed_before_it_opens() -> None:
    capture = V4l2Capture("/dev/video0", FrameCounts(), size=None, fps=None, fourcc=None)
    capture.stop()
    capture.close()
    capture.close()


# Listing


def test_list_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, (name, index) in {10: ("Cam B", 0), 2: ("Cam A", 0), 3: ("Cam A", 1)}.items():
        node = tmp_path / f"sys/class/video4linux/video{number}"
        node.mkdir(parents=True)
        (node / "name").write_text(f"{name}\n")
        (node / "index").write_text(f"{index}\n")
    (tmp_path / "dev").mkdir()
    for number in (2, 3):
        (tmp_path / f"dev/video{number}").touch()
    tool = tmp_path / "bin/rpicam-hello"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\necho 'Available cameras'\necho '-----'\n"
        "echo '0 : imx708 [4608x2592 10-bit RGGB] (/base/soc/i2c0mux/i2c@1/imx708@1a)'\n"
        "echo '    Modes: ...'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:/bin:/usr/bin")
    cameras = list_cameras(tmp_path)
    assert cameras[0] == CameraInfo("/dev/video2", "Cam A")
    assert (cameras[1].device, cameras[1].usable) == ("/dev/video10", False)
    assert cameras[2].to_dict() == {
        "device": "csi:0",
        "name": "imx708",
        "usable": True,
        "note": "4608x2592 10-bit RGGB",
    }
    assert len(cameras) == 3


def test_list_cameras_of_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list_cameras(tmp_path) == []


@pytest.mark.parametrize(
    ("capabilities", "device_caps", "expected"),
    [
        (0x84A00001, 0x04200001, True),  # a USB camera
        (0x84A00001, 0x04A00000, False),  # its metadata node
        (0x84204000, 0x04204000, False),  # a codec
        (0x00001000, 0, True),  # multi-planar, no capabilities of its own
    ],
)
def test_can_capture(capabilities: int, device_caps: int, expected: bool) -> None:
    answer = struct.pack("=16s32s32sIII12x", b"d", b"c", b"b", 6, capabilities, device_caps)
    assert can_capture(answer) is expected
