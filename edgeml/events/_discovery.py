"""Home Assistant's device-based MQTT discovery.

Source: Home Assistant's documentation of MQTT discovery, "Device discovery payload".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from edgeml._version import __version__

OutputKind = Literal["sensor", "binary_sensor"]


@dataclass(frozen=True)
class Output:
    """A value that a task publishes, as other programs want to know it.

    Attributes:
        name: For people, such as ``"People"``.
        kind: ``"sensor"`` for a value, ``"binary_sensor"`` for on and off.
        template: Jinja expression for the value in ``value_json``, the published event; a
            binary sensor's must give ``ON`` or ``OFF``.
        unit: Unit of measurement, such as ``"°C"``.
        device_class: Home Assistant's, such as ``"occupancy"`` or ``"temperature"``.
        icon: Home Assistant's, such as ``"mdi:walk"``.
    """

    name: str
    kind: OutputKind
    template: str
    unit: str | None = None
    device_class: str | None = None
    icon: str | None = None


def slug(text: str) -> str:
    """Return a text as an id: lower case, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "edgeml"


def discovery_document(
    device: str,
    outputs: Mapping[tuple[str, str], Sequence[Output]],
    topic_of: Callable[[str, str], str],
    availability_topic: str,
) -> dict[str, Any]:
    """Return the discovery message of a device.

    Args:
        device: Name of the device.
        outputs: By source and task.
        topic_of: Returns the state topic of a source and task.
        availability_topic: Where ``online`` and ``offline`` are published.
    """
    device_id = slug(device)
    components = {}
    for (source, task), values in outputs.items():
        for output in values:
            key = slug(f"{source} {task} {output.name}")
            optional = {
                "unit_of_measurement": output.unit,
                "device_class": output.device_class,
                "icon": output.icon,
            }
            components[key] = {
                "platform": output.kind,
                "unique_id": f"{device_id}_{key}",
                "name": f"{source} {output.name}",
                "state_topic": topic_of(source, task),
                "value_template": output.template,
                **{k: v for k, v in optional.items() if v is not None},
            }
    return {
        "device": {
            "identifiers": [f"edgeml_{device_id}"],
            "name": device,
            "manufacturer": "edgeml",
            "sw_version": __version__,
        },
        "origin": {"name": "edgeml", "sw_version": __version__},
        "availability_topic": availability_topic,
        "payload_available": "online",
        "payload_not_available": "offline",
        "qos": 1,
        "components": components,
    }
