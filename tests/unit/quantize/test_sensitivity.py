"""Each block alone in 8 bits, by switches, against models built for it."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgeml.quantize._qdq import Plan, write
from edgeml.quantize._quality import divergence, outputs_of
from edgeml.quantize._sensitivity import (
    SWITCHES,
    fisher,
    rank_correlation,
    sensitivities,
    switchable,
)
from edgeml.quantize._session import open_model

X = np.random.default_rng(0).standard_normal((6, 3, 8, 8)).astype(np.float32)
FEEDS = [{"x": X[i : i + 1]} for i in range(len(X))]


@pytest.fixture(scope="module")
def model(net):
    """Skip connections, SiLU, a constant that is added, shared weights, an If that reads inside."""
    made = net(3, 8, 8)
    first = made.add("Relu", made.conv("x", 8, 3))
    second = made.add("Mul", first, made.add("Sigmoid", first))
    left, right = made.add("Split", second, outputs=2, axis=1, num_outputs=2)
    joined = made.add("Concat", right, left, axis=1)
    shifted = made.add("Add", joined, made.constant("shift", made.weights(1, 8, 1, 1)))
    low, high = made.constant("low", np.float32(0)), made.constant("high", np.float32(6))
    third = made.add("Clip", made.conv(shifted, 8, 8), low, high)
    total = made.add("Add", third, first)
    body = [
        helper.make_graph([helper.make_node("Identity", [total], [f"{side}_out"])], side, [],
                          [helper.make_tensor_value_info(f"{side}_out", TensorProto.FLOAT, None)])
        for side in ("then", "else")
    ]  # fmt: skip
    kept = made.add("If", made.constant("flag", np.array(True)),
                    then_branch=body[0], else_branch=body[1])  # fmt: skip
    pooled = made.add("Flatten", made.add("GlobalAveragePool", kept))
    return made.model(made.gemm(pooled, 5, 8), first)


@pytest.fixture(scope="module")
def plan(model, quantize):
    return quantize(model, X)[1]


def test_equals_models_built_for_each_block(model, plan):
    found = sensitivities(model, plan, lambda: iter(FEEDS))
    blocks = [block for block in plan.blocks if not block.passes]
    assert list(found) == [block.name for block in blocks]
    reference = list(outputs_of(open_model(model), FEEDS))
    for block in blocks:
        alone = write(model, Plan([block], plan.activations, plan.weights))
        gaps = [
            divergence(ours, theirs)
            for ours, theirs in zip(outputs_of(open_model(alone), FEEDS), reference, strict=True)
        ]
        assert found[block.name] == pytest.approx(np.mean(gaps), rel=0.02, abs=1e-9)


def test_all_off_is_float_and_all_on_is_the_quantized_model(model, plan):
    switched, names = switchable(model, plan)
    moving = [block for block in plan.blocks if block.passes]
    assert moving
    for on, other in ((False, model), (True, write(model, plan))):
        feeds = [{**feed, SWITCHES: np.full(len(names), on)} for feed in FEEDS]
        ours = outputs_of(open_model(switched), feeds)
        for our, their in zip(ours, outputs_of(open_model(other), FEEDS), strict=True):
            assert list(our) == list(their)
            for name, values in their.items():
                np.testing.assert_allclose(our[name], values, atol=3e-2 if on else 1e-6)


def test_progress_and_names(model, plan):
    heard = []
    sensitivities(model, plan, lambda: iter(FEEDS[:1]), on_block=lambda *at: heard.append(at))
    blocks = sum(not block.passes for block in plan.blocks)
    assert heard == [(i + 1, blocks) for i in range(blocks)]


def test_the_block_with_the_worst_range_stands_out(net, quantize):
    made = net(8)
    wide = made.constant("wide", np.diag(np.r_[np.full(7, 1e-3), 1e3]).astype(np.float32))
    spread = made.add("Gemm", made.gemm("x", 8, 8), wide)
    narrow = made.constant("narrow", np.diag(np.r_[np.full(7, 1e3), 1e-3]).astype(np.float32))
    model = made.model(made.add("Gemm", spread, narrow))
    x = np.random.default_rng(0).standard_normal((64, 8)).astype(np.float32)
    _, plan = quantize(model, x)
    found = sensitivities(model, plan, lambda: iter([{"x": x}]))
    assert max(found, key=lambda name: found[name]) in (spread, model.graph.output[0].name)
    assert min(found, key=lambda name: found[name]) == "gemm0"


def test_second_order_scores_are_of_blocks_with_weights(model, plan, net, quantize):
    made = net(8)
    classes = made.model(made.gemm(made.add("Relu", made.gemm("x", 16, 8)), 4, 16))
    x = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    _, own = quantize(classes, x)
    found = fisher(classes, own, iter([{"x": x}]))
    assert set(found) == {block.name for block in own.blocks}
    assert all(value > 0 for value in found.values())
    assert found == fisher(classes, own, iter([{"x": x}]))


def test_a_model_without_classes_has_no_second_order_scores(net, quantize):
    made = net(3, 8, 8)
    model = made.model(made.conv("x", 4, 3))
    assert fisher(model, quantize(model, X)[1], iter(FEEDS)) == {}


def test_rank_correlation():
    scores = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0}
    assert rank_correlation(scores, {k: v**3 for k, v in scores.items()}) == pytest.approx(1)
    assert rank_correlation(scores, {k: -v for k, v in scores.items()}) == pytest.approx(-1)
    assert rank_correlation(scores, {"a": 1.0, "b": 2.0, "x": 3.0}) is None
