"""The page of operators is the one that its tool writes, and what it says is tested."""

import importlib.util
import re
import runpy
from pathlib import Path

import onnx
import onnxruntime
import pytest

from edgeml.graph import supported_ops

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "coverage.md").read_text()
ROWS = {
    cells[0]: cells[1:]
    for line in PAGE.splitlines()
    if (cells := [cell.strip() for cell in line.strip("|").split(" | ")])[1:2]
    and cells[1].isdigit()
}


@pytest.fixture(scope="module")
def tool():
    return runpy.run_path(str(ROOT / "tools" / "write_coverage.py"))


def test_page_is_up_to_date(tool):
    written = re.search(r"with onnx (\S+) \(.*?\) and\s+ONNX Runtime (\S+)", PAGE).groups()
    if written != (onnx.__version__, onnxruntime.__version__):
        pytest.skip(f"the page is of onnx {written[0]} and ONNX Runtime {written[1]}")
    assert tool["page"]() == PAGE, "run: python tools/write_coverage.py"


def test_every_differentiable_operator_has_a_gradient_or_a_reason(tool):
    known = supported_ops()
    chosen = [s for s in tool["schemas"]().values() if tool["is_differentiable"](s)]
    assert len(chosen) > 100
    for schema in chosen:
        tool["gradient"](schema, known)  # raises when nothing is said


def test_the_table_of_rules_is_on_the_page():
    label = {"rule": "rule", "lowered": "lowered"}
    standard = {s.name for s in onnx.defs.get_all_schemas()}
    for op, how in supported_ops().items():
        if op in standard and op in ROWS:
            assert ROWS[op][1].startswith(label.get(how, how)), op
    ours = {op for op, how in supported_ops().items() if how in label and "::" not in op}
    assert ours <= set(ROWS)


def test_what_goes_by_definition_has_a_case():
    cases: set[str] = set()
    for path in (ROOT / "tests" / "numerics" / "cases").glob("*.py"):
        spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cases |= {case["op"] for case in module.CASES}
    runnable = {op for op, (_, how, kernel) in ROWS.items()
                if how == "definition" and kernel != "newer"}  # fmt: skip
    assert runnable
    assert runnable <= cases
