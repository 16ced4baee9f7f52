"""Networks that PyTorch exported: our gradients of all parameters are PyTorch's."""

import io
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the oracles are not installed: make oracles")

import onnx  # noqa: E402
from torch import nn  # noqa: E402

from edgeml.training import Trainer  # noqa: E402


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.a, self.b = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.down = nn.Conv2d(8, 12, 1, stride=2)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = torch.relu(self.bn(self.stem(x)))
        x = torch.relu(x + self.b(torch.relu(self.a(x))))
        x = nn.functional.max_pool2d(x, 3, 2, 1)
        return self.fc(self.down(x).mean((2, 3)))


class InvertedResidual(nn.Module):
    """Expansion, depthwise, squeeze and excite, projection."""

    def __init__(self):
        super().__init__()
        self.expand, self.project = nn.Conv2d(4, 12, 1), nn.Conv2d(12, 4, 1)
        self.depthwise = nn.Conv2d(12, 12, 5, padding=2, groups=12)
        self.squeeze, self.excite = nn.Conv2d(12, 3, 1), nn.Conv2d(3, 12, 1)
        self.fc = nn.Linear(4, 5)

    def forward(self, x):
        y = nn.functional.hardswish(self.expand(x))
        y = nn.functional.silu(self.depthwise(y))
        scale = nn.functional.adaptive_avg_pool2d(y, 1)
        scale = nn.functional.hardsigmoid(self.excite(torch.relu(self.squeeze(scale))))
        return self.fc((x + self.project(y * scale)).mean((2, 3)))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc, self.mid = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.dec, self.out = nn.Conv2d(12, 6, 3, padding=1), nn.Conv2d(6, 3, 1)

    def forward(self, x):
        skip = torch.relu(self.enc(x))
        deep = torch.relu(self.mid(nn.functional.max_pool2d(skip, 2)))
        y = torch.cat([self.up(deep), skip], 1)
        y = nn.functional.interpolate(torch.relu(self.dec(y)), scale_factor=2.0, mode="bilinear")
        return nn.functional.avg_pool2d(self.out(y), 2)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn = getattr(nn, kind)(4, 6, num_layers=2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        return self.fc(self.rnn(x)[0].mean(1))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True,
                                                  activation="gelu")  # fmt: skip
        self.fc = nn.Linear(8, 5)

    def forward(self, tokens):
        return self.fc(self.encoder(self.embed(tokens)).mean(1))


class GroupNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8)
        self.instance, self.fc = nn.InstanceNorm2d(8, affine=True), nn.Linear(8, 5)

    def forward(self, x):
        y = nn.functional.leaky_relu(self.norm(self.conv(x)), 0.1)
        return self.fc((y * torch.sigmoid(self.instance(y))).amax((2, 3)))


rng = np.random.default_rng(0)
IMAGE = rng.standard_normal((3, 3, 10, 10)).astype(np.float32)
NETS = {
    "residual": (Residual, IMAGE),
    "inverted": (InvertedResidual, rng.standard_normal((3, 4, 9, 9)).astype(np.float32)),
    "unet": (UNet, rng.standard_normal((2, 2, 8, 8)).astype(np.float32)),
    "lstm": (lambda: Recurrent("LSTM"), rng.standard_normal((3, 7, 4)).astype(np.float32)),
    "gru": (lambda: Recurrent("GRU"), rng.standard_normal((3, 7, 4)).astype(np.float32)),
    "transformer": (Transformer, rng.integers(0, 20, (3, 6))),
    "groupnorm": (GroupNorm, IMAGE),
}


def _export(net, x):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.from_numpy(x),), buffer, input_names=["x"], output_names=["y"],
            opset_version=17, dynamo=False, dynamic_axes={"x": {0: "batch"}},
            do_constant_folding=isinstance(net, Recurrent),
        )  # fmt: skip
    return onnx.load_from_string(buffer.getvalue())


@pytest.mark.parametrize("name", NETS)
def test_gradients_of_all_parameters_are_pytorchs(name):
    torch.manual_seed(0)
    build, x = NETS[name]
    net = build().eval()
    y = rng.integers(0, 5, len(x))
    if name == "unet":
        y = rng.integers(0, 3, (2, 8, 8))
    trainer = Trainer(_export(net, x), loss="sparse_categorical_crossentropy", trainable="all")
    found = trainer.gradients(x, y)
    loss = nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    expected = {n: p.grad.numpy() for n, p in net.named_parameters() if p.grad is not None}
    assert trainer.evaluate(x, y)["loss"] == pytest.approx(loss.item(), rel=1e-5)
    if name in ("lstm", "gru"):  # the exporter puts gates in ONNX's order under new names
        ours = np.sort(np.concatenate([g.ravel() for g in found.values()]))
        theirs = np.sort(np.concatenate([g.ravel() for g in expected.values()]))
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
        return
    unnamed = dict(found)
    for key, want in expected.items():
        if key in unnamed:
            received = unnamed.pop(key)
        else:  # a weight that the exporter transposed or renamed: find it by its values
            fitting = [n for n, g in unnamed.items() if g.size == want.size]
            received = min((_as(unnamed[n], want) for n in fitting),
                           key=lambda g: np.abs(g - want).max())  # fmt: skip
        scale = max(float(np.abs(want).max()), 1e-3)
        np.testing.assert_allclose(received, want, rtol=1e-3, atol=1e-4 * scale, err_msg=key)


def _as(g, want):
    return g.T if g.ndim == 2 and g.T.shape == want.shape and g.shape != want.shape else (
        g.reshape(want.shape) if g.shape != want.shape else min(
            (g, g.T if g.ndim == 2 and g.T.shape == want.shape else g),
            key=lambda v: np.abs(v - want).max(),
        )
    )  # fmt: skip


@pytest.mark.parametrize("name", ["residual", "transformer"])
def test_training_lowers_the_loss_as_pytorch_does(name):
    """Ten steps of gradient descent from equal weights stay together."""
    torch.manual_seed(0)
    build, x = NETS[name]
    net = build().eval()
    y = rng.integers(0, 5, len(x))
    import edgeml

    trainer = Trainer(_export(net, x), loss="sparse_categorical_crossentropy", trainable="all",
                      optimizer=edgeml.optimizers.SGD(0.05))  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    for _ in range(10):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        assert trainer.step(x, y) == pytest.approx(loss.item(), rel=1e-4)
