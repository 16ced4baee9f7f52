"""Training what follows a cut of the backbone: where it is cut, what is learned, and kept."""

import asyncio

import numpy as np
import onnxruntime as ort
import pytest

import edgeml
from edgeml.errors import ConfigError, ModelError, ShapeError, StoreError
from edgeml.graph._execute import open_session
from edgeml.layers import Add, Dense
from edgeml.personalize import Backbone, LastBlocks, Learner, Softmax
from edgeml.personalize._adapt_blocks import last_blocks, through
from edgeml.personalize._choose import deeper

WATCH = "edgeml:activity_watch_int8.onnx"


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    """A net whose features lack what tells the classes apart, but its first layer has it."""
    rng = np.random.default_rng(0)
    model = edgeml.Sequential([
        edgeml.Input((6,), name="input"), Dense(12, activation="relu", name="first"),
        Dense(8, activation="relu", name="second"), Dense(3, name="logits"),
    ])  # fmt: skip
    first = np.concatenate([np.eye(6), -np.eye(6)], 1).astype(np.float32)
    second = np.abs(rng.normal(0, 1, (12, 8))).astype(np.float32)
    second[[0, 1, 6, 7]] *= 0.2  # of the first two values little is left
    model.layers[0].set_weights([first, np.zeros(12, np.float32)])
    model.layers[1].set_weights([second, np.zeros(8, np.float32)])
    file = tmp_path_factory.mktemp("blind") / "blind.onnx"
    model.save(file)
    return file


def points(count, seed=0):
    """Return samples and their classes: by the signs of their first two values."""
    x = np.random.default_rng(seed).normal(0, 1, (count, 6)).astype(np.float32)
    x[:, :2] += np.where(x[:, :2] < 0, -0.5, 0.5)
    return x, [f"{'+' if a > 0 else '-'}{'+' if b > 0 else '-'}" for a, b in x[:, :2]]


def fitted(head, file, count=160):
    with Backbone(file, cut="auto") as backbone:
        x, labels = points(count)
        head.blocks = backbone.blocks
        return head.fit(np.stack([backbone(row) for row in x]), labels, keep=1.0), backbone


def share(head, backbone, seed=1):
    x, labels = points(200, seed)
    with Backbone(backbone.name, cut="auto") as again:
        said = head.predict(np.stack([again(row) for row in x]))
    return np.mean([a == b for a, b in zip(said, labels, strict=True)])


def windows(count, seed=0):
    return np.random.default_rng(seed).normal(0, 5, (count, 100, 6)).astype(np.float32)


@pytest.mark.parametrize("model", [WATCH, "blind"])
def test_what_follows_the_cut_makes_the_features_of_the_whole(model, blind):
    file = blind if model == "blind" else model
    x = points(5)[0] if model == "blind" else windows(5)
    with Backbone(file) as whole, Backbone(file, cut="auto") as cut:
        assert whole.blocks is None
        assert cut.key != whole.key
        expected = np.stack([whole(row) for row in x])
        made = through(cut.blocks, np.stack([cut(row) for row in x]))
    # Int8 weights become float, so that a rounding may fall on the other side.
    np.testing.assert_allclose(made, expected, atol=0.05 * np.abs(expected).max())


def test_the_cut_is_before_the_last_two_layers_or_where_it_is_asked_for():
    name, _ = last_blocks(edgeml.runtime.resolve(WATCH), "v19_DequantizeLinear_Output", "auto")
    assert name == "v11_DequantizeLinear_Output"
    with Backbone(WATCH, cut="v14_DequantizeLinear_Output") as backbone:
        assert backbone.size == 25 * 64


def test_a_value_that_not_all_goes_through_is_refused(tmp_path):
    x = edgeml.Input((4,), name="input")
    a = Dense(4, name="a")(x)
    b = Dense(4, activation="relu", name="b")(a)
    model = edgeml.Model(x, Dense(2, name="c")(Add(name="sum")([a, b])))
    model.save(tmp_path / "skips.onnx")
    (inner,) = {
        node.output[0]
        for node in edgeml.graph._onnx.read_proto(tmp_path / "skips.onnx").graph.node
        if node.op_type == "Relu"
    }
    with pytest.raises(ModelError, match="all goes through"):
        Backbone(tmp_path / "skips.onnx", cut=inner)
    with Backbone(tmp_path / "skips.onnx", cut="auto") as backbone:
        assert backbone.size == 4  # the sum's other way begins there, too
    with pytest.raises(ModelError, match="TFLite"):
        Backbone("edgeml:okay_nabu.tflite", cut="auto")


@pytest.mark.parametrize("rank", [0, 4])
def test_learns_what_the_features_lack(blind, rank):
    plain, backbone = fitted(Softmax(), blind)
    head, _ = fitted(LastBlocks(rank=rank, rate=0.03, dropout=0.0), blind)
    before, after = share(plain, backbone), share(head, backbone)
    assert after > before + 0.1
    assert after > 0.85
    assert head.held_out.accuracy > 0.8
    assert head.held_out.folds == 3
    assert head.name == ("lora" if rank else "last-blocks")


