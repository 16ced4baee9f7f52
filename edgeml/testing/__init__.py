"""Simulated twins of the devices, for tests of programs that use edgeml.

They keep the same contracts as the real ones, and the same tests check both.
"""

from edgeml.testing._accelerator import FakeAccelerator
from edgeml.testing._audio import FakeMicrophone, FakeSpeaker
from edgeml.testing._camera import FakeCamera
from edgeml.testing._gpio import FakeGPIO
from edgeml.testing._gradients import check_gradient
from edgeml.testing._iio import FakeIIO
from edgeml.testing._sensor import FakeSensor

__all__ = [
    "FakeAccelerator",
    "FakeCamera",
    "FakeGPIO",
    "FakeIIO",
    "FakeMicrophone",
    "FakeSensor",
    "FakeSpeaker",
    "check_gradient",
]
