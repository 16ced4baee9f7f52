"""`optimize`: each verdict for the right reason, and what it must never do."""

from __future__ import annotations

import hashlib
import json
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.datasets import load_digits

from edgeml.errors import (
    DataError,
    InputError,
    ModelFormatError,
    ModelNotFound,
    OptimizeError,
)
from edgeml.quantize import get_metadata, optimize
from edgeml.quantize._measure import Timing
from edgeml.quantize._optimize import _parts
from edgeml.quantize._samples import Samples, samples_of
from edgeml.quantize._session import open_model

OTHER = "x86-vnni"  # never "this", so that nothing is timed


@pytest.fixture
def timed(monkeypatch):
    """``timed(search, final)`` makes every candidate so many times as fast, on each occasion."""

    def set_times(search, final=None, ms=1.0):
        def measure(ratio):
            def side_by_side(sessions, feeds):
                one = Timing((ms * ratio,), 1.0, 1.0, 1.0)
                return [one, *[Timing((ms,), ratio, ratio * 0.99, ratio * 1.01)] * 20][
                    : len(sessions)
                ]

            return side_by_side

        monkeypatch.setattr("edgeml.quantize._search.side_by_side", measure(search))
        monkeypatch.setattr("edgeml.quantize._examine.side_by_side", measure(final or search))

    return set_times


def exact(outputs, label):
    return float(np.array_equal(next(iter(outputs.values()))[0], label))


def test_proved_is_smaller_and_says_what_it_is(digits, tmp_path):
    model, x, y = digits
    before = model.SerializeToString()
    found = optimize(model, (x, y), max_drop=2, target=OTHER)
    assert found.verdict == "proved"
    assert model.SerializeToString() == before
    report = found.report.to_dict()
    assert report["chosen"]["recipe"]["form"] == "static int8"
    assert report["bytes"]["model"] == found.model.ByteSize() < 0.45 * model.ByteSize()
    assert report["latency"] == "not measured"
    gain = report["quality"]["difference"]
    assert -2 <= gain["low"] <= gain["value"] <= gain["high"]
    assert report["data"]["parts"] == {"calibration": 200, "search": 200, "final": 519}
    with pytest.raises(OptimizeError, match="the report would replace it"):
        found.save(tmp_path / "small.html")
    found.save(tmp_path / "small.onnx")
    saved = (tmp_path / "small.onnx").read_bytes()
    assert hashlib.sha256(saved).hexdigest() == report["identity"]["model_sha256"]
    assert get_metadata(tmp_path / "small.onnx")["optimized"]["verdict"] == "proved"
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "small.html", "small.json", "small.onnx"
    ]  # fmt: skip
    assert json.loads((tmp_path / "small.json").read_text())["verdict"] == "proved"


def test_what_cannot_be_measured_is_noted_and_ends_nothing(digits, timed, monkeypatch):
    model, x, y = digits
    timed(1.5)
    monkeypatch.setattr(sys, "executable", "/no/python")
    found = optimize(model, (x, y), max_drop=2)
    assert found.verdict == "proved"
    report = found.report.to_dict()
    assert "process" not in report
    assert any("load time and memory not measured" in note for note in report["notes"])


def test_the_same_seed_gives_the_same_model(digits):
    model, x, y = digits
    first, second = (optimize(model, (x, y), max_drop=2, target=OTHER).model for _ in range(2))
    assert first == second


def test_not_proved_where_the_interval_is_wider_than_the_promise(digits):
    model, x, y = digits
    found = optimize(model, (x[:150], y[:150]), max_drop=0.5, target=OTHER)
    assert found.verdict == "not proved"
    report = found.report.to_dict()
    assert report["quality"]["difference"]["value"] >= -0.5
    assert "more examples may prove it" in report["why"]
    assert found.model.ByteSize() < model.ByteSize()


def test_refused_where_no_form_keeps_the_promise(digits, outputs):
    model, x, _ = digits
    found = optimize(model, x, labels=outputs, metric=exact, target=OTHER)
    assert found.verdict == "refused"
    assert found.model == model
    report = found.report.to_dict()
    assert "loses 100 points on the search data" in report["why"]
    assert report["chosen"] is None
    names = [c["name"] for c in report["candidates"]]
    assert any("blocks float" in name for name in names)
    assert {"dynamic int8", "float16 storage"} < set(names)


def blind(digits, scored):
    """Return labels that hide the final data from the search, and a metric for them."""
    model, x, _ = digits
    final = set(_parts(samples_of(x, model), 0)[2].tolist())
    labels = [row if i in final else None for i, row in enumerate(scored)]

    def late(outputs, label):
        return 1.0 if label is None else exact(outputs, label)

    return labels, late


