"""Checkpoints: one file with everything that training needs to go on."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import CheckpointError
from edgeml.training._files import writing

if TYPE_CHECKING:
    from edgeml.training._trainer import Trainer

Array = np.ndarray[Any, Any]
SCHEMA = 1


def write_checkpoint(path: Path, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
    """Write arrays and JSON values to one ``.npz`` file, atomically.

    Raises:
        CheckpointError: it cannot be written; what was there before is kept.
    """
    text = json.dumps({"schema": SCHEMA, **values})
    packed = {**arrays, "values": np.frombuffer(text.encode(), np.uint8)}
    with writing(path) as file:
        np.savez(file, **packed)  # type: ignore[arg-type]


def read_checkpoint(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return (arrays, values) of a checkpoint.

    Raises:
        CheckpointError: it is missing, damaged or of a newer schema.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        values = json.loads(arrays.pop("values").tobytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no checkpoint {path}", path=str(path)) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise CheckpointError(
            f"{path} is not a checkpoint, or is damaged: {error}", path=str(path)
        ) from error
    if not isinstance(values, dict) or not isinstance(values.get("schema"), int):
        raise CheckpointError(f"{path} is not a checkpoint: it has no schema", path=str(path))
    if values["schema"] > SCHEMA:
        raise CheckpointError(
            f"{path} has schema {values['schema']}, and this version reads up to {SCHEMA}: "
            "update edgeml-runtime",
            path=str(path),
        )
    return arrays, values


class Position(Callback):
    """Keeps the trainer's place: a resumed one starts with the next batch."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Know the next batch."""
        self._trainer.batch = batch + 1

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Know the next epoch; one that was stopped on the way is not over."""
        if self._trainer.stop_training and self._trainer.batch != self.params["steps"]:
            return
        self._trainer.epoch, self._trainer.batch = epoch + 1, 0


class Checkpoints(Callback):
    """Writes a checkpoint every so many steps, and after each epoch."""

    def __init__(self, trainer: Trainer, path: Path, steps: int) -> None:
        self._trainer, self._path, self._steps = trainer, path, steps
        self._done = 0

    @property
    def needs_batch_logs(self) -> bool:
        """Metrics are not read."""
        return False

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write, when it is time."""
        self._done += 1
        if self._done % self._steps == 0:
            self._trainer.checkpoint(self._path)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write."""
        self._trainer.checkpoint(self._path)
