"""The page of names is the one that its tool writes, and each name that it gives exists."""

import importlib
import os
import re
import runpy
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(ROOT / "tools" / "write_vocabulary.py"))


def test_page_is_up_to_date(tool):
    page = (ROOT / "docs" / "vocabulary.md").read_text(encoding="utf-8")
    assert tool["page"]() == page, "run: python tools/write_vocabulary.py"


def test_every_name_is_there_or_has_a_reason(tool):
    missing = [f"{group}.{found.name}" for (_, group), each in tool["rows"]().items()
               for found in each if not (found.path or found.reason)]  # fmt: skip
    assert not missing, f"make them, or say why not in tools/write_vocabulary.py: {missing}"


def test_every_name_that_is_given_exists(tool):
    rows = [found for each in tool["rows"]().values() for found in each]
    assert len(rows) > 700
    wrong = [found for found in rows if found.path and tool["find"](found.path) is None]
    assert not wrong
    named = {path for found in rows for path in re.findall(r"`(edgeml\.[^`]*)`", found.reason)}
    assert len(named) > 10
    assert not [path for path in named if tool["find"](path) is None]


def test_what_is_said_is_about_names_that_are_listed(tool):
    listed = {f"keras.{group}": names for group, names in tool["NAMES"]["keras"].items()}
    listed |= tool["NAMES"]["tensorflow-js"]
    for said in (tool["RENAMED"], tool["REASONS"]):
        for group, names in said.items():
            assert not set(names) - set(listed[group]), group


def test_no_public_name_of_keras_is_left_out(tool):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Keras and torch warn of while loading is not ours
        keras = pytest.importorskip("keras", reason="Keras, the oracle, is not installed")
    names = dict(tool["NAMES"]["keras"])
    written = names.pop("version")
    if keras.__version__ != written:
        pytest.skip(f"the list is of Keras {written}")
    for group, known in names.items():
        home = "optimizers.schedules" if group == "schedules" else group
        module = importlib.import_module(f"keras.{home}")
        public = {name for name in dir(module) if name[0] != "_"} - {"legacy", "schedules"}
        assert public == set(known), group


def test_tensorflow_js_strings_stand_for_what_the_page_says(tool):
    rows = {group: {found.name: found.path for found in each}
            for (source, group), each in tool["rows"]().items() if source != "keras"}  # fmt: skip
    assert rows["losses"]["cosineProximity"] == "edgeml.losses.CosineSimilarity"
    assert rows["metrics"]["mse"] == "edgeml.metrics.MeanSquaredError"
    assert rows["tf.train"]["momentum"] == "edgeml.optimizers.SGD"
    assert rows["initializers"]["leCunNormal"] == "edgeml.initializers.LecunNormal"
    assert rows["activations"]["hardSigmoid"] == "edgeml.activations.hard_sigmoid"
    assert rows["tf.layers"]["conv2dTranspose"] == "edgeml.layers.Conv2DTranspose"
