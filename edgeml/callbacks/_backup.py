"""Training that survives its process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from edgeml.callbacks._base import Callback, Logs
from edgeml.errors import CheckpointError, ConfigError


class BackupAndRestore(Callback):
    """Backs training up, and goes on with it when the same program starts again.

    A run that was interrupted, even by ``kill -9``, and its continuation end with the same weights,
    bit for bit, as one that was not: parameters, optimizer state, running statistics, random
    numbers and the place in the data are restored. It takes the same model, data and arguments of
    `fit`. The logs of the first epoch are those of the batches after the backup; other callbacks
    start anew.

    Args:
        backup_dir: Folder for the backup, of this training alone.
        save_freq: "epoch", or a number of steps.
        double_checkpoint: Whether to keep the backup before the last one, too. A backup is written
            whole or not at all; this is for disks that lose files.
        delete_checkpoint: Whether the backup is deleted when training ends without an error.

    Raises:
        ConfigError: `save_freq` is neither.
        CheckpointError: in training: the backup is damaged, or of another model.

    Example:
        >>> from edgeml.callbacks import BackupAndRestore
        >>> callbacks = [BackupAndRestore("backup", save_freq=100)]
    """

    def __init__(
        self, backup_dir: str | os.PathLike[str], save_freq: str | int = "epoch",
        double_checkpoint: bool = False, delete_checkpoint: bool = True,
    ) -> None:  # fmt: skip
        if not os.fspath(backup_dir):
            raise ConfigError("backup_dir: expected the name of a folder, received an empty one")
        if save_freq != "epoch" and (not isinstance(save_freq, int) or save_freq < 1):
            raise ConfigError(
                f"save_freq: expected 'epoch' or a number of steps, received {save_freq!r}"
            )
        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint, self.delete_checkpoint = double_checkpoint, delete_checkpoint
        self._path = self.backup_dir / "backup.npz"
        self._before = self.backup_dir / "backup-before.npz"
        self._epoch = self._batch = self._steps = 0

    @property
    def needs_batch_logs(self) -> bool:
        """Metrics are not read."""
        return False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Take over the backup, when there is one."""
        self._epoch, self._batch = self.params["start"]
        self._steps = 0
        if self._path.exists() or self._before.exists():
            arrays, values = self._read()
            self._restore(arrays, values)
            self._epoch, self._batch = values["epoch"], values["batch"]
            self.params["start"] = self._epoch, self._batch  # type: ignore[index]

    def _read(self) -> Any:
        from edgeml.training._checkpoint import read_checkpoint

        try:
            return read_checkpoint(self._path)
        except CheckpointError:
            if not self._before.exists():
                raise
            return read_checkpoint(self._before)

    def _restore(self, arrays: dict[str, Any], values: dict[str, Any]) -> None:
        engine, fixed = self.model._engine, self._fixed()
        own = self._described()
        if values["parameters"] != own:
            differ = [row for row in (*values["parameters"], *own)
                      if (row in own) != (row in values["parameters"])]  # fmt: skip
            raise CheckpointError(
                f"{self._path} is a backup of another model or optimizer ({differ[0]!r}): give "
                "this training a folder of its own, or delete it",
                path=str(self._path),
            )
        engine.restore(arrays, values)
        changed = False
        for i, parameter in enumerate(fixed):
            if not np.array_equal(parameter.value, arrays[f"fixed/{i}"]):
                parameter.value, changed = arrays[f"fixed/{i}"], True
        if changed:
            engine.forget()

    def _fixed(self) -> list[Any]:
        """Return the parameters of the model that training does not change."""
        state = self.model._engine.state
        held = {id(key) for key in (*state.keys, *state.others)}
        return [p for p in getattr(self.model, "weights", ()) if id(p) not in held]

    def _described(self) -> list[list[Any]]:
        """Return the name and the shape of all that is kept, as JSON has it."""
        state = self.model._engine.state
        keys = [*state.keys, *state.others, *self._fixed()]
        rows = [[str(getattr(key, "path", key)), list(self._shape(key))] for key in keys]
        return [*rows, *([name, [state.size]] for name in sorted(state.vectors))]

    def _shape(self, key: Any) -> Any:
        state = self.model._engine.state
        return key.shape if hasattr(key, "shape") else state.view(key).shape

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Know the place."""
        if epoch != self._epoch:
            self._epoch, self._batch = epoch, 0

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write, when it is time."""
        self._steps += batch + 1 - self._batch
        self._batch = batch + 1
        # After an epoch's last batch comes the backup of its end.
        if self._is_due() and self._batch != self.params["steps"]:
            self._write()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write, when it is time; an epoch that was stopped on the way is not over."""
        steps = self.params["steps"]
        if steps is None or self._batch >= steps:
            self._epoch, self._batch = epoch + 1, 0
        if self.save_freq == "epoch" or self._is_due():
            self._write()

    def _is_due(self) -> bool:
        return isinstance(self.save_freq, int) and self._steps >= self.save_freq

    def _write(self) -> None:
        from edgeml.training._checkpoint import write_checkpoint

        self._steps = 0
        arrays, values = self.model._engine.checkpoint()
        arrays |= {f"fixed/{i}": p.value for i, p in enumerate(self._fixed())}
        values |= {"epoch": self._epoch, "batch": self._batch, "parameters": self._described()}
        if self.double_checkpoint and self._path.exists():
            os.replace(self._path, self._before)
        write_checkpoint(self._path, arrays, values)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Delete the backup, unless training was ended by an error."""
        over = self._epoch >= self.params["epochs"] or self.model.stop_training
        if self.delete_checkpoint and over:
            self._path.unlink(missing_ok=True)
            self._before.unlink(missing_ok=True)
            for part in self.backup_dir.glob(f".{self._path.name}.*"):  # of a write that was killed
                part.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # somebody else's files, or a folder not made yet
                self.backup_dir.rmdir()
