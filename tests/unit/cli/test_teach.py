"""``edgeml teach``: from nothing to a task that tells two motions apart, and back."""

from __future__ import annotations

import builtins
import json
import math
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeml.cli import main

APP = """\
schema = 1
[sources.watch]
type = "csv"
path = "{0}.csv"
[tasks.gestures]
type = "personal"
source = "watch"
model = "edgeml:activity_watch_int8.onnx"
store = "gestures"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two apps with one store: a watch that is shaken up and down, and sideways."""
    folder = tmp_path_factory.mktemp("teach")
    rng = random.Random(0)
    for name, axis in (("up", 2), ("side", 0)):
        rows = ["t,ax,ay,az,gx,gy,gz"]
        for i in range(50 * 12):
            row = [rng.gauss(0, 0.3) for _ in range(6)]
            row[axis] += 6 * math.sin(i / 8)
            rows.append(f"{i / 50}," + ",".join(f"{value:.3f}" for value in row))
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n")
        (folder / f"{name}.toml").write_text(APP.format(name))
    return folder


@pytest.fixture
def app(folder, tmp_path) -> Path:
    """The app of the first watch, with a store of its own."""
    for file in folder.iterdir():
        (tmp_path / file.name).write_text(file.read_text())
    return tmp_path / "up.toml"


@pytest.fixture
def teach(capsys):
    """Run the command; return its status, its lines, and its error."""

    def run(file: Path, *arguments: str) -> tuple[int, list[str], str]:
        status = main(["teach", str(file), *arguments])
        shown = capsys.readouterr()
        return status, shown.out.splitlines(), shown.err

    return run


COLLECT = ("--count", "4", "--countdown", "0")


def test_from_nothing_to_a_head_and_back(app, teach) -> None:
    side = app.with_name("side.toml")
    assert teach(app, "status")[1][1:4] == [
        "examples  none", "in use    none, tells unknown", "candidate none"
    ]  # fmt: skip
    status, lines, _ = teach(app, "collect", "up", *COLLECT, "--subject", "me")
    assert (status, lines[0], lines[-1]) == (
        0, "  kept (example 1), 3 to go", "4 kept, 0 turned away: 4 up"
    )  # fmt: skip
    status, lines, _ = teach(side, "collect", "side", *COLLECT, "--json")
    *steps, answer = map(json.loads, lines)
    assert [step["step"]["left"] for step in steps] == [3, 2, 1, 0]
    assert answer["result"]["counts"] == {"up": 4, "side": 4}
    assert (answer["type"], answer["schema"], answer["ok"]) == ("answer", 1, True)
    _, lines, _ = teach(app, "train")
    assert lines[0] == "  training …"
    assert lines[1].startswith("nearest-mean: up has 4 examples")
    assert lines[-1].endswith("is a candidate: `accept` uses it")
    assert teach(app, "accept")[1][0].endswith("is in use")
    _, lines, _ = teach(app, "collect", "up", *COLLECT)
    assert any("turned away: the sample is nearly the same" in line for line in lines)
    _, lines, _ = teach(app, "train", "--accept", "--json")
    trained = json.loads(lines[-1])["result"]
    assert trained["accepted"]
    assert trained["report"]["gain"] is not None
    assert teach(app, "rollback")[1][0].endswith("is in use again")
    assert [line.split()[1] for line in teach(app, "history")[1]] == [
        "accept", "accept", "rollback"
    ]  # fmt: skip
    _, lines, _ = teach(app, "examples", "up", "--limit", "2", "--json")
    listed = json.loads(lines[0])["result"]
    assert (len(listed["examples"]), listed["of"]) == (2, 8)
    assert set(listed["examples"][0]) == {"id", "label", "subject", "added"}
    _, lines, _ = teach(app, "examples")
    assert lines[0].endswith("up, me")
    assert lines[-1] == "12 of 12 examples"
    assert teach(app, "remove", "1")[1] == ["removed; left are 7 up, 4 side"]
    assert teach(app, "forget", "side")[1] == ["4 examples forgotten; left are 7 up"]
    assert teach(app, "forget", "--everything", "--json")[0] == 0
    assert teach(app, "status")[1][1] == "examples  none"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("train",), "there are no examples yet"),
        (("accept",), "there is no candidate to accept: train first"),
        (("rollback",), "no earlier version"),
        (("remove", "9"), "there is no example 9"),
        (("forget",), "expected a LABEL, or --everything"),
        (("collect", "x" * 10_000), "a text of 1 to 200 characters"),
        (("collect", "up\x1b[2J", "--countdown", "0", "--within", "1"), "control characters"),
        (("collect", "up", "--count", "0"), "count: expected integer, 1 to 1000; received 0"),
        (("collect", "../../x", "--count", "90", *COLLECT[2:]), "ended after"),
        (("collect", "up", "--countdown", "nan"), "expected number, 0 to 60; received NaN"),
        (("collect", "up", "--subject", "a\x1b[2J"), "subject: expected 0 to 200 characters"),
        (("remove", "-1"), "example: expected integer, 1 to 9007199254740992; received -1"),
        (("forget", "up"), "there is no class 'up'; there are: none"),
        (("status", "--task", "x"), "expected one of gestures; received 'x'"),
        ((), "the input is no terminal"),
    ],
)
def test_what_is_wrong_is_one_line(app, teach, monkeypatch, arguments, said) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    status, _, error = teach(app, *arguments)
    assert status == 1
    assert error.startswith("edgeml: error: ")
    assert said in error
    assert error.count("\n") == 1
    assert sorted(p.name for p in app.parent.iterdir() if p.is_dir()) in ([], ["gestures"])