def test_refused_where_the_final_data_say_no(digits, outputs):
    """The search saw nothing wrong; the part that was opened once did, of all that is in 8 bits."""
    model, x, _ = digits
    labels, late = blind(digits, outputs)
    found = optimize(model, x, labels=labels, metric=late, target=OTHER)
    assert found.verdict == "refused"
    assert found.model == model
    report = found.report.to_dict()
    assert "loses 100.00 points on the final data, more than 0.5" in report["why"]
    assert "float16 storage loses 100.00 points on the final data" in report["why"]
    assert report["quality"]["difference"]["value"] == -100


def test_what_fails_on_the_final_data_makes_way_for_a_safer_form(digits, outputs):
    """The search is told no bounds; the float layers that it keeps at last pass the final data."""
    model, x, _ = digits
    labels, _ = blind(digits, outputs)
    scale = np.abs(outputs).max()

    def near(outputs, label):
        if label is None:
            return 1.0
        return float(np.abs(next(iter(outputs.values()))[0] - label).max() < 1e-3 * scale)

    found = optimize(model, x, labels=labels, metric=near, max_drop=1, target=OTHER)
    report = found.report.to_dict()
    first = report["candidates"][0]["name"]
    assert found.verdict == "not proved"
    assert "failed on the same data" in report["why"]
    assert report["chosen"]["name"] != first
    assert report["quality"]["difference"]["value"] >= -1
    assert found.model.ByteSize() < model.ByteSize()


def test_what_loses_most_stays_float(net):
    """One pair of layers has ranges that 8 bits cannot hold."""
    rng = np.random.default_rng(0)
    made = net(16)
    hidden = made.add("Relu", made.gemm("x", 256, 16))
    hidden = made.add("Relu", made.gemm(hidden, 256, 256))
    wide = np.diag(np.geomspace(1e-4, 1e4, 16)).astype(np.float32)
    spread = made.add("Gemm", made.gemm(hidden, 16, 256), made.constant("wide", wide))
    narrow = made.constant("narrow", np.diag(1 / wide.diagonal()).astype(np.float32))
    model = made.model(made.add("Gemm", spread, narrow))
    x = rng.standard_normal((120, 16)).astype(np.float32)
    found = optimize(model, x, metric="closeness", max_drop=20, target=OTHER)
    assert found.verdict == "proved"
    report = found.report.to_dict()
    assert report["candidates"][0]["float_blocks"] == []
    assert 1 <= len(report["chosen"]["float_blocks"]) <= 3
    alone = report["sensitivity"]["alone"]
    assert set(report["chosen"]["float_blocks"]) <= set(sorted(alone, key=alone.get)[-3:])
    assert found.model.ByteSize() < 0.5 * model.ByteSize()


def test_never_slower(digits, timed):
    model, x, y = digits
    timed(0.8)
    found = optimize(model, (x, y), max_drop=2)
    assert (found.verdict, found.model) == ("refused", model)
    assert "0.80 times as fast as what came in" in found.report.to_dict()["why"]


