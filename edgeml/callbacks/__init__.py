"""Callbacks by Keras's names: what is told how training goes, and may steer it."""

from edgeml.callbacks._average import SwapEMAWeights
from edgeml.callbacks._backup import BackupAndRestore
from edgeml.callbacks._base import Callback, CallbackList, LambdaCallback
from edgeml.callbacks._files import CSVLogger, ModelCheckpoint
from edgeml.callbacks._history import History
from edgeml.callbacks._monitors import EarlyStopping, Monitor, ReduceLROnPlateau, TerminateOnNaN
from edgeml.callbacks._rate import LearningRateScheduler
from edgeml.callbacks._tensorboard import TensorBoard

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "Monitor",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
