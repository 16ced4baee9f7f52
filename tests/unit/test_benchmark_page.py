"""The benchmarks' page is the one that the kept results render to."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

ROW = {
    "case": "video | classify", "metric": "frames", "unit": "1/s", "better": "higher",
    "ours": 415.2, "peer": 297.04, "peer_name": "plain loop", "ratio": 1.3978, "target": 1.25,
    "target_on": "ratio", "met": True, "n": 7, "spread": [1.36, 1.42], "threads": 2, "batch": 1,
    "note": "",
}  # fmt: skip
OWN = {
    "metric": "lag p99", "unit": "ms", "better": "lower", "ours": 6.1, "peer": None, "ratio": None,
    "peer_name": None, "target": 5, "target_on": "ours", "met": False, "spread": None,
}  # fmt: skip


@pytest.fixture(scope="module")
def bench():
    return runpy.run_path(str(ROOT / "scripts" / "bench"))


def test_page_is_up_to_date(bench):
    results = {p.stem: json.loads(p.read_text()) for p in bench["RESULTS"].glob("*.json")}
    assert bench["PAGE"].read_text() == bench["render"](results), "run: scripts/bench --render"


def test_row_against_a_peer(bench):
    assert bench["table_row"](ROW) == (
        r"| video \| classify | frames, 1/s | 415 | 1.36 to 1.42 | 297 (plain loop) | 1.40× "
        r"| ≥ 1.25× met | 7 |  |"
    )


def test_row_with_a_figure_of_our_own_that_missed_its_target(bench):
    assert bench["table_row"](ROW | OWN) == (
        r"| video \| classify | lag p99, ms | 6.1 | – | – | – | ≤ 5 ms **missed** | 7 |  |"
    )


def test_section_names_machine_date_and_versions(bench):
    text = bench["section"](
        "streaming",
        {"machine": "x86, 2 cores", "date": "2026-01-02", "versions": {"numpy": "2.4"}, "rows": []},
    )
    assert text.startswith("## streaming\n\n2026-01-02, x86, 2 cores; numpy 2.4.\n")
