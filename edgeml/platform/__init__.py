"""What this device is: cores it may use, where files may go, how they get there."""

from edgeml.platform._cores import cores
from edgeml.platform._cpu import cpu_flags, cpu_name, machine
from edgeml.platform._files import replacing
from edgeml.platform._memory import resident
from edgeml.platform._paths import cache_dir, state_dir

__all__ = [
    "cache_dir",
    "cores",
    "cpu_flags",
    "cpu_name",
    "machine",
    "replacing",
    "resident",
    "state_dir",
]
