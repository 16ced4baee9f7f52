"""The training loop, for models of layers and for ONNX files alike."""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeml.errors import NonFinite, TrainingError
from edgeml.graph import Graph, to_onnx
from edgeml.optimizers import Optimizer
from edgeml.training._inputs import Batch, check_finite
from edgeml.training._several import several
from edgeml.training._state import State
from edgeml.training._step import Step, Traced, build_step, path_of, scalars_of, slot_names

Array = np.ndarray[Any, Any]
Trace = Callable[[Batch, bool], Traced]

_SESSIONS = 5  # several batches, a full and the last partial one, to train and to evaluate


@dataclass
class Result:
    """What a model made of a batch; the arrays are overwritten by the next step.

    Args:
        loss: The loss.
        outputs: The model's outputs.
        losses: The loss of each output, by name, when there are several.
        masks: Which steps of an output count, by its number, where it is masked.
    """

    loss: float
    outputs: list[Array]
    losses: dict[str, float]
    masks: dict[int, Array]

    @classmethod
    def of(cls, results: Mapping[str, Array]) -> Result:
        """Return the result among what a step returned."""
        kinds: dict[str, dict[str, Array]] = {"output": {}, "loss": {}, "mask": {}}
        for key, value in results.items():
            kind, _, name = key.partition("/")
            if name:
                kinds[kind][name] = value
        return cls(
            results["loss"].item(), list(kinds["output"].values()),
            {name: value.item() for name, value in kinds["loss"].items()},
            {int(i): value for i, value in kinds["mask"].items()},
        )  # fmt: skip


class Engine:
    """Runs steps on a state; compiles one for each shape of batch.

    Args:
        trace: ``trace(batch, training)`` returns the forward pass for batches like this.
        trainable: Start values of what gradients change, by key.
        others: Start values of running statistics, by key.
        optimizer: Makes new parameters from gradients; it counts the iterations.
        seed: Seed of the random operators.
        threads: Threads of one step; None is all cores.
        delegate: Where steps run.
    """

    def __init__(
        self, trace: Trace, trainable: Mapping[Hashable, Array], others: Mapping[Hashable, Array],
        optimizer: Optimizer, *, seed: int = 0, threads: int | None = None, delegate: str = "cpu",
    ) -> None:  # fmt: skip
        if not trainable:
            raise TrainingError("there is nothing to train: all parameters are frozen")
        self.optimizer = optimizer
        self.state = State(trainable, slot_names(optimizer), others)
        vector = self.state.vector("parameters")
        for name, value in optimizer.start(vector).items():
            self.state.vector(name)[...] = value
        if optimizer.use_ema:  # of an optimizer that has counted steps already
            self.state.vector("average")[...] = vector
        self.seed = seed
        self._trace = trace
        self._threads = threads
        self._delegate = delegate
        self._steps: OrderedDict[Any, Step] = OrderedDict()
        self._decay = None
        chosen = [float(optimizer.decays(path_of(key))) for key in self.state.keys]
        if not all(chosen):
            self._decay = np.repeat(np.array(chosen, np.float32), self.state.sizes)
        self.micro_step = 0

    def train(self, batch: Batch, number: int = 0) -> Result:
        """Do one step; return what the model made of the batch before it.

        Raises:
            NonFinite: data, loss or gradient hold NaN or infinity; the state is as it was.
        """
        return self.train_all([batch], number)[0]

    def train_all(self, batches: Sequence[Batch], number: int = 0) -> list[Result]:
        """Do a step on each batch, in one call of the runtime; the batches are of one shape.

        Raises:
            NonFinite: as of `train`; the state is that before the first batch.
        """
        for i, batch in enumerate(batches):
            check_finite(batch, number + i)
        scalars, iterations = self._scalars(len(batches))
        feeds = [feeds_of(batch) for batch in batches]
        step = self._compiled(batches[0], feeds[0], True, len(batches))
        if len(batches) == 1:
            results = step.run(feeds[0], scalars[0])
            each = [results]
        else:
            results = step.run(_stacked(feeds), {k: [s[k] for s in scalars] for k in scalars[0]})
            each = [{k: a[i] for k, a in results.items()} for i in range(len(batches))]
        for i, found in enumerate(each):
            _check_result(found, number + i, number)
        self.state.flip()
        self.micro_step += len(batches)
        self.optimizer.iterations = iterations
        return [Result.of(found) for found in each]

    def _scalars(self, count: int) -> tuple[list[dict[str, Any]], int]:
        """Return what changes from step to step, and the optimizer's iterations after them."""
        optimizer, iterations = self.optimizer, self.optimizer.iterations
        found = []
        for micro_step in range(self.micro_step, self.micro_step + count):
            apply = (micro_step + 1) % (optimizer.gradient_accumulation_steps or 1) == 0
            changing: dict[str, Any] = dict(scalars_of(optimizer, iterations + 1))
            found.append(changing | {"seed": (self.seed & 0xFFFFFFFF, micro_step), "apply": apply})
            iterations += apply
        return found, iterations

    def prepare(self, batch: Batch) -> None:
        """Compile the step for batches like this; what cannot be trained is known then.

        Raises:
            NoGradient: an operator on the way to a parameter has no gradient rule.
        """
        self._compiled(batch, feeds_of(batch), True)

    def evaluate(self, batch: Batch, number: int = 0) -> Result:
        """Return what the model makes of a batch, without training.

        Raises:
            NonFinite: the data holds NaN or infinity.
        """
        check_finite(batch, number, "batch to evaluate")
        feeds = feeds_of(batch)
        results = self._compiled(batch, feeds, False).run(feeds, {"seed": (0, 0)})
        return Result.of(results)

    def proto(self, batch: Batch, training: bool = True) -> Any:
        """Return the ModelProto of the step for batches like this."""
        return to_onnx(self.graph(batch, training), name="step")

    def graph(self, batch: Batch, training: bool = True) -> Graph:
        """Return the graph of the step for batches like this."""
        return build_step(
            self._trace(batch, training), self.state, self.optimizer if training else None,
            decay=self._decay,
        )  # fmt: skip

    def _compiled(
        self, batch: Batch, feeds: Mapping[str, Array], training: bool, count: int = 1
    ) -> Step:
        key = (training, count, *((name, a.shape, a.dtype) for name, a in feeds.items()))
        found = self._steps.get(key)
        if found is None:
            while len(self._steps) >= _SESSIONS:
                self._steps.popitem(last=False)
            proto = self.proto(batch, training)
            found = self._steps[key] = Step(
                proto if count == 1 else several(proto, self.state, count), self.state,
                threads=self._threads, delegate=self._delegate,
            )  # fmt: skip
        self._steps.move_to_end(key)
        return found

    def take_over(self, before: Engine | None) -> None:
        """Go on with another engine's optimizer state, when both train the same parameters.

        Else the optimizer starts anew: what it counted would not fit a state of zeros.
        """
        if before is None or before.state.keys != self.state.keys:
            self.optimizer.iterations = 0
            return
        old = before.state.arrays()
        for name, array in self.state.arrays().items():
            if name.startswith("vector/") and name != "vector/parameters" and name in old:
                array[...] = old[name]
        self.micro_step, self.seed = before.micro_step, before.seed

    def take_average(self) -> None:
        """With EMA, training ends with the averaged weights, as Keras's does."""
        if self.optimizer.use_ema and self.optimizer.iterations:
            self.state.vector("parameters")[...] = self.state.vector("average")
            self.state.version += 1

    def forget(self) -> None:
        """Drop what is compiled: what steps take for constant has changed."""
        self._steps.clear()

    def checkpoint(self) -> tuple[dict[str, Array], dict[str, Any]]:
        """Return (arrays, values) from which `restore` continues bit for bit."""
        values = {"iterations": self.optimizer.iterations, "micro_step": self.micro_step,
                  "seed": self.seed}  # fmt: skip
        return {name: array.copy() for name, array in self.state.arrays().items()}, values

    def restore(self, arrays: Mapping[str, Array], values: Mapping[str, Any]) -> None:
        """Continue from what `checkpoint` returned."""
        self.state.restore(arrays)
        self.optimizer.iterations = int(values["iterations"])
        self.micro_step = int(values["micro_step"])
        self.seed = int(values["seed"])


