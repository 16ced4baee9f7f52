"""Candidates against the model that came in, on the same examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import OptimizeError
from edgeml.evaluation import Estimate, score_difference
from edgeml.quantize._model import Model
from edgeml.quantize._quality import Metric, Outputs, divergence, metric_of, outputs_of
from edgeml.quantize._samples import Indices, Samples
from edgeml.quantize._session import open_model

Array = NDArray[Any]
_KEPT = 256 << 20  # bytes of the original's outputs that are kept


@dataclass(frozen=True)
class Scores:
    """What two models got on the same examples.

    Args:
        ours: The candidate's score of each, 0 to 1.
        theirs: The original's.
        divergence: How far the candidate's outputs are from the original's, the mean.
        groups: What each example belongs to.
    """

    ours: Array
    theirs: Array
    divergence: float
    groups: Sequence[Any] | None = None

    @property
    def drop(self) -> float:
        """Points that the candidate loses; negative when it is better."""
        return float(self.theirs.mean() - self.ours.mean()) * 100

    @property
    def likely_drop(self) -> float:
        """Points that it may lose on other examples: one standard error more."""
        gaps = self.theirs - self.ours
        return self.drop + 100 * float(gaps.std() / np.sqrt(max(len(gaps), 1)))

    def difference(self, seed: int = 0) -> Estimate:
        """Return the candidate's gain with its 95% interval, in points."""
        found = score_difference(self.ours * 100, self.theirs * 100, self.groups, seed=seed)
        if set(np.unique([self.ours, self.theirs])) <= {0.0, 1.0}:
            share = score_difference(self.ours, self.theirs, self.groups, seed=seed)
            low, high = (None if end is None else end * 100 for end in (share.low, share.high))
            return Estimate(share.value * 100, low, high, share.method, share.note)
        return found


class Judge:
    """Scores models beside the original.

    Args:
        original: The model that came in.
        samples: Examples.
        metric: As `optimize` takes it.
        config: Entries of the sessions' configuration.
    """

    def __init__(
        self, original: Model, samples: Samples, metric: Any,
        config: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.samples = samples
        self.config = config
        self.session = open_model(original, config=config, name="the model that came in")
        first = next(iter(outputs_of(self.session, samples.feeds([0]))))
        self.metric: Metric = metric_of(metric, original, samples, first)
        self._kept: dict[int, Outputs] = {}
        self._bytes = 0

    def reference(self, i: int) -> Outputs:
        """Return the original's outputs of an example."""
        found = self._kept.get(i)
        if found is None:
            found = next(iter(outputs_of(self.session, self.samples.feeds([i]))))
            size = sum(getattr(array, "nbytes", 0) for array in found.values())
            if self._bytes + size <= _KEPT:
                self._kept[i] = found
                self._bytes += size
        return found

    def scores(self, model: Model, indices: Indices) -> Scores:
        """Return what a model and the original get on some examples.

        Raises:
            OptimizeError: its outputs are not those of the original in name or rank.
        """
        session = open_model(model, config=self.config)
        ours, theirs, gaps = [], [], []
        for i, outputs in zip(
            map(int, indices), outputs_of(session, self.samples.feeds(indices)), strict=True
        ):
            right, label = self.reference(i), self.samples.label(i)
            _check_signature(outputs, right)
            ours.append(self.metric.score(outputs, right, label))
            theirs.append(self.metric.score(right, right, label))
            gaps.append(divergence(outputs, right))
        groups = self.samples.groups_of(indices)
        return Scores(np.array(ours), np.array(theirs), float(np.mean(gaps)), groups)


def _check_signature(outputs: Outputs, right: Outputs) -> None:
    if list(outputs) != list(right):
        raise OptimizeError(
            f"its outputs are {list(outputs)}: expected {list(right)}, as the model has that it is "
            "compared with"
        )
    for name, array in right.items():
        # Dimensions may depend on the data, such as the number of boxes that are left.
        if outputs[name].ndim != array.ndim:
            raise OptimizeError(
                f"output {name!r} has shape {outputs[name].shape}, expected {array.shape}"
            )
