"""Batches that fit into a trainer's memory limit, their gradients accumulated."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import numpy as np

from edgeml import optimizers
from edgeml.errors import TrainingError
from edgeml.training._engine import Engine
from edgeml.training._inputs import Batch, Data
from edgeml.training._memory import largest_batch, step_bytes

if TYPE_CHECKING:
    from edgeml.training._trainer import Trainer

_log = logging.getLogger("edgeml.training")


def bytes_of(engine: Engine, batch: Batch) -> int:
    """Return about how many bytes the process grows with an engine's steps on such batches."""
    return step_bytes(engine.graph(batch), engine.state)


def within_memory(trainer: Trainer, data: Data, size: int) -> Data:
    """Return the data in batches that fit, and accumulate gradients over as many."""
    assert trainer.memory_limit is not None
    arrays, targets, weights = data.head()

    def predict(count: int) -> int:
        few = (
            {name: np.resize(a, (count, *a.shape[1:])) for name, a in arrays.items()},
            [np.resize(y, (count, *y.shape[1:])) for y in targets],
            [None if w is None else np.resize(w, (count, *w.shape[1:])) for w in weights],
        )
        trainer._check_labels_shape(few)
        states = [str(key) for key in trainer._trace(few, True).states]
        return bytes_of(trainer._new_engine(states, accumulating(trainer, size // count)), few)

    fitting, tried = largest_batch(size, trainer.memory_limit, predict)
    if fitting < size and data.streamed:
        raise TrainingError(
            f"batches of {size} take more than memory_limit: let the dataset yield batches of "
            f"{fitting}"
        )
    if fitting < size:
        _log.warning(
            "batches of %d would take more than %d bytes: steps of %d, whose gradients are "
            "accumulated (tried %s)",
            size, trainer.memory_limit, fitting, ", ".join(map(str, tried)),
        )  # fmt: skip
    _accumulate(trainer, size // fitting, data.head())
    return dataclasses.replace(data, batch_size=fitting) if fitting < size else data


def accumulating(trainer: Trainer, parts: int) -> optimizers.Optimizer:
    """Return the optimizer for batches that come in `parts`."""
    steps = trainer._accumulation * parts
    if steps == (trainer.optimizer.gradient_accumulation_steps or 1):
        return trainer.optimizer
    found = dataclasses.replace(trainer.optimizer, gradient_accumulation_steps=steps)
    found.iterations = trainer.optimizer.iterations
    return found


def _accumulate(trainer: Trainer, parts: int, batch: Batch) -> None:
    """Change over to batches in `parts`; what was learned is kept."""
    optimizer, old = accumulating(trainer, parts), trainer._engine
    if optimizer is trainer.optimizer:
        return
    trainer.optimizer, trainer._engine = optimizer, None
    if old is not None:
        engine = trainer._prepare(batch)
        engine.state.restore({**engine.state.arrays(), **old.state.arrays()})