def feeds_of(batch: Batch) -> dict[str, Array]:
    """Return a batch as the step's inputs."""
    arrays, targets, weights = batch
    feeds = dict(arrays)
    feeds |= {f"target/{i}": y for i, y in enumerate(targets)}
    return feeds | {f"sample_weight/{i}": w for i, w in enumerate(weights) if w is not None}


def _stacked(feeds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    return {name: np.stack([feed[name] for feed in feeds]) for name in feeds[0]}


def _check_result(results: Mapping[str, Array], number: int, first: int) -> None:
    loss = float(results["loss"])
    if math.isfinite(loss) and math.isfinite(results["gradient_norm"]):
        return
    what = "loss" if not math.isfinite(loss) else "gradient"
    raise NonFinite(
        f"the {what} of batch {number} is not finite (loss {loss}): training stopped, the weights "
        f"are those before {'this batch' if number == first else f'batch {first}'}. Try a lower "
        "learning rate, clip gradients (optimizer's global_clipnorm), or scale the inputs",
        batch=number, loss=loss,
    )  # fmt: skip


def fresh(optimizer: Optimizer) -> Optimizer:
    """Return a copy of an optimizer that has not counted a step."""
    found = copy.copy(optimizer)
    found.iterations = 0
    return found


def weighted_total(losses: Sequence[Any], weights: Sequence[float]) -> Any:
    """Return the weighted sum of the outputs' losses."""
    total = None
    for loss, weight in zip(losses, weights, strict=True):
        term = loss if weight == 1.0 else loss * weight
        total = term if total is None else total + term
    return total