def test_its_graph_says_the_same_and_so_does_that_of_a_simple_head_behind_a_cut(blind):
    for head in (LastBlocks(steps=30), Softmax(steps=30)):
        _, backbone = fitted(head, blind)
        with Backbone(backbone.name, cut="auto") as again:
            x = np.stack([again(row) for row in points(40, 3)[0]])
        (made,) = open_session(head.to_onnx(), threads=1).run(None, {"features": x})
        np.testing.assert_allclose(made, head(x), atol=1e-5)
        with pytest.raises(ShapeError, match="another cut"):
            head(x[:, :-1])


def test_learning_again_starts_from_the_given_blocks(blind):
    head, backbone = fitted(LastBlocks(steps=20), blind)
    x = np.random.default_rng(0).normal(0, 1, (50, backbone.size)).astype(np.float32)
    first = head(x)
    np.testing.assert_array_equal(fitted(head, blind)[0](x), first)


def test_a_learner_chooses_keeps_exports_and_goes_back(blind, tmp_path):
    x, labels = points(120)
    with (
        Backbone(blind, cut="auto") as backbone,
        Learner(backbone, store=tmp_path / "store", keep=1.0) as learner,
    ):
        for row, label in zip(x, labels, strict=True):
            learner.add(label, row)
        candidate = learner.train()
        assert candidate.report.method == "last-blocks"
        assert "linear on the features as they are" in candidate.report.why
        learner.accept(candidate)
        others, truth = points(100, 4)
        assert learner.evaluate(others, truth).metrics["accuracy"].value > 0.7
        learner.export(tmp_path / "all.onnx")
        session = ort.InferenceSession(tmp_path / "all.onnx")
        made = session.run(["probabilities"], {"input": others[:1]})[0][0]
        found = learner.predict(others[0])
        assert made.max() == pytest.approx(found.score, abs=1e-5)

        learner.method = "linear"
        worse = learner.train()
        assert worse.report.worse
        learner.accept(worse, force=True)
        assert learner.rollback() == candidate.version
        assert learner.predict(others[0]).label == found.label
    with pytest.raises(StoreError, match="another backbone"):
        Learner(blind, store=tmp_path / "store")


def test_old_classes_stay_while_a_new_one_is_learned(blind, tmp_path):
    x, labels = points(160)
    old = [label != "--" for label in labels]
    others, truth = points(200, 4)
    known = [t != "--" for t in truth]
    with Learner(blind, store=tmp_path, method="last-blocks", keep=1.0) as learner:
        for row, label, keep in zip(x, labels, old, strict=True):
            if keep:
                learner.add(label, row, subject="others")
        learner.accept(learner.train())
        before = learner.evaluate(others[known], [t for t in truth if t != "--"])
        for row, label, keep in zip(x, labels, old, strict=True):
            if not keep:
                learner.add(label, row, subject="me")
        candidate = learner.train(weights=lambda e: 10.0 if e.subject == "me" else 1.0)
        assert candidate.report.gain is not None
        learner.accept(candidate, force=True)  # four are harder to tell apart than three
        after = learner.evaluate(others[known], [t for t in truth if t != "--"])
        new = learner.evaluate(others[~np.array(known)], ["--"] * (200 - sum(known)))
    lost = before.metrics["accuracy"].value - after.metrics["accuracy"].value
    assert lost < 0.1
    assert new.metrics["accuracy"].value > 0.8


def test_trains_in_a_process_of_its_own(blind, tmp_path):
    x, labels = points(60)
    with Learner(blind, store=tmp_path, method=LastBlocks(rank=2, steps=20)) as learner:
        for row, label in zip(x, labels, strict=True):
            learner.add(label, row)
        apart = asyncio.run(learner.train_async(duty=1.0))
        assert apart.report.method == "lora"
        assert apart.report.counts == learner.counts()


def test_bad_settings_are_named(blind, tmp_path):
    with pytest.raises(ConfigError, match="rank of 0 or more"):
        LastBlocks(rank=-1)
    with Backbone(blind) as backbone, pytest.raises(ConfigError, match='cut="auto"'):
        Learner(backbone, store=tmp_path, method="lora")
    with pytest.raises(ConfigError, match="there is none"):
        LastBlocks().fit(np.eye(4), ["a", "a", "b", "b"])


def test_auto_leaves_blocks_that_take_long_and_says_so():
    head = Softmax(steps=5).fit(np.random.default_rng(0).normal(size=(60, 8)), ["a", "b"] * 30)
    assert head.held_out.accuracy < 0.9
    counts = {"a": 30, "b": 30}
    assert deeper(head, counts, b"small")[0] is not None
    assert deeper(head, {"a": 5, "b": 30}, b"small") == (None, "")
    chosen, said = deeper(head, counts, bytes(2 << 20))
    assert chosen is None
    assert "2.1 MB: ask for it by name" in said
