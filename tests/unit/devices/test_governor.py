"""The governor on thermal traces: early enough, never nervous, and back at the top when cool."""

from __future__ import annotations

import asyncio
import math
import shutil
from importlib.resources import files
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml import ActivityRecognizer
from edgeml.devices import Governor, board
from edgeml.devices._governor_control import Control
from edgeml.errors import DeviceError, DeviceNotFound, GraphError, ModelError, ModelNotFound
from edgeml.streams import Sample, Source

LIMIT, INTERVAL, DWELL = 85.0, 2.0, 30.0
NAN = math.nan


def control(levels=3, **options):
    given = {"margin": 5.0, "hysteresis": 5.0, "dwell": DWELL} | options
    return Control({"cpu": LIMIT}, levels, **given)


def replay(ruler, trace, began=0.0):
    """Feed a temperature each `INTERVAL` (None: the sensor is gone); return (time, level)s."""
    steps = []
    for n, degrees in enumerate(trace):
        now = began + n * INTERVAL
        readings = {} if degrees is None else {"cpu": degrees}
        if ruler.decide(now, readings, []) is not None:
            steps.append((now, ruler.level))
    return steps


def ramp(start, end, readings):
    return [float(x) for x in np.linspace(start, end, readings)]


def test_it_steps_down_before_the_board_throttles():
    ruler = control()
    steps = replay(ruler, ramp(60, 84.9, 100))
    at_first = ramp(60, 84.9, 100)[int(steps[0][0] / INTERVAL)]
    assert at_first < 81
    assert [level for _, level in steps] == [1, 2]


def test_it_says_why():
    ruler = control()
    verdicts = [ruler.decide(n * INTERVAL, {"cpu": 81.25}, []) for n in range(2)]
    assert verdicts[0] is None  # one reading is none
    assert verdicts[1] == (1, "cpu at 81.2 °C, throttles at 85 °C")


def test_it_goes_up_when_it_has_been_cool_for_the_dwell_time():
    ruler = control()
    hot = replay(ruler, [82.0] * 40)
    cool = replay(ruler, [60.0] * 60, began=100.0)
    assert [level for _, level in hot + cool] == [1, 2, 1, 0]
    assert cool[0][0] >= 100 + DWELL


def test_between_the_two_thresholds_nothing_happens():
    ruler = control()
    replay(ruler, [82.0] * 3)
    assert replay(ruler, [78.0] * 500, began=3 * INTERVAL) == []
    assert ruler.level == 1


def test_a_temperature_that_swings_about_the_threshold_takes_it_down_and_not_up():
    ruler = control()
    trace = [80 + 4 * math.sin(n / 3) for n in range(1000)]
    assert [level for _, level in replay(ruler, trace)] == [1, 2]


def test_a_sensor_that_jumps_once_is_not_believed():
    ruler = control()
    trace = [60.0] * 200
    for n in range(3, 200, 7):
        trace[n] = [125.0, -300.0, 149.0][n % 3]
    assert replay(ruler, trace) == []
    replay(ruler, [82.0] * 3, began=1000.0)
    trace = [82.0] * 200
    for n in range(3, 200, 7):
        trace[n] = 20.0
    steps = replay(ruler, trace, began=2000.0)
    assert [level for _, level in steps] == [2]  # nor does a jump take it up


@pytest.mark.parametrize("gone", [None, NAN, math.inf, -273.15, 4095.0])
def test_without_a_reading_it_stays_where_it_is(gone):
    ruler = control()
    replay(ruler, [82.0] * 3)
    assert replay(ruler, [gone] * 200, began=100.0)[1:] == []
    level = ruler.level
    assert ruler.blind
    assert replay(ruler, [gone] * 200, began=1000.0) == []
    assert ruler.level == level
    replay(ruler, [60.0] * 100, began=2000.0)
    assert (ruler.level, ruler.blind) == (0, False)


def test_a_sensor_that_fails_every_other_time_is_still_heard():
    ruler = control()
    steps = replay(ruler, [82.0, NAN] * 30)
    assert [level for _, level in steps] == [1, 2]
    assert not ruler.blind


