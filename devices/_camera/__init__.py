"""Cameras: devices, streams, files and commands that give pictures."""

from __future__ import annotations

from edgeml.devices._camera._camera import Camera
from edgeml.devices._camera._list import CameraInfo, list_cameras

__all__ = ["Camera", "CameraInfo", "list_cameras"]
