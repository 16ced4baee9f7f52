"""What a camera's `device` argument stands for."""

from __future__ import annotations

import importlib.resources
import os
import re
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

Kind = Literal["v4l2", "csi", "url", "path"]

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_SECRET = re.compile(
    r"((?:^|[?&;])[^=&;?]*(?:pass|pwd|token|key|secret|auth|sig)[^=&;]*=)[^&;#]*", re.IGNORECASE
)
_USERINFO = re.compile(r"(?<=//)([^/@\s:]*):[^/\s]*@")
# Of the http addresses these end by themselves; the rest are cameras until told otherwise.
_RECORDED = {".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ogv", ".webm", ".wmv"}


class Target(NamedTuple):
    """A device: what kind, the value its driver takes, and a name without passwords."""

    kind: Kind
    value: str
    label: str
    live: bool


def parse(device: int | str | os.PathLike[str]) -> Target:
    """Tell what kind of device this is, without touching it."""
    if isinstance(device, bool) or not isinstance(device, int | str | os.PathLike):
        raise TypeError(
            "device must be a camera's number, a /dev path, a file, a folder, a URL or "
            f'"csi:0"; received {type(device).__name__}'
        )
    text = os.fspath(device) if not isinstance(device, int) else str(device)
    if not text:
        raise ValueError("device is empty; expected a camera's number, a path, a URL or csi:0")
    if isinstance(device, int) or (isinstance(device, str) and text.isdecimal()):
        if int(text) < 0:
            raise ValueError(f"a camera's number is 0 or more; received {text}")
        path = f"/dev/video{int(text)}"
        return Target("v4l2", path, path, True)
    if text.startswith("/dev/"):
        return Target("v4l2", text, text, True)
    if text.startswith("csi:"):
        number = text.removeprefix("csi:")
        if not number.isdecimal():
            raise ValueError(
                f'expected "csi:" and the camera\'s number, as in "csi:0"; got {text!r}'
            )
        return Target("csi", number, text, True)
    if text.startswith("edgeml:"):
        shipped = importlib.resources.files("edgeml") / "media" / text.removeprefix("edgeml:")
        return Target("path", str(shipped), text, False)
    if text.startswith("file://"):
        return Target("path", unquote(urlsplit(text).path), text, False)
    if scheme := _SCHEME.match(text):
        text = scheme[0].lower() + text[scheme.end() :]  # FFmpeg knows no RTSP://
        try:
            return Target("url", text, mask(text), _is_live(text))
        except ValueError as error:
            raise ValueError(f"{mask(text)} is not a URL: {error}") from None
    return Target("path", text, text, False)


def _is_live(url: str) -> bool:
    parts = urlsplit(url)
    recorded = Path(parts.path).suffix.lower() in _RECORDED
    return not (parts.scheme.lower() in ("http", "https") and recorded)


def mask(url: str) -> str:
    """Return the URL with passwords, tokens and keys replaced by ``***``.

    Example:
        >>> mask("rtsp://me:secret@10.0.0.5/stream?token=abc")
        'rtsp://me:***@10.0.0.5/stream?token=***'
    """
    try:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
    except ValueError:  # not a URL that can be taken apart
        return mask_text(url)
    if at and ":" in user:
        user = user.partition(":")[0] + ":***"
    query = _SECRET.sub(r"\1***", parts.query)
    return urlunsplit(parts._replace(netloc=f"{user}{at}{host}", query=query))


def mask_text(text: str) -> str:
    """Return a text with the passwords of the URLs in it replaced by ``***``."""
    return _USERINFO.sub(r"\1:***@", text)