def test_the_sensor_that_is_nearest_to_its_limit_decides():
    ruler = Control({"cpu": 85, "npu": 100}, 2, margin=5, hysteresis=5, dwell=DWELL)
    for n in range(3):
        verdict = ruler.decide(n * INTERVAL, {"cpu": 60.0, "npu": 96.0}, [])
        if verdict:
            assert verdict.why == "npu at 96.0 °C, throttles at 100 °C"
    assert ruler.level == 1
    for n in range(100):
        ruler.decide(10 + n * INTERVAL, {"cpu": 79.0, "npu": 50.0}, [])
    assert ruler.level == 1  # the other is not cool


def test_a_board_that_throttles_goes_down_however_cool_it_is():
    ruler = control()
    why = "under-voltage: the power supply or its cable is too weak"
    verdicts = [ruler.decide(n * INTERVAL, {"cpu": 50.0}, [why]) for n in range(100)]
    assert [v for v in verdicts if v] == [(1, why), (1, why)]
    replay(ruler, [50.0] * 60, began=1000.0)
    assert ruler.level == 0


@given(
    st.lists(
        st.one_of(
            st.none(), st.just(NAN), st.floats(-50, 160), st.floats(70, 90),
            st.integers(0, 30).map(lambda n: 85.0 - n),
        ),
        max_size=200,
    ),
    st.integers(2, 5),
    st.lists(st.booleans(), max_size=200),
)  # fmt: skip
def test_on_any_trace_it_keeps_the_dwell_time_and_comes_back(trace, levels, flags):
    ruler = control(levels)
    steps = []
    for n, degrees in enumerate(trace):
        slow = ["slow"] if n < len(flags) and flags[n] else []
        before = ruler.level
        readings = {} if degrees is None else {"cpu": degrees}
        if verdict := ruler.decide(n * INTERVAL, readings, slow):
            assert ruler.level == before + verdict.step
            steps.append(n * INTERVAL)
        assert 0 <= ruler.level < levels
    assert all(b - a >= DWELL for a, b in pairwise(steps))
    enough = round(2 + (levels + 1) * DWELL / INTERVAL) + 5
    replay(ruler, [50.0] * enough, began=len(trace) * INTERVAL)
    assert ruler.level == 0


def test_a_board_in_the_sun_never_throttles():
    """A board as heat and capacity: at the top it would reach 95 °C, at the bottom 65 °C."""
    ruler = control(levels=4)
    settles_at, seconds = (95.0, 84.0, 73.0, 65.0), 120.0
    degrees, hottest, steps = 45.0, 0.0, 0
    for n in range(round(3600 / INTERVAL)):
        degrees += (settles_at[ruler.level] - degrees) * (1 - math.exp(-INTERVAL / seconds))
        hottest = max(hottest, degrees)
        steps += ruler.decide(n * INTERVAL, {"cpu": degrees}, []) is not None
    assert hottest < LIMIT
    assert steps <= 3600 / DWELL / 2  # it goes to and fro, slowly


# On a board that is made of files, with a pipeline that runs


class Ticks(Source[Sample]):
    """Readings of motion as fast as they are taken, of which some may be lost."""

    live = True
    ending = False

    async def _read(self):
        if self.ending:
            raise StopAsyncIteration
        await asyncio.sleep(0)
        return self._sample(np.zeros(6, np.float32), t=self._seq * 20_000_000)


class Board:
    """A board with one sensor, a pipeline on it, and a clock that goes when it is told to."""

    def __init__(self, root):
        self.root = root
        self.now = 1000.0
        zone = root / "sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (zone / "type").write_text("cpu-thermal\n")
        (zone / "trip_point_0_type").write_text("passive\n")
        (zone / "trip_point_0_temp").write_text("85000\n")
        (zone / "trip_point_1_type").write_text("critical\n")
        (zone / "trip_point_1_temp").write_text("110000\n")
        self.sensor = zone / "temp"
        self.source = Ticks(name="watch", keep="freshest")
        self.pipeline = self.source | ActivityRecognizer(name="what", hop=0.1)
        self.steps, self.errors = [], []

    def governor(self, **options):
        governor = Governor(
            self.pipeline, root=self.root, clock=lambda: self.now, **options
        )  # fmt: skip
        governor.on("step", self.steps.append)
        governor.on("error", self.errors.append)
        return governor

    async def at(self, governor, degrees, seconds):
        self.sensor.write_text(f"{round(degrees * 1000)}\n")
        for _ in range(round(seconds / INTERVAL)):
            self.now += INTERVAL
            await governor.check()