def bench(model, path, milliseconds, machine="another"):
    """Write what ``edgeml bench --json`` would print elsewhere for models of such times."""
    lines = [
        {
            "type": "bench", "schema": 1, "machine": machine,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "rows": [{"threads": 1, "median_ms": 2 * ms}, {"threads": 2, "median_ms": ms}],
        }
        for file, ms in zip(sorted(model.glob("*/forms/*.onnx")), milliseconds, strict=False)
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_measured_on_another_machine(digits, tmp_path):
    """The forms are kept to be measured there; its results decide."""
    model, x, y = digits
    options = {"max_drop": 2, "target": OTHER, "resume": tmp_path}
    first = optimize(model, (x, y), **options)
    assert first.report.to_dict()["latency"] == "not measured"
    forms = sorted(p.name for p in tmp_path.glob("*/forms/*"))
    assert forms[0] == "1.onnx"
    assert forms[-1] == "original.onnx"
    *times, original = [1.0] * len(forms[:-1]), 2.0
    results = bench(tmp_path, tmp_path / "pi.jsonl", [*times[0], original])
    found = optimize(model, (x, y), measured=[results], max_latency_ms=1.5, **options)
    latency = found.report.to_dict()["latency"]
    assert latency["measured_on"] == "another"
    assert latency["model"]["ratio"] == 2
    assert "2.00 times as fast on another" in str(found.report)
    slow = bench(tmp_path, tmp_path / "slow.jsonl", [3.0] * len(forms[:-1]) + [2.0])
    refused = optimize(model, (x, y), measured=[slow], **options)
    assert refused.verdict == "refused"
    assert "0.67 times as fast" in refused.report.to_dict()["why"]


def test_results_that_do_not_fit(digits, tmp_path):
    model, x, y = digits
    wrong = tmp_path / "wrong.json"
    for text, said in (("{}", "edgeml bench MODEL --json"), ("{", "no JSON")):
        wrong.write_text(text)
        with pytest.raises(OptimizeError, match=said):
            optimize(model, (x, y), target=OTHER, measured=[wrong])
    with pytest.raises(OptimizeError, match="cannot be read"):
        optimize(model, (x, y), target=OTHER, measured=[tmp_path / "none.json"])
    wrong.write_text(json.dumps({"type": "bench", "sha256": "0", "machine": "m", "rows": []}))
    with pytest.raises(OptimizeError, match="no figures of the model that came in"):
        optimize(model, (x, y), max_drop=2, target=OTHER, measured=[wrong])
    with pytest.raises(OptimizeError, match="this machine is measured anyway"):
        optimize(model, (x, y), measured=[wrong])


def test_first_layers_stay_float_where_that_is_no_slower(net, monkeypatch):
    made = net(3, 16, 16)
    x = "x"
    for read in (3, *[8] * 8):
        x = made.add("Relu", made.conv(x, 8, read))
    model = made.model(x)
    data = np.random.default_rng(0).standard_normal((40, 3, 16, 16)).astype(np.float32)

    def third_is_fastest(sessions, feeds, **_):
        ratios = [1.2 if len(sessions) > 3 and k == 3 else 1.0 for k in range(len(sessions))]
        return [Timing((1.0,), ratio, ratio, ratio) for ratio in ratios]

    monkeypatch.setattr("edgeml.quantize._search.side_by_side", third_is_fastest)
    monkeypatch.setattr("edgeml.quantize._examine.side_by_side", third_is_fastest)
    report = optimize(model, data, metric="closeness", max_drop=20).report.to_dict()
    floating = [c["float_blocks"] for c in report["candidates"] if c["float_blocks"]]
    assert floating == [["conv0", "conv2", "conv4"]]


def test_the_report_names_what_has_no_kernels(net):
    made = net(16)
    model = made.model(made.add("Erf", made.gemm("x", 32, 16)))
    x = np.random.default_rng(0).standard_normal((40, 16)).astype(np.float32)
    notes = optimize(model, x, target=OTHER).report.to_dict()["notes"]
    assert "x86-vnni has no 8-bit kernels for Erf (1): float there" in notes


def test_matrices_may_have_weights_alone_in_integers(net):
    """Where activations have outliers that 8 bits cannot hold."""
    made = net(64)
    wide = made.constant("wide", np.geomspace(1e-3, 1e3, 64).astype(np.float32))
    narrow = made.constant("narrow", np.geomspace(1e3, 1e-3, 64).astype(np.float32))
    hidden = made.add("Mul", made.gemm("x", 64, 64), wide)
    model = made.model(made.gemm(made.add("Mul", made.add("Relu", hidden), narrow), 256, 64))
    x = np.random.default_rng(0).standard_normal((120, 64)).astype(np.float32)
    found = optimize(model, x, metric="closeness", max_drop=3, target=OTHER)
    names = [c["name"] for c in found.report.to_dict()["candidates"]]
    assert {"int8 weights", "int4 weights"} < set(names)


def test_never_slower_when_timed_again(digits, timed):
    model, x, y = digits
    timed(1.5, 0.8)
    found = optimize(model, (x, y), max_drop=2)
    assert (found.verdict, found.model) == ("refused", model)
    assert "timed again, it is 0.80 times as fast" in found.report.to_dict()["why"]


def test_faster_on_this_machine(digits, timed):
    model, x, y = digits
    timed(1.5)
    found = optimize(model, (x, y), max_drop=2, max_latency_ms=1.0)
    assert found.verdict == "proved"
    report = found.report.to_dict()
    assert report["latency"]["model"]["ratio"] == 1.5
    assert report["ran"]["operators"]
    assert optimize(model, (x, y), max_drop=2, max_latency_ms=0.9).verdict == "refused"


def test_never_bigger(net):
    made = net(4)
    model = made.model(made.gemm("x", 2, 4))
    x = np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)
    found = optimize(model, x, target=OTHER)
    assert (found.verdict, found.model) == ("refused", model)
    assert "not smaller than what came in" in found.report.to_dict()["why"]


def test_a_budget_that_cannot_be_met(digits):
    model, x, y = digits
    found = optimize(model, (x, y), max_bytes=10, max_drop=2, target=OTHER)
    assert (found.verdict, found.model) == ("refused", model)
    assert "bytes, more than 10" in found.report.to_dict()["why"]


