"""CSVReplay: times, bad rows, bad files."""

import math

import numpy as np
import pytest

from edgeml.devices import CSVReplay
from edgeml.errors import DeviceNotFound, MediaError


async def collect(replay, n=None):
    samples = []
    async with replay:
        async for sample in replay:
            samples.append(sample)
            if len(samples) == n:
                break
    return samples


def write(tmp_path, text):
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="utf-8")
    return path


async def test_times_come_from_the_time_column(tmp_path):
    rows = "".join(f"{100 + i * 0.02:.2f},{i},{-i}\n" for i in range(500))
    replay = CSVReplay(write(tmp_path, "t,x,y\n" + rows), units={"x": "m/s²"})
    samples = await collect(replay)
    assert len(samples) == 500
    assert samples[0].t == replay.clock.start
    assert samples[499].t - samples[0].t == pytest.approx(499 * 0.02e9, abs=2)
    assert np.asarray(samples[7].data).tolist() == [7, -7]
    assert samples[7].data.units == {"x": "m/s²", "y": ""}
    assert [s.seq for s in samples] == list(range(500))


async def test_iso_times_a_byte_order_mark_and_chosen_columns(tmp_path):
    path = write(
        tmp_path,
        "\ufeffwhen,a,b,note\n2026-01-02T03:04:05Z,1,2,hello\n2026-01-02T03:04:05.5Z,3,4,x\n",
    )
    samples = await collect(CSVReplay(path, time="when", columns=["b", "a"]))
    assert [list(s.data.items()) for s in samples] == [[("b", 2), ("a", 1)], [("b", 4), ("a", 3)]]
    assert samples[1].t - samples[0].t == 500_000_000


async def test_bad_rows_are_counted_and_the_others_stay(tmp_path):
    path = write(
        tmp_path, "t,x\n0,1\n1,nan\n2,\n3\nfour,4\n5,inf\n6,abc\n4.0,7\n7,8\n6.5,9\n1e300,0\n8,10\n"
    )
    replay = CSVReplay(path)
    pipeline = replay | (lambda sample: sample)
    samples = [sample async for sample in pipeline]
    assert [s.data.x for s in samples] == [1, 7, 8, 10]
    assert replay.dropped == {"garbage": 7, "time-backwards": 1}
    lost = "csvreplay lost 8 (7 garbage, 1 time-backwards); 4 arrived."
    assert lost in pipeline.explain()
    assert not any(math.isnan(s.data.x) for s in samples)


async def test_rate_replaces_times(tmp_path):
    samples = await collect(CSVReplay(write(tmp_path, "x,y\n1,2\nbad,2\n5,6\n"), rate=50))
    assert [s.data.x for s in samples] == [1, 5]
    assert samples[1].t - samples[0].t == 40_000_000  # the bad row's place is kept
    with pytest.raises(ValueError, match="needs rate="):
        CSVReplay("x.csv", time=None)


async def test_text_is_left_out_unless_it_is_asked_for(tmp_path):
    path = write(tmp_path, "t,label,x,y\n0,walk,1,\n1,run,2,3\n")
    replay = CSVReplay(path)
    assert [s.data.to_dict() for s in await collect(replay)] == [{"x": 2, "y": 3}]
    assert replay.dropped == {"garbage": 1}
    with pytest.raises(MediaError, match="no row that can be read"):
        await collect(CSVReplay(path, columns=["label"]))


async def test_loop_goes_on_one_period_later(tmp_path):
    replay = CSVReplay(write(tmp_path, "t,x\n0,1\n0.5,2\n1,3\n"), loop=True)
    samples = await collect(replay, 7)
    assert [s.data.x for s in samples] == [1, 2, 3, 1, 2, 3, 1]
    assert [(s.t - samples[0].t) / 1e9 for s in samples] == [0, 0.5, 1, 1.5, 2, 2.5, 3]


async def test_realtime_pace_waits(tmp_path):
    replay = CSVReplay(write(tmp_path, "t,x\n0,1\n0.05,2\n0.1,3\n"), pace="realtime")
    for sample in await collect(replay):
        assert sample.arrived >= sample.t


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 't'; its header is empty"),
        ("time,x\n0,1\n", "no column 't'; its header is time, x"),
        ("t\n0\n", "no column of numbers; its header is t"),
        ("t,x\na,b\n", "no column of numbers; its header is t, x"),
        ("t,x\n", "has no row that can be read"),
        ("t,x\na,1\n", "has no row that can be read"),
    ],
)
async def test_files_that_cannot_be_replayed_say_why(tmp_path, text, message):
    with pytest.raises(MediaError, match=message):
        await collect(CSVReplay(write(tmp_path, text)))


async def test_a_missing_file_or_column_is_named(tmp_path):
    with pytest.raises(DeviceNotFound, match="does not exist"):
        await collect(CSVReplay(tmp_path / "none.csv"))
    with pytest.raises(DeviceNotFound, match="is a folder"):
        await collect(CSVReplay(tmp_path))
    with pytest.raises(MediaError, match="no column 'z'; its header is t, x"):
        await collect(CSVReplay(write(tmp_path, "t,x\n0,1\n"), columns=["x", "z"]))
