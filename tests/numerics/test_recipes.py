"""Every recipe that a shape chooses is taken by a case that is checked against differences."""

import ast
import importlib.util
import inspect
import sys
from pathlib import Path

import pytest

from edgeml import ops
from edgeml.graph import (
    Graph,
    _recipes,
    _recipes_conv,
    _recipes_linear,
    _recipes_window,
    emit_many,
    gradients,
)  # fmt: skip
from edgeml.graph.rules import _index, _recurrent_loop

CASES = Path(__file__).parent / "cases"
FILES = [module.__file__ for module in (_recipes, _recipes_conv, _recipes_linear, _recipes_window)]


def _cases(*names):
    for name in names:
        spec = importlib.util.spec_from_file_location(f"recipes_{name}", CASES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield from module.CASES


def _differentiate(case):
    """Build the gradient graph of a case; nothing is run."""
    inputs = list(case["inputs"])
    graph = Graph(case.get("opset", Graph.OPSET))
    with graph:
        wrt = case.get("wrt", [i for i, a in enumerate(inputs) if a is not None])
        wrt = [i for i in wrt if inputs[i].dtype.kind == "f"]
        for i in wrt:
            inputs[i] = graph.input(f"x{i}", inputs[i].dtype, inputs[i].shape)
        made = emit_many(case.get("outputs", 1), case["op"], *inputs, **case.get("attrs", {}))
        reals = [y for y in made if y.dtype.kind == "f"]
        gradients([ops.sum(y) for y in reals], [inputs[i] for i in wrt])


@pytest.fixture(scope="module")
def taken():
    """Return what ran while the gradients of all cases were built: (file, function) -> results."""
    found = {}

    def watch(frame, event, result):
        code = frame.f_code
        if event == "return" and code.co_filename in FILES:
            found.setdefault((code.co_filename, code.co_name), set()).add(
                result if isinstance(result, bool) else None
            )

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        for case in _cases("conv", "pool", "resize"):
            _differentiate(case)
    finally:
        sys.setprofile(before)
    return found


@pytest.mark.parametrize(
    "name", [name for name, _ in inspect.getmembers(_recipes, inspect.isfunction)
             if name.startswith("use_")]
)  # fmt: skip
def test_both_answers_of_each_choice_are_checked(name, taken):
    assert taken.get((_recipes.__file__, name)) == {True, False}


@pytest.mark.parametrize("file", FILES, ids=lambda file: Path(file).stem)
def test_every_recipe_is_taken(file, taken):
    tree = ast.parse(Path(file).read_text())
    written = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert written - {name for path, name in taken if path == file} == set()


def test_choices_elsewhere_have_cases_on_both_sides():
    tables = {case["inputs"][0].shape[case.get("attrs", {}).get("axis", 0)] > _index._SMALL_TABLE
              for case in _cases("index") if case["op"] == "Gather"}  # fmt: skip
    assert tables == {True, False}
    batches = {case["inputs"][0].shape[1] >= _recurrent_loop.BATCH
               for case in _cases("recurrent") if case["op"] == "RNN"}  # fmt: skip
    assert batches == {True, False}
