"""The GPIO sink on a simulated chip, and the kernel's refusals."""

import errno

import numpy as np
import pytest

from edgeml.devices import GPIO
from edgeml.devices._gpio import _translate
from edgeml.errors import DeviceError, DeviceLost, DeviceNotFound, SinkClosed
from edgeml.streams import Sample, Source
from edgeml.testing import FakeGPIO


async def test_the_truth_of_a_samples_data_drives_the_line():
    board, gpio = FakeGPIO(), None
    gpio = GPIO(17, request=board)
    await gpio.open()
    for data in (["person"], [], 1, 1, None):
        await gpio.send(Sample(data, t=0, arrived=0))
    assert board.history(17) == [False, True, False, True, False]
    await gpio.aclose()
    await gpio.aclose()
    assert board.is_released(17)


async def test_active_low_and_when():
    board = FakeGPIO()
    gpio = GPIO("LED", request=board, active_low=True, when=lambda level: level > 0.5)
    await gpio.open()
    assert board.level("LED") == 1
    await gpio.send(0.7)
    assert board.level("LED") == 0
    assert gpio.is_on
    await gpio.send(np.float32(0.2))
    assert board.level("LED") == 1


async def test_min_hold_keeps_a_short_on(until):
    board = FakeGPIO()
    gpio = GPIO(17, request=board, min_hold=0.05)
    await gpio.send(True)
    await gpio.send(False)
    await gpio.send(False)
    assert gpio.is_on
    await until(lambda: not gpio.is_on)
    assert board.history(17) == [False, True, False]
    await gpio.send(True)
    await gpio.send(False)
    await gpio.send(True)  # takes back the off that was due
    assert board.history(17) == [False, True, False, True]
    await gpio.aclose()
    assert board.history(17)[-1] is False
    assert not gpio.is_on


async def test_in_a_pipeline_it_ends_switched_off():
    board = FakeGPIO()
    await (Source.of([1, 1]) | GPIO(4, request=board, min_hold=10)).run()
    assert board.history(4) == [False, True, False]
    assert board.is_released(4)


async def test_closed_taken_and_lost():
    board = FakeGPIO()
    gpio = GPIO(17, request=board)
    await gpio.open()
    with pytest.raises(DeviceError, match="line 17 of /dev/gpiochip0 is in use"):
        await GPIO(17, request=board).open()
    board.unplug(17)
    with pytest.raises(DeviceLost, match="GPIO line 17 of /dev/gpiochip0 cannot be set"):
        await gpio.send(True)
    await gpio.send(True)  # requests the line again
    assert gpio.is_on
    await gpio.aclose()
    with pytest.raises(SinkClosed):
        await gpio.send(True)


async def test_no_chip_is_refused_clearly():
    pytest.importorskip("gpiod", reason="gpiod is not installed")
    with pytest.raises(DeviceNotFound, match="there is no GPIO chip /dev/gpiochip77"):
        await GPIO(17, chip="/dev/gpiochip77").open()
    with pytest.raises(DeviceNotFound, match="there is no GPIO chip /dev/null"):
        await GPIO(17, chip="/dev/null").open()


@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (errno.EACCES, DeviceError, "usermod -aG gpio"),
        (errno.EBUSY, DeviceError, "is in use; `gpioinfo`"),
        (errno.EINVAL, DeviceNotFound, "has no line 99 that can be an output"),
    ],
)
def test_refusals_say_what_to_do(code, kind, message):
    error = _translate(OSError(code, "x"), "/dev/gpiochip0", 99)
    assert type(error) is kind
    assert message in str(error)


def test_min_hold_must_be_seconds():
    with pytest.raises(ValueError, match="min_hold must be seconds"):
        GPIO(17, min_hold=-1)
