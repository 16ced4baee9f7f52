"""A folder of pictures as a source."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np

from edgeml._require import require
from edgeml.devices._camera._capture import Capture, Frame, FrameCounts, Image, resized
from edgeml.errors import MediaError

log = logging.getLogger("edgeml.devices")

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".webp"}
NS = 1_000_000_000


class FolderCapture(Capture):
    """The pictures of a folder in the order of their names, numbers counted as numbers."""

    def __init__(
        self,
        folder: Path,
        label: str,
        counts: FrameCounts,
        *,
        size: tuple[int, int] | None,
        fps: float | None,
        loop: bool,
    ) -> None:
        super().__init__(counts)
        self.folder = folder
        self.label = label
        self.size = size
        self.fps = fps
        self.loop = loop
        self._next = 0
        self._given = 0
        self._warned = False

    def open(self) -> None:
        self._cv2 = require("cv2", extra="camera", purpose="edgeml.Camera")
        self._paths = sorted(
            (p for p in self.folder.iterdir() if p.suffix.lower() in SUFFIXES), key=_natural
        )
        if not self._paths:
            kinds = ", ".join(sorted(s.removeprefix(".") for s in SUFFIXES))
            raise MediaError(
                f"{self.label}: no pictures in this folder; expected files of type {kinds}",
                device=self.label,
            )
        self.counts.promised = len(self._paths)

    def read(self) -> Frame:
        while not self.stopped.is_set():
            again = self._next == len(self._paths)
            if again:
                if self._given == 0:
                    raise MediaError(
                        f"{self.label}: none of the {len(self._paths)} pictures can be read",
                        device=self.label,
                    )
                if not self.loop:
                    break
                self._next = 0
            path = self._paths[self._next]
            self._next += 1
            image = self._load(path)
            if image is None:
                continue
            pts = None if self.fps is None else round(self._given * NS / self.fps)
            meta: dict[str, object] = {"path": str(path)}
            if again:
                meta["discontinuity"] = True
            self._given += 1
            self.counts.decoded += 1
            return Frame(resized(image, self.size), pts, meta=meta)
        raise EOFError

    def _load(self, path: Path) -> Image | None:
        cv2 = self._cv2
        try:
            data = np.fromfile(path, np.uint8)
            image: Image | None = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            why = "not a picture, or damaged"
        except OSError as error:
            image, why = None, str(error.strerror)
        if image is None:
            self.counts.skipped += 1
            level = logging.DEBUG if self._warned else logging.WARNING
            log.log(level, "%s: %s left out: %s", self.label, path.name, why)
            self._warned = True
        return image


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name)
    return [(int(p), "") if p.isdecimal() else (0, p) for p in parts]
