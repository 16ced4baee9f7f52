"""The public names of edgeml.devices and edgeml.testing."""

import subprocess
import sys

import pytest

import edgeml.devices
import edgeml.testing


@pytest.mark.parametrize("package", [edgeml.devices, edgeml.testing])
def test_each_public_name_is_there_and_sorted(package):
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    lower = [n for n in package.__all__ if n.islower()]
    assert set(package.__all__) <= set(dir(package))
    assert lower == sorted(lower)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Kamera'"):
        _ = edgeml.devices.Kamera


def test_the_import_is_light_and_the_top_folder_is_guarded():
    program = (
        "import sys, edgeml.devices as d; d.Microphone, d.GPS, d.IIO, d.GPIO, d.discover\n"
        "heavy = {'sounddevice', 'soundfile', 'soxr', 'serial', 'pynmea2', 'gpiod', 'cv2', 'av'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "try: import devices\n"
        "except ImportError as error: print('ImportError', error)\n"
    )
    root = edgeml.devices.__path__[0].rpartition("/edgeml/")[0]
    run = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=60, cwd=root,
    )  # fmt: skip
    first, second = run.stdout.splitlines()
    assert first == "[]"
    assert second.startswith("ImportError import edgeml.devices, not devices")
