"""A sound system without sound cards: PulseAudio with a null sink, in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

_ASOUNDRC = """
pcm.!default { type pulse }
ctl.!default { type pulse }
pcm.mic { type pulse device mic hint { show on description "mic" } }
pcm.speaker { type pulse device speaker hint { show on description "speaker" } }
"""


class Sound:
    """A PulseAudio server; programs started with `env` hear and speak through it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PULSE", "XDG"))}
        self.env |= {"HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
        (folder / ".asoundrc").write_text(_ASOUNDRC)
        folder.chmod(0o700)
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]
        command += ["--load=module-native-protocol-unix"]
        log = (folder / "log").open("wb")
        self.server = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
        log.close()
        deadline = time.monotonic() + 20
        while self._pactl("info").returncode:
            assert self.server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "PulseAudio did not start"
        self.load()

    def _pactl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["pactl", *words], env=self.env, check=False, capture_output=True, text=True, timeout=20
        )

    def load(self) -> None:
        """Plug the loudspeaker in, and the microphone that hears it."""
        for words in (
            ("load-module", "module-null-sink", "sink_name=speaker"),
            ("load-module", "module-remap-source", "master=speaker.monitor", "source_name=mic"),
            ("set-default-source", "mic"),
        ):
            done = self._pactl(*words)
            assert done.returncode == 0, done.stderr

    def unload(self) -> None:
        """Unplug both."""
        self._pactl("unload-module", "module-remap-source")
        self._pactl("unload-module", "module-null-sink")

    def play(self, path: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(["paplay", "-d", "speaker", str(path)], env=self.env)

    def python(self, script: str, *args: str) -> subprocess.Popen[str]:
        """Start a Python program of this folder; its lines on stdout can be read."""
        path = Path(__file__).with_name(script)
        return subprocess.Popen(
            [sys.executable, "-u", str(path), *args],
            env=self.env | {"PYTHONPATH": str(Path(__file__).parents[3])},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def sound(tmp_path_factory):
    for program in ("pulseaudio", "pactl", "paplay"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (apt install pulseaudio pulseaudio-utils)")
    pytest.importorskip("soundfile", reason="soundfile is not installed")
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError) as error:
        pytest.skip(f"no PortAudio: {error} (apt install libportaudio2)")
    plugins = Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")
    if not any(plugins):
        pytest.skip("ALSA has no pulse plugin (apt install libasound2-plugins)")
    system = Sound(tmp_path_factory.mktemp("sound"))
    yield system
    system.server.terminate()
    system.server.wait(10)
