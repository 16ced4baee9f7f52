"""Data for training and evaluation, read as it is needed."""

from edgeml.data._columns import Column
from edgeml.data._core import INFINITE, UNKNOWN
from edgeml.data._dataset import Dataset
from edgeml.data._folder import Folder
from edgeml.data._leak import LeakReport, check_leak

__all__ = [
    "INFINITE",
    "UNKNOWN",
    "Column",
    "Dataset",
    "Folder",
    "LeakReport",
    "check_leak",
]
