"""Train the watch exercise classifier with PyTorch, in a virtual environment of its own.

    python tools/train_activity.py watch_dataset.npy activity.npz

Prints the accuracy over five subject-wise folds, then trains the net that is shipped on all
subjects but one, which stays for the demo's recording.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from _watch import HELD_OUT, Windows, load_windows, subjects_in_folds
from torch import nn

EPOCHS = 40
BATCH = 64


class Net(nn.Module):
    """Three strided 1-D convolutions, mean over time, one dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            [
                nn.Conv1d(6, 32, 5, stride=2, padding=2),
                nn.Conv1d(32, 64, 5, stride=2, padding=2),
                nn.Conv1d(64, 64, 3, stride=2, padding=1),
            ]
        )
        self.drop = nn.Dropout(0.4)
        self.dense = nn.Linear(64, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits [N, 7] of normalised windows [N, 6, T]."""
        for conv in self.convs:
            x = torch.relu(conv(x))
        return self.dense(self.drop(x.mean(-1)))


def augment(x: torch.Tensor) -> torch.Tensor:
    """Turn the watch a little on the wrist, scale and shift the signal, add noise; [N, 6, T]."""
    n = len(x)
    skew = torch.zeros(n, 3, 3)
    angles = torch.randn(n, 3) * 0.2
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -angles[:, 2], angles[:, 1], -angles[:, 0]
    turn = torch.matrix_exp(skew - skew.transpose(1, 2))
    x = torch.cat([turn @ x[:, :3], turn @ x[:, 3:]], 1)
    return x * (1 + 0.1 * torch.randn(n, 1, 1)) + 0.03 * torch.randn_like(x)


def train(data: Windows, seed: int = 0) -> tuple[Net, np.ndarray, np.ndarray]:
    """Return the net, and the mean and standard deviation of each channel."""
    torch.manual_seed(seed)
    mean, std = data.x.mean((0, 1)), data.x.std((0, 1))
    # Each sensor keeps one scale for its axes, or a turn of the watch would not be a rotation.
    std = np.repeat([std[:3].mean(), std[3:].mean()], 3).astype(np.float32)
    x = torch.from_numpy(data.x).transpose(1, 2).contiguous()
    y = torch.from_numpy(data.y)
    shift, scale = torch.from_numpy(mean)[:, None], torch.from_numpy(std)[:, None]
    net = Net()
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.02)
    steps = EPOCHS * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(x))[: len(x) // BATCH * BATCH].split(BATCH):
            logits = net((augment(x[batch]) - shift) / scale)
            loss = nn.functional.cross_entropy(logits, y[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval(), mean, std


def accuracy(net: Net, mean: np.ndarray, std: np.ndarray, data: Windows) -> float:
    x = torch.from_numpy((data.x - mean) / std).transpose(1, 2).contiguous()
    with torch.no_grad():
        return float((net(x).argmax(1).numpy() == data.y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="watch_dataset.npy of seglearn")
    parser.add_argument("output", help="the weights, as .npz")
    arguments = parser.parse_args()
    data = load_windows(arguments.dataset)
    scores = []
    for held_out in subjects_in_folds():
        test = np.isin(data.subject, held_out)
        scores.append(accuracy(*train(data.of(~test)), data.of(test)))
        print(f"subjects {held_out}: {scores[-1]:.3f} of {test.sum()} windows", flush=True)
    print(f"five subject-wise folds: mean {np.mean(scores):.3f}")
    test = data.subject == HELD_OUT
    net, mean, std = train(data.of(~test))
    own = accuracy(net, mean, std, data.of(test))
    print(f"shipped net on subject {HELD_OUT}, not trained on: {own:.3f}")
    weights = {name: values.numpy() for name, values in net.state_dict().items()}
    np.savez(arguments.output, mean=mean, std=std, **weights)


if __name__ == "__main__":
    main()
