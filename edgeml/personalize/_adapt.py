"""Heads that train the last blocks of the backbone, too: as they are, or by low-rank changes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeml import ops
from edgeml.errors import ConfigError
from edgeml.graph import emit, from_onnx, to_onnx
from edgeml.graph._infer import onnx
from edgeml.losses import CategoricalCrossentropy
from edgeml.optimizers import AdamW
from edgeml.optimizers.schedules import CosineDecay
from edgeml.personalize._adapt_blocks import through, with_values
from edgeml.personalize._head import Array, Head, Space, unit
from edgeml.training import Trainer

_KERNEL, _BIAS = "personal/kernel", "personal/bias"


class LastBlocks(Head):
    """Trains what follows the cut of a backbone, and a linear classifier on it.

    It starts as nearest class means of the features as they were. Each step takes examples by
    their weights, every class as often; those of the old classes, or of others, that are in the
    store keep what the blocks knew (Pellegrini et al., 2020: latent replay). With a rank, the
    blocks' weights stay, and changes of that rank are trained and added in the end (Hu et al.,
    2021: LoRA), which takes less memory and moves less far.

    Args:
        rank: Rank of the changes; 0 trains the weights themselves.
        steps: Steps of AdamW.
        rate: Its highest learning rate; None: 0.003, or 0.01 for low ranks.
        batch: Examples in a step; no more than there are.
        dropout: Share of the features that are left out in training, 0 to below 1.
        smoothing: How far the targets are moved towards equal probabilities.
        seed: Of the choice of examples, and of the low-rank changes.

    Attributes:
        blocks: ONNX file of what follows the cut, as `Backbone.blocks`; a `Learner` sets it.

    Raises:
        ConfigError: a setting is out of range, or there are no blocks.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import Backbone, LastBlocks
        >>> backbone = Backbone("edgeml:activity_watch_int8.onnx", cut="auto")
        >>> head = LastBlocks(steps=20)
        >>> head.blocks = backbone.blocks
        >>> rng = np.random.default_rng(0)
        >>> windows = [rng.normal(0, 1 + 9 * (i % 2), (100, 6)) for i in range(12)]
        >>> x = np.stack([backbone(window) for window in windows])
        >>> head.fit(x, ["slow", "fast"] * 6).predict(x[:2])
        ['slow', 'fast']
    """

    max_folds = 3
    alone = 0  # one training for each example would take too long

    def __init__(
        self, rank: int = 0, steps: int = 300, rate: float | None = None, batch: int = 128,
        dropout: float = 0.4, smoothing: float = 0.1, seed: int = 0,
    ) -> None:  # fmt: skip
        if rank < 0 or steps < 1 or batch < 1 or not 0 <= dropout < 1 or not 0 <= smoothing < 1:
            raise ConfigError(
                "LastBlocks: expected rank of 0 or more, steps and batch of at least 1, dropout "
                f"and smoothing of 0 to below 1; received {rank!r}, {steps!r}, {batch!r}, "
                f"{dropout!r}, {smoothing!r}"
            )
        self.rank = rank
        self.steps = steps
        self.rate = rate
        self.batch = batch
        self.dropout = dropout
        self.smoothing = smoothing
        self.seed = seed
        self.name = "lora" if rank else "last-blocks"
        self._trained: bytes | None = None
        self._layer: tuple[Array, Array] = (np.zeros((0, 0)), np.zeros(0))

    def _before(self) -> bytes | None:
        return self._trained or self.blocks

    def _taught(self, x: Array) -> Array:
        return x

    def _after(self, x: Array) -> Array:
        return self._inner(x)

    def _learn(self, x: Array, y: Array, w: Array, folds: Array) -> tuple[Array, Array]:
        check_blocks(self.name, self.blocks)
        return super()._learn(x, y, w, folds)

    def _learn_part(self, x: Array, y: Array, w: Array, known: int) -> None:
        assert self.blocks is not None
        before = through(self.blocks, x)
        space = Space.of(before, y, w, known)
        z = space(before)
        columns = int(y.max()) + 1
        hot = np.eye(columns, dtype=np.float32)[y]
        share = (w / w.sum())[:, None] * hot
        means = z.T @ share / np.maximum(share.sum(0), 1e-12)
        values = self._train(x, hot, w / w.sum(), space, 8 * means)
        self._layer = (values.pop(_KERNEL), values.pop(_BIAS))
        self._trained = with_values(self.blocks, values)
        after = unit(through(self._trained, x) - space.centre)
        anchors = [np.average(after[y == c], axis=0, weights=w[y == c]) for c in range(known)]
        self._space = Space(space.centre, unit(np.stack(anchors)))

    def _train(
        self, x: Array, hot: Array, chance: Array, space: Space, kernel: Array
    ) -> dict[str, Array]:
        """Train blocks and classifier; return their values by name."""
        rng = np.random.default_rng(self.seed)
        rate = self.rate or (0.01 if self.rank else 0.003)
        trainer = Trainer(
            self._whole(space, kernel),
            loss=CategoricalCrossentropy(from_logits=True, label_smoothing=self.smoothing),
            optimizer=AdamW(CosineDecay(rate, self.steps), weight_decay=0.02),
            from_logits=True, seed=self.seed, threads=1 if self.rest else None,
        )  # fmt: skip
        if self.rank:
            trainer.enable_lora(self.rank)
        p = chance.astype(np.float64) / chance.sum(dtype=np.float64)
        for _ in range(self.steps):
            start = time.monotonic()
            rows = rng.choice(len(x), min(self.batch, len(x)), p=p)
            trainer.step(x[rows], hot[rows])
            if self.rest:
                time.sleep((time.monotonic() - start) * self.rest / (1 - self.rest))
        with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
            file = Path(folder) / "trained.onnx"
            trainer.export(file)
            proto = onnx().load(str(file))
        return {t.name: onnx().numpy_helper.to_array(t) for t in proto.graph.initializer}

    def _whole(self, space: Space, kernel: Array) -> Any:
        """Return blocks and classifier as one ModelProto."""
        graph = from_onnx(onnx().load_from_string(self.blocks))
        # A dropout of the backbone would come before the classifier's, and bend directions.
        graph.replace({n.output: n.x for n in graph.nodes if n.op == "Dropout"})
        with graph:
            z, _ = space.trace(graph.outputs.pop("inner"))
            z = emit("Dropout", z, np.float32(self.dropout))
            logits = ops.matmul(z, graph.initializer(_KERNEL, kernel.astype(np.float32)))
            bias = graph.initializer(_BIAS, np.zeros(kernel.shape[1], np.float32))
            graph.outputs["logits"] = logits + bias
        return to_onnx(graph, name="personal")

    def _scores(self, x: Array) -> Array:
        kernel, bias = self._layer
        logits = self._space(x) @ kernel + bias
        powers = np.exp(logits - logits.max(1, keepdims=True))
        found: Array = powers / powers.sum(1, keepdims=True)
        return found.astype(np.float32)

    def _trace_scores(self, z: Any) -> Any:
        kernel, bias = self._layer
        return ops.softmax(ops.matmul(z, kernel) + bias)


def check_blocks(method: Any, blocks: bytes | None) -> None:
    """Check that there is something to train.

    Raises:
        ConfigError: the backbone has no cut.
    """
    if blocks is None:
        raise ConfigError(
            f"{method} trains what follows a cut of the backbone, and there is none: pass "
            'Backbone(model, cut="auto")'
        )
