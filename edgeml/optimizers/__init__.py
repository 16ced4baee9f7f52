"""Optimizers by Keras's names, defaults and formulas; traced into the training step."""

from edgeml.optimizers import schedules
from edgeml.optimizers._base import Optimizer, get
from edgeml.optimizers._optimizers import SGD, Adam, AdamW, RMSprop

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop", "get", "schedules"]
