"""Optimizers by Keras's names, defaults and formulas; traced into the training step."""

from edgeml.optimizers import schedules
from edgeml.optimizers._adaptive import (
    Adadelta,
    Adagrad,
    Adamax,
    Ftrl,
    Lion,
    Nadam,
    ScheduleFreeAdamW,
)
from edgeml.optimizers._base import Optimizer, get
from edgeml.optimizers._each import Adafactor, Lamb, Muon
from edgeml.optimizers._optimizers import SGD, Adam, AdamW, RMSprop

__all__ = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "ScheduleFreeAdamW",
    "get",
    "schedules",
]
