"""Ranges measured on a stream: bad data, and memory that does not grow."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from edgeml.errors import InputError
from edgeml.quantize._calibrate import calibrate, with_outputs

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def model(net):
    made = net(3, 8, 8)
    hidden = made.add("Relu", made.conv("x", 4, 3))
    return made.model(made.conv(hidden, 2, 4))


def batches(count=4, size=2):
    return [{"x": RNG.standard_normal((size, 3, 8, 8)).astype(np.float32)} for _ in range(count)]


def test_inputs_inner_tensors_and_outputs_are_measured(model, run):
    given = batches()
    names = ["x", "relu1", model.graph.output[0].name]
    found = calibrate(model, iter(given), names)
    for name in names:
        values = np.concatenate([
            batch["x"] if name == "x" else run(only(model, name), batch["x"]) for batch in given
        ])  # fmt: skip
        assert (found[name].low, found[name].high) == (values.min(), values.max())
        assert found[name].counts.sum() == values.size


def only(model, name):
    found = with_outputs(model, [name])
    kept = [output for output in found.graph.output if output.name == name]
    del found.graph.output[:]
    found.graph.output.extend(kept)
    return found


def test_ragged_batches_are_one_stream(model):
    given = batches(6, 1)
    names = ["x", "relu1"]
    stacked = [{"x": np.concatenate([b["x"] for b in given[i : i + n]])}
               for i, n in ((0, 1), (1, 2), (3, 3))]  # fmt: skip
    one, other = (calibrate(model, stream, names) for stream in (given, stacked))
    np.testing.assert_array_equal(one["x"].counts, other["x"].counts)
    assert one["relu1"].high == pytest.approx(other["relu1"].high, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.where(x > 2, np.nan, x), r"batch 1: 'x' holds NaN or infinity"),
        (lambda x: np.where(x > 2, np.inf, x), r"batch 1: 'x' holds NaN or infinity"),
        (lambda x: x[:, :2], r"calibration: .*x"),
        (lambda x: x.astype(np.float64), r"calibration: .*double"),
    ],
)
def test_a_bad_batch_is_named(model, change, message):
    given = [*batches(1), *({"x": change(b["x"])} for b in batches(1, 20))]
    with pytest.raises(InputError, match=message):
        calibrate(model, given, ["x", "relu1"])


def test_no_batch_and_other_inputs_are_refused(model):
    with pytest.raises(InputError, match="calibration data is empty"):
        calibrate(model, [], ["x"])
    with pytest.raises(InputError, match=r"expected \['x'\], received \['image'\]"):
        calibrate(model, [{"image": np.zeros((1, 3, 8, 8), np.float32)}], ["x"])


def test_a_tensor_that_overflows_is_named(net):
    made = net(4)
    square = made.add("Mul", "x", "x")
    with pytest.raises(InputError, match="batch 0 gives 'mul0' NaN or infinity"):
        calibrate(made.model(square), [{"x": np.full((1, 4), 1e30, np.float32)}], ["x", square])


MEMORY = """
import resource, sys
import numpy as np, onnx
from edgeml.quantize._calibrate import calibrate

model = onnx.load(sys.argv[1])
rng = np.random.default_rng(0)
names = ["x", *(name for node in model.graph.node for name in node.output)]

def peak(count):
    stream = ({"x": rng.standard_normal((1, 3, 64, 64)).astype(np.float32)} for _ in range(count))
    calibrate(model, stream, names)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

print(peak(50), peak(2000))
"""


def test_memory_does_not_grow_with_the_samples(net, tmp_path):
    made = net(3, 64, 64)
    hidden = made.conv("x", 4, 3)
    (tmp_path / "model.onnx").write_bytes(made.model(hidden).SerializeToString())
    ended = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "model.onnx"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    few, many = map(int, ended.stdout.split())
    assert many < few * 1.03  # all inputs alone would be 98 MB more