@pytest.mark.parametrize("target", ["jetson-tensorrt", "qnn", "x86-avx2", "openvino"])
def test_other_targets(digits, target):
    model, x, y = digits
    report = optimize(model, (x[:200], y[:200]), max_drop=5, target=target).report.to_dict()
    assert report["chosen"]["recipe"]["form"] == "static int8"
    static = target in ("jetson-tensorrt", "qnn")
    shown = f"{model.graph.input[0].name} ['any', 8, 8, 1]"
    notes = [f"{target} takes fixed shapes only; export the model with them: {shown}"]
    assert report["notes"] == (notes if static else [])
    assert bool(report["saturation"]) == (target != "x86-avx2")


def test_a_model_that_is_quantized_already():
    x = np.random.default_rng(0).standard_normal((20, 100, 6)).astype(np.float32)
    found = optimize("edgeml:activity_watch_int8.onnx", x, target=OTHER)
    assert found.verdict == "refused"
    assert "quantized already" in found.report.to_dict()["why"]
    assert str(found.report).startswith("refused: the original")


def test_a_few_examples_prove_nothing(digits):
    model, x, _ = digits
    found = optimize(model, x[:6], max_drop=100, target=OTHER)
    assert found.verdict == "not proved"
    assert "6 examples are too few" in found.report.to_dict()["why"]
    assert found.report.to_dict()["data"]["overlap"]


def test_data_that_prove_anything(digits):
    """With examples all alike, or labels that the original does not know, nothing can be lost."""
    model, x, y = digits
    with pytest.raises(DataError, match="all of the 400 examples hold the same numbers"):
        optimize(model, np.zeros_like(x[:400]), target=OTHER)
    few = optimize(model, np.tile(x[:5], (80, 1, 1, 1)), max_drop=100, target=OTHER)
    (note,) = few.report.to_dict()["notes"]
    assert "of 64 examples that were compared only 5 are distinct" in note
    with pytest.raises(DataError, match=r"label 1\d+ is no class: the model has 10"):
        optimize(model, (x[:400], y[:400] + 100), target=OTHER)
    picked = optimize(model, x[:400], metric=lambda outputs, label: 0.0, max_drop=2, target=OTHER)
    assert picked.verdict == "not proved"
    assert "the original itself gets 0.00 points" in picked.report.to_dict()["why"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": "raspbery-pi-5"}, OptimizeError, "nearest: raspberry-pi-5"),
        ({"max_drop": -1}, OptimizeError, "max_drop of 0 to 100"),
        ({"max_drop": float("nan")}, OptimizeError, "max_drop of 0 to 100"),
        ({"minutes": 0}, OptimizeError, "minutes above 0"),
        ({"max_latency_ms": 1, "target": OTHER}, OptimizeError, "its time is not known here"),
        ({"metric": "accuracy"}, DataError, "accuracy needs labels"),
        ({"metric": "top5"}, DataError, "no metric 'top5'"),
        ({"groups": [0, 1] * 20}, OptimizeError, r"too few groups \(2\)"),
        ({"data": np.zeros((40, 9, 8, 1))}, InputError, r"shape \[8, 8, 1\], received \[9, 8, 1\]"),
        (
            {"data": np.where(np.arange(2560) == 9, np.nan, np.arange(2560)).reshape(40, 8, 8, 1)},
            InputError,
            "example .*NaN or infinity",
        ),
        ({"seed": -1}, OptimizeError, "a seed of 0 or more"),
        ({"max_bytes": 0}, OptimizeError, "max_bytes above 0"),
        ({"model": "/nowhere.onnx"}, ModelNotFound, "nowhere"),
        ({"model": "edgeml:silero.onnx"}, ModelNotFound, "Did you mean edgeml:silero_vad"),
        ({"resume": "/proc/nowhere"}, OptimizeError, "/proc/nowhere"),
    ],
)
def test_bad_input(digits, options, error, message):
    arguments = {"model": digits[0], "data": digits[1][:40], **options}
    arguments.setdefault("target", OTHER)
    with pytest.raises(error, match=message):
        optimize(arguments.pop("model"), arguments.pop("data"), **arguments)


def test_what_is_no_model_is_refused(digits, monkeypatch):
    with pytest.raises(ModelFormatError, match=r"an onnx\.ModelProto, received NoneType"):
        optimize(None, digits[1], target=OTHER)

    message = pytest.importorskip("google.protobuf.message", reason="onnx brings it")

    def too_large(model):
        raise message.EncodeError("Failed to serialize proto")  # what it is from 2 GB on

    monkeypatch.setattr(onnx.checker, "check_model", too_large)
    with pytest.raises(ModelFormatError, match="over 2 GB"):
        optimize(digits[0], digits[1], target=OTHER)