@pytest.fixture
async def hot_board(tmp_path, no_thread_left):
    made = Board(tmp_path / "root")
    made.sensor.write_text("50000\n")
    running = asyncio.create_task(made.pipeline.run())
    await made.pipeline.once("result")
    yield made
    made.source.ending = True
    await running


async def test_rates_and_models_follow_the_ladder(hot_board, tmp_path):
    small = tmp_path / "small.onnx"
    top = "edgeml:activity_watch_int8.onnx"
    shutil.copy(str(files("edgeml") / "models" / "activity_watch_int8.onnx"), small)
    governor = hot_board.governor(
        fps={"watch": [None, 15, 15]}, models={"what": [top, top, str(small)]}
    )
    await hot_board.at(governor, 81.2, 3 * DWELL)
    await hot_board.at(governor, 60.0, 4 * DWELL)
    hot, cool = "cpu-thermal at 81.2 °C", "cpu-thermal at 60.0 °C"
    assert [str(step) for step in hot_board.steps] == [
        f"{hot}, throttles at 85 °C: watch: all -> 15 fps",
        f"{hot}, throttles at 85 °C: what: {top} -> {small}",
        f"{cool}, throttles at 85 °C: what: {small} -> {top}",
        f"{cool}, throttles at 85 °C: watch: 15 -> all fps",
    ]
    assert [(s.old, s.level) for s in hot_board.steps] == [(0, 1), (1, 2), (2, 1), (1, 0)]
    assert hot_board.pipeline.stats().sources["watch"].dropped["limited"] > 0
    assert hot_board.errors == []
    assert governor.level == 0


async def test_a_model_that_does_not_fit_is_told_and_the_rest_goes_on(hot_board):
    top = "edgeml:activity_watch_int8.onnx"
    governor = hot_board.governor(
        fps={"watch": [100, 50]}, models={"what": [top, "edgeml:efficientnet_lite0_int8.onnx"]}
    )
    await hot_board.at(governor, 83.0, 10)
    assert [step.changes for step in hot_board.steps] == [("watch: 100 -> 50 fps",)]
    assert [type(error) for error in hot_board.errors] == [ModelError]
    await hot_board.at(governor, 50.0, 3 * DWELL)
    assert hot_board.steps[-1].changes == ("watch: 50 -> 100 fps",)  # the old model never left


async def test_a_sensor_that_goes_away_is_told_once(hot_board):
    governor = hot_board.governor(fps={"watch": [100, 50]})
    await hot_board.at(governor, 83.0, 10)
    hot_board.sensor.unlink()
    for _ in range(20):
        hot_board.now += INTERVAL
        await governor.check()
    assert governor.level == 1
    (error,) = hot_board.errors
    assert isinstance(error, DeviceError)
    assert "it stays at level 1" in str(error)
    await hot_board.at(governor, 50.0, 3 * DWELL)
    assert governor.level == 0


async def test_names_that_the_pipeline_does_not_have(hot_board):
    with pytest.raises(GraphError, match="there is no source 'door'; expected one of watch"):
        await hot_board.governor(fps={"door": [30, 15]}).check()
    model = "edgeml:activity_watch_int8.onnx"
    with pytest.raises(GraphError, match="no such task; expected one of what"):
        await hot_board.governor(models={"whit": [model, model]}).check()


