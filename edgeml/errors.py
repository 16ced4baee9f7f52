"""All errors that edgeml raises; foreign errors are translated at one border.

::

    EdgeMLError
    +-- MissingExtra         also ImportError        extra=
    +-- ConfigError          also ValueError         file=, line=, key=
    +-- ModelError           also ValueError         path=
    |   +-- ModelNotFound    also FileNotFoundError
    |   +-- ModelFormatError                         truncated, not a model, unknown opset
    |   +-- InputError                               name=, expected=, received=
    |   +-- OutputError                              a model returned NaN or infinity
    |   +-- DownloadError    also OSError            url=
    |   +-- ShapeError                               where=, expected=, received=
    |   +-- NoGradient                               op=, node=: an operator without a gradient rule
    |   +-- CheckpointError                          damaged, or of another model
    |   +-- WorkerLost                               cause=: an isolated model's process ended
    |       +-- WorkerTimeout    also TimeoutError   it did not answer in time
    +-- TrainingError        also RuntimeError       training cannot start or go on
    |   +-- NonFinite        also ArithmeticError    batch=: NaN or infinity in the data or the loss
    +-- DataError            also ValueError         a dataset is empty, ragged or mislabelled
    +-- OptimizeError        also ValueError         a model cannot be shrunk as asked
    +-- DelegateError        also RuntimeError       delegate=
    +-- DeviceError          also OSError            device=
    |   +-- DeviceNotFound
    |   +-- DeviceClosed
    |   +-- DeviceLost                               it worked, then went away
    |   +-- DeviceTimeout    also TimeoutError
    |   +-- MediaError                               a file or stream that cannot be decoded
    +-- PipelineError        also RuntimeError
    |   +-- GraphError       also ValueError         the pipeline cannot be built like this
    |   +-- StageFailed                              stage=, item_no=; raised from the cause
    |   +-- StageTimeout     also TimeoutError       stage=, timeout=
    |   +-- SinkClosed
    +-- PublishError         also OSError            the broker refused, or is gone
    +-- StoreError           also OSError            what was learned cannot be kept or read

A message says what happened, what was expected, what was received and what to do.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DelegateError",
    "DeviceClosed",
    "DeviceError",
    "DeviceLost",
    "DeviceNotFound",
    "DeviceTimeout",
    "DownloadError",
    "EdgeMLError",
    "GraphError",
    "InputError",
    "MediaError",
    "MissingExtra",
    "ModelError",
    "ModelFormatError",
    "ModelNotFound",
    "NoGradient",
    "NonFinite",
    "OptimizeError",
    "OutputError",
    "PipelineError",
    "PublishError",
    "ShapeError",
    "SinkClosed",
    "StageFailed",
    "StageTimeout",
    "StoreError",
    "TrainingError",
    "WorkerLost",
    "WorkerTimeout",
]


class EdgeMLError(Exception):
    """Base of every error that edgeml raises.

    Keyword arguments become attributes, so that a program can act on an error
    without reading its message.
    """

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message)
        self.__dict__.update(context)


class MissingExtra(EdgeMLError, ImportError):
    """An optional library is not installed; the message has the pip command."""


class ConfigError(EdgeMLError, ValueError):
    """A configuration file is wrong; the message has file, line, key and what was expected."""


class ModelError(EdgeMLError, ValueError):
    """A model cannot be loaded or run."""


class ModelNotFound(ModelError, FileNotFoundError):
    """There is no model file at this path."""


class ModelFormatError(ModelError):
    """The file is not a model, is truncated, or needs a newer runtime."""


class InputError(ModelError):
    """An input's name, shape or dtype is not what the model takes."""


class OutputError(ModelError):
    """A model returned NaN or infinity."""


class DownloadError(ModelError, OSError):
    """A model cannot be fetched, or does not have the promised hash."""


class ShapeError(ModelError):
    """Shapes or dtypes do not fit together; the message names the operator or layer."""


class NoGradient(ModelError):
    """An operator between the loss and a trainable parameter has no gradient rule."""


class CheckpointError(ModelError):
    """A checkpoint is damaged, belongs to another model or is of a newer schema."""


class WorkerLost(ModelError):
    """The process of an isolated model ended in the call, which is lost."""


class WorkerTimeout(WorkerLost, TimeoutError):
    """An isolated model did not answer within its deadline, so its process was killed."""


class TrainingError(EdgeMLError, RuntimeError):
    """Training cannot start like this, or cannot go on."""


class NonFinite(TrainingError, ArithmeticError):
    """There is NaN or infinity in the data or the loss; the message names the batch."""


class DataError(EdgeMLError, ValueError):
    """A dataset is empty, ragged, mislabelled, or cannot be read."""


class OptimizeError(EdgeMLError, ValueError):
    """A model cannot be shrunk as asked."""


class DelegateError(EdgeMLError, RuntimeError):
    """No delegate of those asked for can be had."""


class DeviceError(EdgeMLError, OSError):
    """A camera, microphone, sensor or output does not work."""


class DeviceNotFound(DeviceError):
    """There is no such device."""


class DeviceClosed(DeviceError):
    """The device was closed before this call."""


class DeviceLost(DeviceError):
    """The device worked and went away; a source reconnects unless told not to."""


class DeviceTimeout(DeviceError, TimeoutError):
    """The device did not answer within its deadline."""


class MediaError(DeviceError):
    """A file or stream cannot be decoded."""


class PipelineError(EdgeMLError, RuntimeError):
    """A pipeline failed, or was used in a state that does not allow the call."""


class GraphError(PipelineError, ValueError):
    """A pipeline cannot be built from these parts."""


class StageFailed(PipelineError):
    """A stage raised; the error's ``__cause__`` is what it raised."""


class StageTimeout(PipelineError, TimeoutError):
    """A stage did not finish an item within its time-out."""


class SinkClosed(PipelineError):
    """An item was sent to a sink after it was closed."""


class PublishError(EdgeMLError, OSError):
    """A message could not be published."""


class StoreError(EdgeMLError, OSError):
    """What was learned cannot be kept or read: a full disk, a damaged file, another backbone's."""