def test_groups_are_never_divided():
    groups = np.random.default_rng(0).integers(0, 12, 200)
    parts = _parts(Samples(200, dict, groups=groups.tolist()), 0)
    owners = [set(groups[part]) for part in parts]
    assert sum(map(len, owners)) == len(set.union(*owners)) == 12


def test_intervals_count_groups(digits):
    model, x, y = digits
    one = optimize(model, (x, y), max_drop=2, target=OTHER).report.to_dict()
    many = optimize(model, (x, y), max_drop=2, target=OTHER, groups=np.arange(len(x)) // 40)
    report = many.report.to_dict()
    assert report["data"]["groups"]
    assert report["quality"]["difference"]["method"] != one["quality"]["difference"]["method"]


def test_a_stateful_model_with_weights_in_the_bodies_of_ifs():
    rng = np.random.default_rng(0)
    feeds = [
        {"input": rng.standard_normal((1, 576)).astype(np.float32) * 0.1,
         "state": rng.standard_normal((2, 1, 128)).astype(np.float32) * 0.1,
         "sr": np.array(16000, np.int64)}
        for _ in range(30)
    ]  # fmt: skip
    found = optimize("edgeml:silero_vad.onnx", feeds, target=OTHER, max_drop=10)
    report = found.report.to_dict()
    assert report["asked"]["metric"] == "closeness"
    assert found.model.ByteSize() <= report["bytes"]["original"]
    open_model(found.model).run(None, feeds[0])


def tensors(*infos):
    return [helper.make_tensor_value_info(*info) for info in infos]


def test_outputs_whose_size_depends_on_the_data(net):
    made = net(16)
    scores = made.gemm(made.add("Relu", made.gemm("x", 128, 16)), 16, 128)
    model = made.model(scores)
    model.graph.node.extend([
        helper.make_node("Greater", [scores, "zero"], ["above"]),
        helper.make_node("NonZero", ["above"], ["places"]),
    ])  # fmt: skip
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(0), "zero"))
    model.graph.output.extend(tensors(("places", TensorProto.INT64, (2, "count"))))
    x = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    found = optimize(model, x, metric="closeness", max_drop=99, target=OTHER)
    assert found.verdict in ("proved", "not proved")


def test_several_inputs_and_integers(net):
    made = net(16)
    table = made.constant("table", made.weights(50, 16))
    axis = made.constant("axis", np.array([1]))
    words = made.add("ReduceMean", made.add("Gather", table, "ids"), axis, keepdims=0)
    made.constant("first", made.weights(16, 256))
    total = made.add("Add", made.add("MatMul", words, "first"), made.gemm("x", 256, 16))
    hidden = made.add("Relu", made.gemm(made.add("Relu", total), 64, 256))
    model = made.model(made.gemm(hidden, 5, 64))
    model.graph.input.extend(tensors(("ids", TensorProto.INT64, ("batch", 7))))
    del model.graph.value_info[:]
    model = onnx.shape_inference.infer_shapes(model)
    rng = np.random.default_rng(0)
    data = {"x": rng.standard_normal((60, 16)), "ids": rng.integers(0, 50, (60, 7))}
    found = optimize(model, data, target=OTHER, max_drop=20)
    assert found.verdict in ("proved", "not proved")
    assert found.model.ByteSize() < 0.6 * model.ByteSize()


@pytest.mark.parametrize("words", [False, True])
@pytest.mark.parametrize("zipmap", [False, True])
def test_a_classifier_of_scikit_learn(words, zipmap):
    convert = pytest.importorskip("skl2onnx", reason="skl2onnx makes the models").to_onnx
    from sklearn.neural_network import MLPClassifier

    x, y = load_digits(return_X_y=True)
    x, labels = x.astype(np.float32), np.array([f"digit {k}" for k in y]) if words else y
    net = MLPClassifier((64,), random_state=0)
    for _ in range(15):
        net.partial_fit(x[:400], labels[:400], classes=np.unique(labels))
    model = convert(net, x[:1], options={"zipmap": zipmap}, target_opset=17)
    found = optimize(model, (x[400:700], labels[400:700]), target=OTHER, max_drop=5)
    report = found.report.to_dict()
    assert report["asked"]["metric"] == "accuracy"
    accuracy = net.score(x[400:700], labels[400:700]) * 100
    if found.verdict != "refused":
        assert report["quality"]["original"] == pytest.approx(accuracy, abs=6)
