"""Pictures for people: small, and not too often."""

import numpy as np
import pytest

from edgeml.events import MqttSink, Snapshot, encode_jpeg
from edgeml.streams import SKIP, Sample

cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)


def size_of(jpeg):
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED).shape


@pytest.mark.parametrize("limit", [1000, 5000, 50_000, 1_000_000])
def test_a_picture_fits(noise, limit):
    jpeg = encode_jpeg(noise, limit)
    assert len(jpeg) <= limit
    height, width, _ = size_of(jpeg)
    assert height / width == pytest.approx(0.75, rel=0.1)


def test_a_small_picture_keeps_its_size(noise):
    plain = np.full((48, 64), 128, np.uint8)
    assert size_of(encode_jpeg(plain, 100_000)) == (48, 64)
    assert size_of(encode_jpeg(noise[:3, :500], 1000))[0] >= 1


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        "frame",
    ],
    ids=lambda f: f"{getattr(f, 'dtype', type(f))}{getattr(f, 'shape', '')}",
)
def test_what_is_no_picture_is_named(frame):
    with pytest.raises(ValueError, match="a snapshot takes a frame, uint8"):
        encode_jpeg(frame, 10_000)


def test_at_most_one_in_a_while_by_capture_time(noise):
    shoot = Snapshot(every=10, max_bytes=20_000)
    taken = []
    for second in range(0, 31, 3):
        sample = Sample(noise, second * 1_000_000_000, 0, "door")
        result = shoot(sample)
        if result is not SKIP:
            taken.append((second, result))
    assert [second for second, _ in taken] == [0, 12, 24]
    picture = taken[0][1]
    assert isinstance(picture.data, bytes)
    assert picture.source == "door"
    message = MqttSink(prefix="porch")._message(picture)
    assert (message.topic, message.payload) == ("porch/door/snapshot", picture.data)


@pytest.mark.parametrize("options", [{"max_bytes": 10}, {"every": -1}, {"every": float("nan")}])
def test_limits_that_cannot_be(options):
    with pytest.raises(ValueError, match="must be"):
        Snapshot(**options)
