"""What is published: the event, its schema, results in JSON's types."""

import dataclasses
import datetime
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeml.events import Event, as_json, schema
from edgeml.streams import Clock, Sample

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")


@dataclasses.dataclass(frozen=True)
class Box:
    left: float
    labels: tuple[str, ...]


class Result:
    def to_dict(self):
        return {"count": np.int64(2), "boxes": [Box(np.float32(0.5), ("a", "b"))]}


def test_an_event_says_what_where_and_when():
    clock = Clock()
    before = datetime.datetime.now(datetime.UTC)
    sample = Sample(Result(), time.monotonic_ns(), 0, "door")
    event = Event.of(sample, clock, "people")
    assert event.source == "door"
    assert abs((event.time - before).total_seconds()) < 5
    published = json.loads(event.to_json())
    jsonschema.validate(published, schema())
    assert published["type"] == "event"
    assert published["schema"] == 1
    assert published["t_ns"] == sample.t
    assert published["time"].endswith("Z")
    assert datetime.datetime.fromisoformat(published["time"]) <= event.time
    assert published["data"] == {"count": 2, "boxes": [{"left": 0.5, "labels": ["a", "b"]}]}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (np.bool_(True), True),
        (np.uint8(7), 7),
        (np.float32(0.25), 0.25),
        (float("nan"), None),
        (np.float64("-inf"), None),
        ("text", "text"),
        ((1, 2.5), [1, 2.5]),
        ({1: {"a": [np.int32(3)]}}, {"1": {"a": [3]}}),
        (np.array([[1, 2], [3, 4]], np.int8), [[1, 2], [3, 4]]),
        (np.array(5.0), 5.0),
        (np.array([1.0, np.nan]), [1.0, None]),
        (Box(1, ("x",)), {"left": 1, "labels": ["x"]}),
        (Sample(3, 0, 0), 3),
    ],
    ids=repr,
)
def test_results_in_json_types(value, expected):
    found = as_json(value)
    assert found == expected
    assert type(found) is type(expected)
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("value", [b"bytes", object(), np.zeros((100, 100)), 1j, Box])
def test_what_is_no_event_is_refused_with_advice(value):
    with pytest.raises(TypeError, match="Put a stage before the sink"):
        as_json({"deep": [value]})


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()


@given(st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_any_json_like_value_makes_a_valid_event(data):
    event = Event.of(Sample(data, 0, 0, "s"), Clock(), "t")
    jsonschema.validate(json.loads(event.to_json()), schema())


singles = st.floats(width=32, allow_nan=True, allow_infinity=True).map(np.float32)
arrays = st.lists(singles | st.floats(), max_size=5).map(np.array)
results = st.recursive(
    scalars | singles | st.integers(-128, 127).map(np.int8) | arrays,
    lambda inner: st.builds(Box, inner, st.tuples(st.text(), inner)) | st.lists(inner, max_size=3),
)


@given(results)
def test_any_result_of_numpy_and_dataclasses_makes_a_valid_event(data):
    event = Event.of(Sample(data, 0, 0, "s"), Clock(), "t")
    text = event.to_json()
    jsonschema.validate(json.loads(text, parse_constant=pytest.fail), schema())
    assert as_json(event.data) == event.data


def test_an_event_of_ones_own_is_as_valid():
    zone = datetime.timezone(datetime.timedelta(hours=2))
    time = datetime.datetime(2026, 7, 1, 1, 30, tzinfo=zone)
    published = json.loads(Event("s", "t", time, 0, [np.float32("nan"), np.int8(3)]).to_json())
    jsonschema.validate(published, schema())
    assert (published["time"], published["data"]) == ("2026-06-30T23:30:00.000Z", [None, 3])
    with pytest.raises(ValueError, match="time must have a time zone"):
        Event("s", "t", time.replace(tzinfo=None), 0, 1)


def test_the_schema_refuses_what_is_no_event():
    good = Event.of(Sample(1, 0, 0, "s"), Clock(), "t").to_dict()
    jsonschema.Draft202012Validator.check_schema(schema())
    for broken in (
        {"type": "summary"}, {"schema": 2}, {"time": "2026-01-01T00:00:00+01:00"},
        {"t_ns": 1.5}, {"source": None},
    ):  # fmt: skip
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | broken, schema())
    without = {k: v for k, v in good.items() if k != "data"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(without, schema())
