"""PortAudio, through sounddevice: finding devices, opening streams, translating errors."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Literal

from edgeml._require import require
from edgeml.errors import DeviceError, DeviceLost, DeviceNotFound, MissingExtra

Kind = Literal["input", "output"]

APT_PORTAUDIO = "sudo apt install libportaudio2"
_INVALID_CHANNELS = -9998
_INVALID_RATE = -9997

# PortAudio lists the devices once, when it starts, for the whole process. It may only be
# started again while none of its streams is open, so they are counted.
_lock = threading.Lock()
_open_streams = 0


def load(purpose: str) -> Any:
    """Import sounddevice.

    Raises:
        MissingExtra: sounddevice or the system's PortAudio is not installed.
    """
    try:
        return require("sounddevice", extra="audio", purpose=purpose)
    except OSError as error:
        if isinstance(error, DeviceError):
            raise
        raise MissingExtra(
            f"{purpose} needs the PortAudio library, which is not on this system ({error}): "
            f"{APT_PORTAUDIO}",
            extra="audio",
        ) from error


def refresh() -> bool:
    """Look for devices again, as after a microphone was plugged in; False when in use."""
    sd = load("edgeml.devices")
    with _lock:
        if _open_streams:
            return False
        # There is no public call for this; sounddevice's own manual names these two.
        sd._terminate()
        sd._initialize()
        return True


def find(device: str | int | None, kind: Kind, purpose: str) -> dict[str, Any]:
    """Return PortAudio's description of a device; None is the default one.

    Raises:
        DeviceNotFound: no device, or more than one, has this name; lists those there are.
    """
    sd = load(purpose)
    try:
        info: dict[str, Any] = sd.query_devices(device, kind)
    except (ValueError, sd.PortAudioError) as error:
        names = ", ".join(
            f"{i}: {info['name']!r}"
            for i, info in enumerate(sd.query_devices())
            if info[f"max_{kind}_channels"]
        )
        wanted = f"no default {kind} device" if device is None else f"no {kind} device {device!r}"
        raise DeviceNotFound(
            f"{purpose}: {wanted} ({error}); expected one of: {names or 'none is there'}. "
            f"Is it plugged in, and is the user in the group audio?",
            device=device,
        ) from error
    if not info[f"max_{kind}_channels"]:
        raise DeviceNotFound(
            f"{purpose}: {info['name']!r} has no {kind} channels; "
            f"`edgeml devices` lists those that have",
            device=device,
        )
    return info


def open_stream(
    info: dict[str, Any],
    kind: Kind,
    *,
    rate: int,
    channels: int,
    seconds: float,
    callback: Callable[..., None],
    finished: Callable[[], None],
) -> Any:
    """Open and start a float32 stream at `rate`, else at the device's own rate and channels.

    Args:
        info: From `find`.
        kind: Direction.
        rate: Wanted rate, Hz; look at the stream's `samplerate` for what it is.
        channels: Wanted channels; look at the stream's `channels` for what there are.
        seconds: Length of a block handed to `callback`.
        callback: As sounddevice's; runs in PortAudio's thread.
        finished: Called when the stream ends for whatever reason.

    Raises:
        DeviceLost: it cannot be opened now.
    """
    global _open_streams
    sd = load("edgeml.devices")
    make = sd.InputStream if kind == "input" else sd.OutputStream
    own_rate, own_channels = int(info["default_samplerate"]), int(info[f"max_{kind}_channels"])
    tries = dict.fromkeys(
        (r, c) for c in (channels, own_channels) for r in (rate, own_rate)
    )  # a dict, because it keeps the order and drops repeats
    with _lock:
        _open_streams += 1
    try:
        for try_rate, try_channels in tries:
            try:
                stream = make(
                    device=info["index"],
                    samplerate=try_rate,
                    channels=try_channels,
                    blocksize=max(1, round(seconds * try_rate)),
                    dtype="float32",
                    callback=callback,
                    finished_callback=finished,
                )
                stream.start()
                return stream
            except sd.PortAudioError as error:
                reason = error
                if error.args[1:2] not in ((_INVALID_CHANNELS,), (_INVALID_RATE,)):
                    break
        raise DeviceLost(
            f"{kind} device {info['name']!r} cannot be opened ({reason}); is it still plugged "
            f"in, or does another program hold it?",
            device=info["name"],
        ) from reason
    except BaseException:
        with _lock:
            _open_streams -= 1
        raise


def close_stream(stream: Any) -> None:
    """Stop at once and close; a device that is gone makes no error."""
    global _open_streams
    sd = load("edgeml.devices")
    with contextlib.suppress(sd.PortAudioError):
        stream.abort(ignore_errors=True)
    with contextlib.suppress(sd.PortAudioError):
        stream.close(ignore_errors=True)
    with _lock:
        _open_streams -= 1
