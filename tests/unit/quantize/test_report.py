"""What the report says, and how: JSON, a page that needs nothing else, text."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import onnx
import onnx.compose
import pytest

from edgeml.errors import DataError, InputError, OptimizeError
from edgeml.quantize import compare, optimize, score
from edgeml.quantize._index import Index
from edgeml.quantize._judge import Judge
from edgeml.quantize._measure import Timing, side_by_side
from edgeml.quantize._page import page
from edgeml.quantize._qdq import write
from edgeml.quantize._report import Report
from edgeml.quantize._robust import CHANGES, robustness
from edgeml.quantize._samples import samples_of
from edgeml.quantize._session import open_model
from edgeml.quantize._targets import target_of
from edgeml.quantize._truth import layers, saturation, what_ran

RNG = np.random.default_rng(0)
X = RNG.uniform(0, 1, (80, 3, 16, 16)).astype(np.float32)
NASTY = '<script src="http://evil.example/x.js">alert(1)</script>&"\''
TARGET = target_of("x86-vnni")


@pytest.fixture(scope="module")
def model(net):
    made = net(3, 16, 16)
    hidden = made.add("Relu", made.conv("x", 16, 3))
    hidden = made.add("Relu", made.conv(made.add("Add", made.conv(hidden, 16, 16), hidden), 16, 16))
    pooled = made.add("Flatten", made.add("GlobalAveragePool", hidden))
    return made.model(made.gemm(pooled, 4, 16))


@pytest.fixture(scope="module")
def small(model, quantize):
    return quantize(model, X)


def twice_as_fast(sessions, feeds):
    first, other = Timing((2.0, 2.1), 1.0, 1.0, 1.0), Timing((1.0, 1.1), 2.0, 1.9, 2.1)
    return [first, *[other] * (len(sessions) - 1)]


@pytest.fixture(scope="module")
def reports(model):
    """One with all there is to say, one that chose nothing, one on a quantized model."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("_search", "_examine"):
            patch.setattr(f"edgeml.quantize.{module}.side_by_side", twice_as_fast)
        full = optimize(model, X, max_drop=100, metric="closeness")
    tight = optimize(model, X, max_drop=0, metric="closeness", target="x86-avx2", max_bytes=10)
    again = optimize(full.model, X)
    return {"full": full.report, "refused": tight.report, "again": again.report}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href", "action")]


def strict(text):
    def refuse(name):
        raise AssertionError(name)

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("which", ["full", "refused", "again"])
def test_files_are_valid_and_need_nothing_else(reports, which, tmp_path):
    report = reports[which]
    report.save(tmp_path / "r.json")
    report.save(tmp_path / "r.html")
    assert strict((tmp_path / "r.json").read_text()) == report.to_dict()
    text = (tmp_path / "r.html").read_text()
    found = Page(text)
    assert not found.links
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert not re.search(r"url\(|@import|https?://", text)
    assert report.verdict in text
    assert "None" not in text
    assert "nan" not in re.sub(r"<[^>]*>", " ", text).split()
    with pytest.raises(OptimizeError, match=r"\.json or \.html"):
        report.save(tmp_path / "r.md")


def test_the_page_of_a_full_report_has_all_parts(reports):
    text = page(reports["full"].to_dict())
    for head in ("Data", "Forms tried", "Time", "What really ran", "Layers", "On other CPUs",
                 "Robustness", "Identity"):  # fmt: skip
        assert f"<h2>{head}" in text


def test_each_form_that_was_not_taken_says_why(reports):
    report = reports["full"].to_dict()
    assert len(report["candidates"]) > 2
    for one in report["candidates"]:
        assert bool(one["note"]) == (one["name"] != report["chosen"]["name"])
    assert f"on {report['robust_examples']} of the final examples" in page(report)


def test_a_page_of_nothing_chosen_has_no_figures_of_it(reports):
    report = reports["refused"].to_dict()
    text = page(report)
    assert "<b>" not in text
    failed = {**report, "quality": reports["full"].to_dict()["quality"]}
    assert "closeness of what failed" in page(failed)
    assert "closeness of what failed" in str(Report(failed))
    there = {**reports["full"].to_dict()}
    there["latency"] = {**there["latency"], "measured_on": "a board"}
    assert "What edgeml bench measured on a board" in page(there)


def test_names_are_escaped(reports):
    def nasty(value):
        if isinstance(value, dict):
            return {k: nasty(v) for k, v in value.items()}
        if isinstance(value, list):
            return [nasty(v) for v in value]
        return NASTY if isinstance(value, str) else value

    for report in reports.values():
        found = nasty(report.to_dict())
        if isinstance(report.to_dict()["latency"], dict):
            assert isinstance(found["latency"], dict)
        assert "<script" not in page(found)
        assert not Page(page(found)).links


def test_no_nan_in_a_report(reports):
    content = {**reports["full"].to_dict(), "stages": {"x": math.nan}, "why": [math.inf, 1.5]}
    found = Report(content).to_dict()
    assert found["stages"] == {"x": None}
    assert found["why"] == [None, 1.5]


def test_what_a_terminal_shows(reports):
    lines = str(reports["refused"]).splitlines()
    assert lines[0] == "refused: the original"
    assert any(line.endswith("bytes, more than 10") for line in lines)  # a reason a line
    assert not any(";" in line for line in lines)
    assert not any("size" in line or "time" in line for line in lines)  # nothing was chosen
    assert str(reports["again"]).count("quantized already") == 1


