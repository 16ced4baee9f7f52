"""The forms that a model may take without calibration."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from edgeml.quantize._candidates import FORMS, dynamic_int8
from edgeml.quantize._session import open_model

# A branch that makes matrix products before and after another If, and reads from outside.
NESTED = """
<ir_version: 9, opset_import: ["": 18]>
net (float[n,64] x, bool c) => (float[n,64] y) {
  y = If (c) <
    then_branch = nested () => (float[n,64] t) {
      a = MatMul (x, w)
      b = If (c) <
        then_branch = one () => (float[n,64] p) { p = Relu (a) },
        else_branch = two () => (float[n,64] q) { q = Identity (a) }
      >
      t = MatMul (b, v)
    },
    else_branch = other () => (float[n,64] e) { e = MatMul (x, v) }
  >
}
"""


def nested():
    model = onnx.parser.parse_model(NESTED)
    rng = np.random.default_rng(0)
    for name in "wv":
        weights = rng.standard_normal((64, 64)).astype(np.float32) / 8
        model.graph.initializer.append(onnx.numpy_helper.from_array(weights, name))
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_branches_is_valid_and_near(form):
    model = nested()
    made = FORMS[form](model)
    if made is None:  # weights alone are for the outermost graph
        assert form in ("int8 weights", "int4 weights")
        return
    onnx.checker.check_model(made)
    assert made.ByteSize() < 0.6 * model.ByteSize()
    x = np.random.default_rng(1).standard_normal((5, 64)).astype(np.float32)
    for c in (True, False):
        feed = {"x": x, "c": np.array(c)}
        expected, found = (open_model(m).run(None, feed)[0] for m in (model, made))
        assert np.abs(found - expected).mean() < 0.02 * np.abs(expected).mean()


def test_a_model_without_matrices_has_no_dynamic_form(net):
    made = net(3, 8, 8)
    assert dynamic_int8(made.model(made.conv("x", 4, 3))) is None