async def test_it_works_beside_the_pipeline(tmp_path, until, no_thread_left):
    made = Board(tmp_path / "root")
    made.sensor.write_text("84000\n")
    governor = Governor(made.pipeline, fps={"watch": [100, 50]}, root=made.root, interval=0.01)
    governor.on("step", made.steps.append)
    async with governor:
        assert await governor.check() is None  # the pipeline does not run yet
        running = asyncio.create_task(made.pipeline.run())
        await until(lambda: made.steps)
        made.source.ending = True
        await running
    assert made.steps[0].level == 1


async def test_the_top_level_begins_with_the_pipeline(tmp_path, until, no_thread_left):
    made = Board(tmp_path / "root")
    made.sensor.write_text("50000\n")
    async with Governor(made.pipeline, fps={"watch": [100, 50]}, root=made.root, interval=3600):
        running = asyncio.create_task(made.pipeline.run())
        await until(lambda: made.pipeline.is_running)
        await until(lambda: "limited" in made.pipeline.stats().sources["watch"].dropped)
        made.source.ending = True
        await running


async def test_a_listener_that_raises_is_told(hot_board, caplog):
    governor = hot_board.governor(fps={"watch": [100, 50]})
    governor.on("step", {}.__getitem__)
    await hot_board.at(governor, 83.0, 10)
    assert [type(error) for error in hot_board.errors] == [KeyError]
    assert "a listener of 'step' raised" in caplog.text
    assert governor.level == 1


async def test_an_error_ends_the_governor_and_not_the_pipeline(hot_board, until, caplog):
    governor = hot_board.governor(fps={"door": [30, 15]}, interval=0.01)
    async with governor:
        await until(lambda: hot_board.errors)
    assert isinstance(hot_board.errors[0], GraphError)
    assert "the governor has stopped" in caplog.text
    await hot_board.pipeline.once("result")


async def test_a_model_that_is_not_there_is_told_before_it_is_hot(tmp_path):
    made = Board(tmp_path / "root")
    made.sensor.write_text("50000\n")
    model = "edgeml:activity_watch_int8.onnx"
    with pytest.raises(ModelNotFound):
        async with made.governor(models={"what": [model, "nowhere.onnx"]}):
            pass


async def test_a_board_that_says_nothing_needs_a_limit(tmp_path):
    made = Board(tmp_path / "root")
    made.sensor.write_text("50000\n")
    (made.sensor.parent / "trip_point_0_type").write_text("active\n")
    assert board(made.root).throttles_at == {}
    with pytest.raises(DeviceNotFound, match="none says when it throttles; pass limit="):
        await made.governor(fps={"watch": [30, 15]}).open()
    await made.governor(fps={"watch": [30, 15]}, limit=70).open()
    shutil.rmtree(made.root)
    with pytest.raises(DeviceNotFound, match="there is no thermal zone"):
        await made.governor(fps={"watch": [30, 15]}, limit=70).open()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "received none"),
        ({"fps": {"a": [30]}}, "received fps a with 1"),
        ({"fps": {"a": [30, 15]}, "models": {"b": ["x"] * 3}}, "fps a with 2, models b with 3"),
        ({"fps": {"a": [15, 30]}}, "not grow from level to level"),
        ({"fps": {"a": [15, 0]}}, "must be positive"),
        ({"fps": {"a": [15, NAN]}}, "must be positive"),
        ({"fps": {"a": [30, 15]}, "dwell": 0}, "dwell must be a positive number; received 0"),
        ({"fps": {"a": [30, 15]}, "margin": -1}, "margin must be a number of at least 0"),
        ({"fps": {"a": [30, 15]}, "limit": NAN}, "limit must be a positive number"),
    ],
)
def test_a_ladder_that_makes_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        Governor(Source.of([]) | str, **options)


@pytest.mark.parametrize(
    ("compatible", "degrees"),
    [
        ("raspberrypi,5-model-b\0brcm,bcm2712\0", 80.0),
        ("raspberrypi,3-model-b-plus\0brcm,bcm2837\0", 60.0),
        ("nvidia,tegra234\0", 85.0),
    ],
)
def test_where_boards_throttle(tmp_path, compatible, degrees):
    made = Board(tmp_path)
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/compatible").write_text(compatible)
    assert board(made.root).throttles_at == {"cpu-thermal": degrees}
