"""The models that the training benchmark times: ours, and the same in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

import edgeml
from edgeml import layers

CLASSES = 10
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """One model: how to build it on both sides, the shape of an example, and the targets.

    ``targets`` are the smallest ratios to PyTorch's step time, by batch.
    """

    name: str
    ours: Callable[[], edgeml.Model]
    theirs: Callable[[], nn.Module]
    shape: tuple[int, ...]
    targets: dict[int, float]
    channels: bool = False  # whether PyTorch wants the channels first
    integers: int = 0  # of tokens, when inputs are integers


def mlp() -> edgeml.Model:
    return edgeml.Sequential([
        edgeml.Input((64,)), layers.Dense(128, activation="relu"),
        layers.Dense(128, activation="relu"), layers.Dense(CLASSES),
    ])  # fmt: skip


def torch_mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, CLASSES)
    )


def cnn() -> edgeml.Model:
    return edgeml.Sequential([
        edgeml.Input((28, 28, 1)),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Flatten(), layers.Dense(CLASSES),
    ])  # fmt: skip


def torch_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, CLASSES),
    )  # fmt: skip


_BLOCKS = ((32, 1), (64, 2), (64, 1), (128, 2))  # filters, stride


def separable(frozen: bool = False) -> edgeml.Model:
    stack: list[Any] = [
        edgeml.Input((96, 96, 3)),
        layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
    ]
    for filters, stride in _BLOCKS:
        depthwise = layers.DepthwiseConv2D(3, strides=stride, padding="same", activation="relu")
        depthwise.trainable = not frozen
        stack += [depthwise, layers.Conv2D(filters, 1, activation="relu")]
    return edgeml.Sequential([*stack, layers.GlobalAveragePooling2D(), layers.Dense(CLASSES)])


def torch_separable(frozen: bool = False) -> nn.Module:
    stack: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU()]
    channels = 16
    for filters, stride in _BLOCKS:
        depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels)
        depthwise.requires_grad_(not frozen)
        stack += [depthwise, nn.ReLU(), nn.Conv2d(channels, filters, 1), nn.ReLU()]
        channels = filters
    return nn.Sequential(
        *stack, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES)
    )


def recurrent(kind: str) -> edgeml.Model:
    layer = getattr(layers, kind)(64)
    return edgeml.Sequential([edgeml.Input((100, 6)), layer, layers.Dense(CLASSES)])


class TorchRecurrent(nn.Module):
    """A recurrent layer and a dense one on its last output."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.rnn = getattr(nn, kind)(6, 64, batch_first=True)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.head(self.rnn(x)[0][:, -1])


def transformer() -> edgeml.Model:
    return edgeml.Sequential([
        edgeml.Input((64,), dtype="int64"), layers.TokenAndPositionEmbedding(256, 64, 64),
        layers.TransformerEncoder(128, 4), layers.GlobalAveragePooling1D(), layers.Dense(CLASSES),
    ])  # fmt: skip


class TorchTransformer(nn.Module):
    """Token and place embedding, one encoder layer, mean, dense."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(256, 64), nn.Embedding(64, 64)
        self.encoder = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        y = self.tokens(x) + self.places.weight[: x.shape[1]]
        return self.head(self.encoder(y).mean(1))


CASES = [
    Case("MLP 64-128-128-10", mlp, torch_mlp, (64,), {1: 1.5, 8: 1.1, 32: 2.5}),
    Case("CNN 28x28, conv16-conv32", cnn, torch_cnn, (28, 28, 1), {1: 1.5, 8: 1.1, 32: 1.0}, True),
    Case("depthwise-separable CNN 96x96", separable, torch_separable, (96, 96, 3),
         {8: 1.1, 32: 0.4}, True),
    Case("the same, depthwise kernels frozen", lambda: separable(True),
         lambda: torch_separable(True), (96, 96, 3), {8: 1.1, 32: 1.0}, True),
    *(Case(f"{kind} 100 steps, 6 to 64", lambda k=kind: recurrent(k),  # type: ignore[misc]
           lambda k=kind: TorchRecurrent(k), (100, 6), {1: 1.5, 8: 1.1, 32: 1.2})  # type: ignore[misc]
      for kind in ("LSTM", "GRU")),
    Case("Transformer encoder, 64 tokens, width 64", transformer, TorchTransformer, (64,),
         {1: 1.5, 8: 1.1, 32: 1.0}, integers=256),
]  # fmt: skip
