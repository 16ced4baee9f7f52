"""GPS on a real gpsd and on a serial line."""

import asyncio
import os
import shutil
import subprocess
import sys
import tty

import pytest

from edgeml.devices import GPS
from edgeml.errors import DeviceLost
from edgeml.streams import Backoff

pytest.importorskip("pynmea2", reason="pynmea2 is not installed")
pytest.importorskip("serial", reason="pyserial is not installed")
QUICK = Backoff(initial=0.05, maximum=0.2)


def sentence(body):
    checksum = 0
    for character in body:
        checksum ^= ord(character)
    return f"${body}*{checksum:02X}\r\n".encode()


def moment(i):
    """A walk to the east, one second a step."""
    where = f"4807.038,N,011{31 + i * 0.01:06.3f},E"
    time = f"1235{i % 60:02d}.00"
    return (
        sentence(f"GPRMC,{time},A,{where},002.0,090.0,230326,,")
        + sentence(f"GPGGA,{time},{where},1,08,0.9,545.4,M,46.9,M,,")
        + sentence("GPGSA,A,3,04,05,09,12,,,,,,,,,2.5,1.3,2.1")
    )


@pytest.fixture
def gpsd(tmp_path, free_port):
    for program in ("gpsfake", "gpsd"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt install gpsd gpsd-clients)")
    log = tmp_path / "walk.nmea"
    log.write_bytes(b"".join(moment(i) for i in range(50)))
    port, running = free_port(), []

    def start():
        command = ["gpsfake", "-q", "-c", "0.02", "-P", str(port), str(log)]
        running.append(
            subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    def stop():
        process = running.pop()
        os.killpg(process.pid, 15)
        process.wait(10)

    start.port, start.stop = port, stop
    start()
    yield start
    while running:
        stop()


async def test_gpsd_gives_fixes_dies_and_returns(gpsd, until, no_thread_left):
    gps = GPS(f"gpsd://127.0.0.1:{gpsd.port}", reconnect=QUICK)
    async with gps:
        async for sample in gps:
            fix = sample.data
            if fix.mode == "3d" and fix.time is not None and fix.speed:
                break
        assert fix.lat == pytest.approx(48.1173)
        assert 11.5166 < fix.lon < 11.53
        assert fix.alt == pytest.approx(545.4)
        assert fix.speed == pytest.approx(2 * 1852 / 3600, abs=0.01)
        assert fix.course == pytest.approx(90)
        assert (fix.time.year, fix.time.hour, fix.time.minute) == (2026, 12, 35)
        gpsd.stop()
        waiting = asyncio.ensure_future(_next_new(gps))
        await until(lambda: gps.state == "reconnecting")
        gpsd()
        assert (await waiting).data.mode in ("none", "2d", "3d")


async def _next_new(source):
    async for sample in source:
        if sample.meta.get("discontinuity"):
            return sample
    return None


async def test_no_gpsd_says_how_to_get_one(free_port):
    with pytest.raises(DeviceLost, match=r"no gpsd answers at 127\.0\.0\.1:.*apt install gpsd"):
        await anext(GPS(f"gpsd://127.0.0.1:{free_port()}", reconnect=None))


class Receiver:
    """A serial line with a receiver at its other end."""

    def __init__(self, path):
        self.path = path
        self.plug_in()

    def plug_in(self):
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        os.close(slave)

    def unplug(self):
        os.close(self.master)

    def say(self, data):
        os.write(self.master, data)


async def test_a_serial_receiver_comes_back_after_it_was_unplugged(tmp_path, until, no_thread_left):
    receiver = Receiver(tmp_path / "ttyGPS")
    gps = GPS(tmp_path / "ttyGPS", reconnect=QUICK)
    async with gps:
        pending = asyncio.ensure_future(anext(gps))
        await until(lambda: gps._workers is not None and gps._handles)
        receiver.say(moment(0)[-20:] + moment(1) + b"$GPRMC,noise*00\r\n" + moment(2))
        fix = (await pending).data
        assert (fix.time.second, fix.mode, fix.satellites) == (1, "3d", 8)
        assert (await anext(gps)).data.time.second == 2
        assert gps.dropped == {"bad-sentence": 1}
        pending = asyncio.ensure_future(anext(gps))
        receiver.unplug()
        await until(lambda: gps.state == "reconnecting")
        receiver.plug_in()
        # "connecting" once the new line is open, before its first fix
        await until(lambda: gps.state == "connecting" and gps._handles)
        receiver.say(moment(3) + moment(4))
        sample = await pending
        assert sample.meta["discontinuity"]
        assert sample.data.time.second in (3, 4)
    receiver.unplug()


async def test_a_silent_receiver_is_a_time_out(tmp_path, no_thread_left):
    receiver = Receiver(tmp_path / "ttyGPS")
    gps = GPS(tmp_path / "ttyGPS", reconnect=None, read_timeout=0.3)
    with pytest.raises(TimeoutError, match=r"gps did not \w+ within 0\.3 s"):
        await anext(gps)
    receiver.unplug()


async def test_a_socat_line(tmp_path, until):
    if shutil.which("socat") is None:
        pytest.skip("socat is not installed (apt install socat)")
    ends = [f"pty,raw,echo=0,link={tmp_path / name}" for name in ("here", "there")]
    process = await asyncio.create_subprocess_exec("socat", *ends)
    try:
        await until(lambda: (tmp_path / "here").exists() and (tmp_path / "there").exists())
        gps = GPS(tmp_path / "here", baud=4800)
        async with gps:
            pending = asyncio.ensure_future(anext(gps))
            await until(lambda: gps._workers is not None and gps._handles)
            (tmp_path / "there").write_bytes(moment(7) + moment(8))
            assert (await pending).data.time.second in (7, 8)
    finally:
        process.terminate()
        await process.wait()


def test_the_program_ends_while_a_receiver_is_silent(tmp_path):
    """A thread that waits for a sentence doesn't keep the interpreter alive."""
    receiver = Receiver(tmp_path / "ttyGPS")
    program = (
        "import asyncio, edgeml.devices as d\n"
        "async def main():\n"
        "    async with d.GPS(__import__('sys').argv[1]) as gps:\n"
        "        task = asyncio.ensure_future(anext(gps))\n"
        "        await asyncio.sleep(0.3)\n"
        "        task.cancel()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, str(receiver.path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert (run.returncode, run.stderr) == (0, "")
    receiver.unplug()