@pytest.mark.parametrize("store", ["", "a\\u0000b"])
def test_a_store_that_is_no_folder_is_named_with_its_line(app, teach, store) -> None:
    app.write_text(app.read_text().replace('store = "gestures"', f'store = "{store}"'))
    status, _, error = teach(app, "status")
    assert status == 1
    assert "up.toml:9: tasks.gestures.store: " in error
    assert "expected a folder" in error
    assert not (app.parent / "store.sqlite").exists()


def test_what_is_forgotten_by_a_wrong_name_changes_nothing(app, teach) -> None:
    for file in (app, app.with_name("side.toml")):
        assert teach(file, "collect", f"caf\u00e9 {file.stem}", *COLLECT)[0] == 0
    teach(app, "train", "--accept")
    before = teach(app, "history")[1]
    status, _, error = teach(app, "forget", "cafe up")
    assert (status, "there are: caf\u00e9 up, caf\u00e9 side" in error) == (1, True)
    assert teach(app, "history")[1] == before
    assert teach(app, "examples", "--limit", "0")[1] == ["0 of 8 examples"]
    decomposed = "cafe\u0301 up"  # as some systems type it
    assert teach(app, "examples", decomposed, "--limit", "9")[1][-1] == "4 of 4 examples"
    assert teach(app, "forget", decomposed)[1][-1].startswith("4 examples forgotten")
    assert teach(app, "examples", "--limit", "-1")[0] == 2


def test_a_store_of_another_backbone_is_refused_or_embedded_anew(app, teach) -> None:
    app.write_text(app.read_text() + "keep_raw = true\n")
    assert teach(app, "collect", "up", *COLLECT)[0] == 0
    app.write_text(app.read_text() + 'features = "probabilities"\n')
    status, _, error = teach(app, "status")
    assert status == 1
    assert "4 of its 4 examples were kept raw" in error
    assert "reembed = true" in error
    app.write_text(app.read_text() + "reembed = true\n")
    assert teach(app, "status")[1][1] == "examples  4 up"


def test_an_app_without_such_a_task(app, teach) -> None:
    app.write_text(APP.partition("[tasks")[0].format("up"))
    assert "no task is taught; add one" in teach(app, "status")[2]


def test_asks_for_classes_trains_and_asks_whether_to_use_it(app, capsys, monkeypatch) -> None:
    said = iter(["", "up", "bad\x07label", "", "n"])

    def answer(prompt: str) -> Any:
        print(prompt)
        try:
            return next(said)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(builtins, "input", answer)
    monkeypatch.setattr("edgeml.cli._teach_ask.COUNTDOWN", 0.0)
    assert main(["teach", str(app)]) == 0
    shown = capsys.readouterr().out
    assert "class to show now (empty: train):" in shown
    assert "there are no examples yet" in shown
    assert "kept (example 5), 0 to go" in shown
    assert "control characters" in shown
    assert "one class only, 'up'" in shown
    assert "\x07" not in shown