def test_what_ran_is_of_the_runtime(model, small):
    feeds = [{"x": X[:1]}]
    ran, floating = what_ran(small[0], feeds), what_ran(model, feeds)
    assert ran["operators"]["QLinearConv"] | {"share": 0} == {
        "count": 3, "kind": "int8", "share": 0
    }  # fmt: skip
    assert ran["int8_share"] > 0
    assert ran["borders"] == 2
    assert sum(o["share"] for o in ran["operators"].values()) == pytest.approx(1)
    assert ran["nodes"]["conv0"]["operator"] == "QLinearConv"
    assert 0 < ran["weights_bytes"] < floating["weights_bytes"] / 2
    assert (floating["int8_share"], floating["borders"]) == (0, 0)
    assert all(o["kind"] in ("float", "other") for o in floating["operators"].values())


def test_layers_of_a_plan(model, small):
    plan = small[1]
    nodes = what_ran(small[0], [{"x": X[:1]}])["nodes"]
    found = layers(Index(model), plan, {"conv0": 0.25}, nodes, ["other"])
    assert [entry["name"] for entry in found] == [*(block.name for block in plan.blocks), "other"]
    first = next(entry for entry in found if entry["name"] == "conv0")
    assert (first["alone"], first["weight_scales"], first["asked"]) == (0.25, 16, "int8")


def test_saturation_is_where_a_pair_of_products_leaves_16_bits(net, quantize):
    made = net(4)
    made.constant("w", np.array([[1, 1, 1], [1, -1, 0.25], [0, 0, 0], [0.1, 0.1, 1]], np.float32))
    model = made.model(made.add("Gemm", "x", "w"))
    x = RNG.standard_normal((8, 4)).astype(np.float32)
    plan = quantize(model, x, "x86-vnni")[1]
    (entry,) = saturation(Index(model), plan)
    # Channel 0: 127 + 127 times 255; channel 1: they cancel; channel 2: 127 + 32.
    assert entry["worst"] == 255 * 254
    assert entry["pairs"] == pytest.approx(2 / 6)
    seven = quantize(model, x, "x86-avx2")[1]
    assert saturation(Index(model), seven) == []


def test_robustness_changes_inputs_and_keeps_labels(model, small):
    judge = Judge(model, samples_of(X, model), "closeness")
    found = robustness(model, small[0], judge, range(8))
    assert set(found) == set(CHANGES)
    for scores in found.values():
        assert 0 <= scores["model"] <= 100
        assert abs(scores["model"] - scores["original"]) < 10
    same = robustness(model, model, judge, range(8))
    assert all(s["model"] == s["original"] < 100 for s in same.values())


def test_only_pictures_are_changed(net):
    made = net(4)
    model = made.model(made.gemm("x", 2, 4))
    judge = Judge(model, samples_of(np.zeros((4, 4), np.float32), model), "closeness")
    assert robustness(model, model, judge, range(4)) == {}


@pytest.mark.parametrize("shape", [(1, 3, 6, 5), (1, 6, 5, 3)])
def test_blur_keeps_channels_apart(shape):
    x = np.zeros(shape, np.float32)
    red = (0, slice(0, 1)) if shape[1] == 3 else (..., slice(0, 1))
    x[red] = 1
    np.testing.assert_allclose(CHANGES["blur"](x, RNG), x, atol=1e-6)


def test_ratios_are_to_the_first():
    class Session:
        def __init__(self, work):
            self.work = work

        def run(self, names, feed):
            np.ones(self.work).sum()

    slow, fast = side_by_side([Session(1_000_000), Session(10)], [{}], rounds=5, seconds=0.001)
    assert (slow.ratio, slow.low, slow.high) == (1, 1, 1)
    assert fast.ratio > 1
    assert fast.low <= fast.ratio <= fast.high
    assert len(fast.milliseconds) == 5
    assert fast.to_dict()["median_ms"] == fast.median


def test_compare_says_what_the_second_loses(model, small, net):
    labels = open_model(model).run(None, {"x": X})[0].argmax(1)
    found = compare(model, small[0], (X, labels))
    assert found["metric"] == "accuracy"
    assert found["first"] == 100
    assert found["second"] == pytest.approx(100 + found["difference"]["value"])
    assert found["flips"] == round((100 - found["second"]) * 0.8)
    assert found["bytes"]["second"] < found["bytes"]["first"]
    assert strict(json.dumps(found)) == found
    other = net(3, 16, 16)
    with pytest.raises(OptimizeError, match="outputs"):
        compare(model, other.model(other.conv("x", 4, 3)), X)
    flat = net(8)
    with pytest.raises(InputError, match="the model: "):
        compare(model, flat.model(flat.gemm("x", 4, 8)), X)
    renamed = onnx.compose.add_prefix(model, "my_")
    with pytest.raises(OptimizeError, match=r"\['x'\], the second one's \['my_x'\]"):
        compare(model, renamed, X)


def test_score_has_an_interval_that_counts_groups(model):
    labels = open_model(model).run(None, {"x": X})[0].argmax(1)
    labels[:8] = (labels[:8] + 1) % 4
    found = score(model, (X, labels))
    assert (found["metric"], found["examples"]) == ("accuracy", 80)
    alone = found["score"]
    assert alone["value"] == 90
    assert alone["low"] < 90 < alone["high"] <= 100
    grouped = score(model, (X, labels), groups=np.arange(80) // 8)["score"]
    assert grouped["value"] == 90
    assert grouped["low"] < alone["low"]
    smooth = score(model, (X, labels), metric=lambda outputs, label: 0.25 + 0.5 * (label == 0))
    assert 25 < smooth["score"]["low"] < smooth["score"]["high"] < 75
    with pytest.raises(DataError, match="accuracy needs labels"):
        score(model, X)


def test_written_models_are_those_of_the_plan(model, small):
    assert write(model, small[1]) == small[0]
    assert TARGET.weight_bits == 8
