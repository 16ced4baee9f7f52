"""A trainer as a checkpoint, and back."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.errors import CheckpointError
from edgeml.graph._infer import onnx
from edgeml.graph._onnx import read_proto
from edgeml.layers._config import deserialize, serialize
from edgeml.training._checkpoint import read_checkpoint, write_checkpoint
from edgeml.training._select import untied

if TYPE_CHECKING:
    from edgeml.training._trainer import Trainer


def write(trainer: Trainer, path: Path) -> None:
    """Write everything that `read` needs; see `Trainer.checkpoint`."""
    engine = trainer._engine
    if engine is None:
        raise CheckpointError("there is nothing to write yet: no step was done")
    arrays, values = engine.checkpoint()
    content = trainer._proto.SerializeToString()
    loss = trainer._given["loss"]
    values |= {
        "optimizer": serialize(trainer.optimizer), "batch_norm": trainer.batch_norm,
        "loss": None if callable(loss) and not hasattr(loss, "get_config") else serialize(loss),
        "trainable": trainer.parameters, "from_logits": trainer.from_logits,
        "metrics": [serialize(metric) for metric in trainer.metrics],
        "epoch": trainer.epoch, "batch": trainer.batch, "batch_size": trainer.batch_size,
        "memory_limit": trainer.memory_limit, "accumulation": trainer._accumulation,
        "lora": None if trainer._adapted is None else trainer._adapted.options,
        "model": hashlib.sha256(content).hexdigest(), "others": list(engine.state.others),
    }  # fmt: skip
    write_checkpoint(path, {**arrays, "model": np.frombuffer(content, np.uint8)}, values)


def read(cls: type[Trainer], path: Path, model: Any, loss: Any, options: Any) -> Trainer:
    """Return the trainer of a checkpoint; see `Trainer.resume`."""
    arrays, values = read_checkpoint(path)
    try:
        content = arrays.pop("model").tobytes()
        _check_model(path, content, model, values["model"])
        loss = loss if loss is not None else deserialize(values["loss"])
        if loss is None:
            raise CheckpointError(
                f"{path}: its loss is a function, which a file cannot hold: give it as "
                "Trainer.resume(path, loss=…)"
            )
        lora = values.get("lora")
        trainer = cls(
            onnx().load_from_string(content), loss=loss,
            optimizer=deserialize(values["optimizer"]),
            trainable="all" if lora else values["trainable"],
            metrics=deserialize(values["metrics"]), batch_size=values["batch_size"],
            batch_norm=values["batch_norm"], seed=values["seed"],
            memory_limit=values["memory_limit"], from_logits=values["from_logits"], **options,
        )  # fmt: skip
        if lora:
            trainer.enable_lora(**lora)
        trainer._accumulation = values.get("accumulation", trainer._accumulation)
        trainer._start(values["others"]).restore(arrays, values)
        trainer.epoch, trainer.batch = values["epoch"], values["batch"]
    except KeyError as error:
        raise CheckpointError(f"{path} is damaged: {error} is missing", path=str(path)) from error
    return trainer


def _check_model(path: Path, content: bytes, model: Any, expected: str) -> None:
    if hashlib.sha256(content).hexdigest() != expected:
        raise CheckpointError(f"{path} is damaged: its model is not what was written")
    if model is not None:
        given = hashlib.sha256(untied(read_proto(model)).SerializeToString()).hexdigest()
        if given != expected:
            raise CheckpointError(f"{path} is a checkpoint of another model", path=str(path))
