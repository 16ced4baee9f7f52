"""Python in the README and the documentation: it compiles, its names exist, marked blocks run.

A block after the line ``<!-- test: run -->`` is run; the others are read. A block may stand
for the inside of an async function.
"""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(
    r"^(?P<run><!-- test: run -->\n+)?(?P<indent> *)```(?:python|py)\b[^\n]*\n"
    r"(?P<code>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)


class Block(NamedTuple):
    where: str
    code: str
    runs: bool


def blocks() -> list[Block]:
    """Return the Python blocks of all pages."""
    found = []
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md"))]:
        text = page.read_text()
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start("code"))
            where = f"{page.relative_to(ROOT)}:{line}"
            found.append(Block(where, textwrap.dedent(match["code"]), match["run"] is not None))
    return found


BLOCKS = blocks()


def tree(block: Block) -> ast.Module:
    """Return the syntax tree; `await` may stand at the top."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST
    compile(block.code, block.where, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    return compile(block.code, block.where, "exec", flags, dont_inherit=True)


def names_of_ours(module: ast.Module) -> set[tuple[str, str]]:
    """Return (module, name) for each name of edgeml that the code uses."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "edgeml":
            found |= {(node.module, alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {(a.name, "") for a in node.names if a.name.split(".")[0] == "edgeml"}
        elif isinstance(node, ast.Attribute):
            dotted = ast.unparse(node.value)
            if re.fullmatch(r"edgeml(\.[a-z_]+)?", dotted):
                found.add((dotted, node.attr))
    return found


def test_the_readme_has_a_program_that_runs():
    assert any(block.runs for block in BLOCKS if block.where.startswith("README.md"))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.where)
def test_block_compiles_and_its_names_exist(block):
    for module, name in names_of_ours(tree(block)):
        imported = importlib.import_module(module)
        assert not name or hasattr(imported, name), f"{block.where}: no {module}.{name}"


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.runs], ids=lambda block: block.where)
def test_block_runs(block, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", block.code], cwd=tmp_path, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{block.where}\n{done.stdout}{done.stderr}"
