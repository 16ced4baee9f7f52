"""Cameras on real files, folders and commands, and the simulated one, by the same checks."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeml.devices import Camera
from edgeml.errors import DeviceLost, DeviceNotFound, DeviceTimeout, MediaError
from edgeml.streams import Backoff
from edgeml.testing._camera import FakeCamera

av = pytest.importorskip("av")
cv2 = pytest.importorskip("cv2")

_spec = importlib.util.spec_from_file_location(
    "conformance", Path(__file__).with_name("conformance.py")
)
conformance = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(conformance)

FRAMES = 20
SOON = Backoff(initial=0.02, maximum=0.05)


def run(*argv: str) -> None:
    subprocess.run(argv, check=True)


def write_video(path: Path, *, pts: list[int] | None = None, codec: str = "libx264") -> Path:
    """Write 96x64 frames, each brighter than the one before; pts in 1/100 s."""
    pts = pts if pts is not None else [n * 4 for n in range(FRAMES)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        for n, at in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 20 + n * 10, np.uint8), "bgr24")
            frame.pts, frame.time_base = at, stream.codec_context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "a:b clip.mp4")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for n in range(12):
        suffix = ("png", "jpg", "bmp", "webp")[n % 4]
        cv2.imwrite(str(folder / f"p{n}.{suffix}"), np.full((32, 48, 3), n * 20, np.uint8))
    return folder


def ffmpeg(*words: str, fmt: str = "bgr24", size: str = "64x48") -> list[str]:
    source = ["-f", "lavfi", "-i", f"testsrc=size={size}:rate=50"]
    return ["ffmpeg", "-v", "error", *source, *words, "-f", "rawvideo", "-pix_fmt", fmt, "-"]


def gst(fmt: str = "BGR", count: int = -1) -> list[str]:
    caps = f"video/x-raw,format={fmt},width=64,height=48,framerate=50/1"
    return [
        *("gst-launch-1.0", "-q", "videotestsrc", f"num-buffers={count}", "is-live=true", "!"),
        *(caps, "!", "fdsink", "fd=1"),
    ]


SOURCES: dict[str, Callable[[Path, Path], Camera]] = {
    "file": lambda video, folder: Camera(video),
    "file-realtime": lambda video, folder: Camera(video, pace="realtime"),
    "folder": lambda video, folder: Camera(folder),
    "folder-paced": lambda video, folder: Camera(folder, fps=200),
    "ffmpeg": lambda video, folder: Camera.command(ffmpeg(), size=(64, 48)),
    "gst": lambda video, folder: Camera.command(gst(), size=(64, 48)),
    "fake": lambda video, folder: FakeCamera(fps=200),
    "fake-recording": lambda video, folder: FakeCamera(50, live=False),
}


@pytest.mark.parametrize("kind", SOURCES)
async def test_conformance(kind: str, video: Path, folder: Path, no_thread_left: None) -> None:
    samples = await conformance.check_source(lambda: SOURCES[kind](video, folder))
    for sample in samples:
        assert sample.data.dtype == np.uint8
        assert sample.data.ndim == 3
        assert sample.data.shape[2] == 3
        assert sample.data.flags.c_contiguous


async def read_all(camera: Camera) -> list[Any]:
    return [sample async for sample in camera]


# Files


async def test_a_file_gives_every_frame_as_opencv_does(video: Path) -> None:
    camera = Camera(video)
    samples = await read_all(camera)
    assert camera.counts.decoded == camera.counts.promised == len(samples) == FRAMES
    assert [s.t - camera.clock.start for s in samples] == [n * 40_000_000 for n in range(FRAMES)]
    reference = cv2.VideoCapture(str(video))
    for sample in samples:
        ok, frame = reference.read()
        assert ok
        np.testing.assert_array_equal(sample.data, frame)
    assert camera.state == "ended"


async def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    pts = [100, 104, 112, 113, 150, 190]
    camera = Camera(write_video(tmp_path / "vfr.mkv", pts=pts))
    times = [s.t - camera.clock.start for s in await read_all(camera)]
    assert times == [(p - 100) * 10_000_000 for p in pts]


async def test_realtime_delivers_when_due(video: Path) -> None:
    camera = Camera(video, pace="realtime")
    assert all(s.arrived >= s.t for s in await read_all(camera))


async def test_size_and_fps_of_a_file(video: Path) -> None:
    camera = Camera(video, size=(30, 20), fps=5)
    samples = await read_all(camera)
    assert [s.t - camera.clock.start for s in samples] == [n * 200_000_000 for n in range(4)]
    assert {s.data.shape for s in samples} == {(20, 30, 3)}
    means = [s.data.mean() for s in samples]
    assert means == pytest.approx([20, 70, 120, 170], abs=4)


async def test_loop_goes_on_in_time(video: Path) -> None:
    samples = []
    async with Camera(video, loop=True) as camera:
        async for sample in camera:
            samples.append(sample)
            if len(samples) == 2 * FRAMES + 1:
                break
    assert {b.t - a.t for a, b in pairwise(samples)} == {40_000_000}
    assert [s.seq for s in samples if s.meta.get("discontinuity")] == [FRAMES, 2 * FRAMES]


@pytest.mark.parametrize("degrees", [90, 180, 270])
async def test_rotation_in_the_header_is_applied(video: Path, tmp_path: Path, degrees: int) -> None:
    clip, turned = tmp_path / "test.mp4", tmp_path / "turned.mp4"
    run("ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=96x64:duration=0.2", str(clip))
    turn = ["ffmpeg", "-v", "error", "-i", str(clip), "-metadata:s:v", f"rotate={degrees}"]
    run(*turn, "-c", "copy", str(turned))
    samples = await read_all(Camera(turned))
    ok, frame = cv2.VideoCapture(str(turned)).read()
    assert ok
    np.testing.assert_array_equal(samples[0].data, frame)
    small = await read_all(Camera(turned, size=(40, 20)))
    assert small[0].data.shape == (20, 40, 3)


async def test_header_promises_more_than_decodes(
    video: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fast = tmp_path / "fast.mp4"
    copy = ["ffmpeg", "-v", "error", "-i", f"file:{video}", "-c", "copy"]
    run(*copy, "-movflags", "+faststart", str(fast))
    with av.open(str(fast)) as container:
        positions = [p.pos for p in container.demux(video=0) if p.size]
    os.truncate(fast, positions[12])
    camera = Camera(fast)
    samples = await read_all(camera)
    assert camera.counts.promised == FRAMES
    assert 0 < len(samples) == camera.counts.decoded < FRAMES
    assert f"promises {FRAMES} frames; {len(samples)} decoded" in caplog.text


async def test_corrupt_packets_are_skipped_and_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", codec="mpeg4")
    content = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    for pos, size in packets[8:10]:
        content[pos : pos + size] = b"\xff" * size
    path.write_bytes(content)
    camera = Camera(path)
    samples = await read_all(camera)
    assert camera.counts.skipped >= 1
    assert len(samples) == camera.counts.decoded <= FRAMES - camera.counts.skipped
    assert len(samples) >= FRAMES - 5


async def test_what_is_not_a_video(video: Path, tmp_path: Path, no_thread_left: None) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.txt").write_text("nothing to see\n" * 100)
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    shutil.copy(video, tmp_path / "cut.mp4")
    os.truncate(tmp_path / "cut.mp4", 200)
    (tmp_path / "folder").mkdir()
    sound = tmp_path / "sound.wav"
    tone = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=duration=0.1"]
    run(*tone, str(sound))
    cases: list[tuple[str, type[Exception], str]] = [
        ("empty.mp4", MediaError, "empty"),
        ("text.txt", MediaError, "expected a video"),
        ("noise.mp4", MediaError, "not a video"),
        ("cut.mp4", MediaError, "cut off"),
        ("sound.wav", MediaError, "no video stream; expected a video, found audio"),
        ("folder", MediaError, "no pictures"),
        ("missing.mp4", DeviceNotFound, "no such file"),
        ("nowhere/missing.mp4", DeviceNotFound, "no folder"),
    ]
    for name, kind, words in cases:
        camera = Camera(tmp_path / name)
        with pytest.raises(kind, match=words) as caught:
            await anext(camera)
        assert str(tmp_path / name) in str(caught.value)
        assert camera.state == "failed"


# Folders


async def test_a_folder_in_natural_order(folder: Path) -> None:
    samples = await read_all(Camera(folder, fps=100, pace=None, size=(24, 16)))
    assert [Path(s.meta["path"]).stem for s in samples] == [f"p{n}" for n in range(12)]
    assert {b.t - a.t for a, b in pairwise(samples)} == {10_000_000}
    assert samples[3].data.shape == (16, 24, 3)


async def test_unreadable_pictures_are_skipped(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(folder / "p4.png", tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG but no more")
    (tmp_path / "none.jpg").touch()
    (tmp_path / "x.jpg").mkdir()
    (tmp_path / "notes.txt").write_text("not a picture")
    camera = Camera(tmp_path)
    assert len(await read_all(camera)) == 1
    assert (camera.counts.decoded, camera.counts.skipped) == (1, 3)
    assert caplog.text.count("left out") == 1


# Commands


@pytest.mark.parametrize(
    ("fmt", "name"),
    [
        *((f, f) for f in ("bgr24", "rgb24", "bgra", "rgba", "yuv420p", "nv12", "yuyv422")),
        ("uyvy422", "uyvy422"),
        ("gray", "gray8"),
    ],
)
async def test_pixel_formats_show_the_same_picture(fmt: str, name: str) -> None:
    argv = ffmpeg("-frames:v", "2", fmt=fmt)
    camera = Camera.command(argv, size=(64, 48), pixel_format=name, live=False, fps=50)
    samples = await read_all(camera)
    expected = await read_all(
        Camera.command(ffmpeg("-frames:v", "2"), size=(64, 48), live=False, fps=50)
    )
    assert [s.t - camera.clock.start for s in samples] == [0, 20_000_000]
    image, reference = samples[1].data, expected[1].data
    if name == "gray8":
        image, reference = (cv2.cvtColor(i, cv2.COLOR_BGR2GRAY) for i in (image, reference))
    difference = np.abs(image.astype(int) - reference.astype(int))
    assert difference.mean() < 8  # subsampled colour; a wrong layout is far beyond that


async def test_gstreamer_command_ends_by_itself() -> None:
    camera = Camera.command(gst("I420", 5), size=(64, 48), pixel_format="I420", live=False)
    assert len(await read_all(camera)) == 5


async def test_the_last_incomplete_frame_is_left_out() -> None:
    argv = ["head", "-c", str(64 * 48 * 3 * 2 + 100), "/dev/zero"]
    camera = Camera.command(argv, size=(64, 48), live=False)
    assert len(await read_all(camera)) == 2
    assert camera.counts.skipped == 1


async def test_a_command_that_fails_says_why() -> None:
    camera = Camera.command(
        ["sh", "-c", "echo no camera at rtsp://me:secret@host >&2; exit 3"], size=(8, 8)
    )
    with pytest.raises(DeviceNotFound, match=r"exit status 3.*no camera at rtsp://me:\*\*\*@host"):
        await anext(camera)
    with pytest.raises(DeviceNotFound, match="no command 'no-such-program'"):
        await anext(Camera.command(["no-such-program"], size=(8, 8)))


async def test_a_live_command_that_ends_is_started_again(no_thread_left: None) -> None:
    argv = ffmpeg("-frames:v", "3")
    async with Camera.command(argv, size=(64, 48), reconnect=SOON) as camera:
        samples = [await anext(camera) for _ in range(7)]
    assert [s.seq for s in samples if s.meta.get("discontinuity")] == [3, 6]
    with pytest.raises(DeviceLost, match="exit status 0 after 3 frames"):
        await read_all(Camera.command(argv, size=(64, 48), reconnect=None))


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def group_members(group: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


async def test_a_hanging_command_is_killed_with_its_children(
    tmp_path: Path, until: Any, no_thread_left: None
) -> None:
    # Gives one frame, ignores SIGTERM, has a child, and hangs.
    script = f"trap '' TERM; echo $$ >> {tmp_path}/pids; head -c 192 /dev/zero; sleep 1000; true"
    camera = Camera.command(["sh", "-c", script], size=(8, 8), reconnect=SOON, read_timeout=0.3)
    before = threading.active_count()
    async with camera:
        for _ in range(3):
            await anext(camera)
            assert threading.active_count() <= before + 1
        pids = [int(p) for p in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 3
    await until(lambda: not any(group_members(p) for p in pids))
    assert not any(exists(pid) for pid in pids)  # no zombies


async def test_a_stopped_process_does_not_hold_the_close(no_thread_left: None) -> None:
    camera = Camera.command(ffmpeg(), size=(64, 48))
    await anext(camera)
    process = camera._current._process
    os.kill(process.pid, signal.SIGSTOP)
    task = asyncio.create_task(read_all(camera))
    await asyncio.sleep(0)
    task.cancel()
    await camera.aclose()
    assert process.returncode == -signal.SIGKILL


# Cameras that fail


async def test_a_camera_that_is_lost_and_returns() -> None:
    states = []
    async with FakeCamera(fps=500, fail_after=4, reconnect=SOON) as camera:
        camera._listener = lambda old, new, reason: states.append(new)
        samples = [await anext(camera) for _ in range(10)]
        camera.unplug()
        camera.plug_in()
    assert [s.seq for s in samples if s.meta.get("discontinuity")] == [4, 8]
    assert states.count("reconnecting") == 2
    gone = FakeCamera()
    gone.unplug()
    with pytest.raises(DeviceNotFound, match="unplugged"):
        await anext(gone)


async def test_a_hanging_driver_costs_one_thread(until: Any, no_thread_left: None) -> None:
    camera = FakeCamera(fps=500, stall_after=2, reconnect=SOON, read_timeout=0.05)
    camera.close_timeout = 0.05
    before = threading.active_count()
    await anext(camera)
    await anext(camera)
    most = 0

    async def go_on() -> Any:
        return await anext(camera)

    waiting = asyncio.create_task(go_on())

    def tried_often() -> bool:
        nonlocal most
        most = max(most, threading.active_count() - before)
        return camera.reconnects >= 10

    await until(tried_often)
    assert most <= 1
    camera.resume()
    sample = await waiting
    assert sample.seq == 2
    assert sample.meta["discontinuity"]
    await camera.aclose()


async def test_a_hanging_driver_without_reconnect_times_out(no_thread_left: None) -> None:
    camera = FakeCamera(stall_after=0, reconnect=None, read_timeout=0.05)
    camera.close_timeout = 0.05
    with pytest.raises(DeviceTimeout):
        await anext(camera)
    camera.resume()
