from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from edgeml.app._document import Document
from edgeml.app._options import REQUIRED, options_of, validate
from edgeml.errors import ConfigError
from edgeml.streams import Backoff


class Base:
    def __init__(self, device: str, *, name: str | None = None, hz: float = 1.0) -> None: ...


class Thing(Base):
    def __init__(
        self,
        path: str | Path | bytes,
        *,
        size: tuple[int, int] = (4, 3),
        labels: Sequence[str] | None = None,
        pace: Literal["realtime"] | None = None,
        fn: Callable[[int], int] | None = None,
        units: Mapping[str, float] | None = None,
        reconnect: Backoff | None = None,
        loop: bool = False,
        count: int = 1,
        anything: Any = None,
        **options: Any,
    ) -> None: ...


OPTIONS = options_of(Thing)


def check(toml: str) -> dict[str, Any]:
    document = Document("[sources.x]\n" + toml, "app.toml")
    return validate(document, ("sources", "x"), document.data["sources"]["x"], OPTIONS)


def test_options_are_the_keywords_that_toml_can_express() -> None:
    assert list(OPTIONS) == [
        "path", "size", "labels", "pace", "units", "reconnect", "loop", "count", "anything",
        "name", "hz",
    ]  # fmt: skip
    assert OPTIONS["path"].default is REQUIRED
    assert OPTIONS["hz"].default == 1.0


def test_only_what_is_set_is_returned_with_its_type() -> None:
    given = 'path = "a"\nsize = [1, 2]\nlabels = ["b"]\nhz = 3\nreconnect = { initial = 1 }'
    assert check(given) == {
        "path": "a", "size": (1, 2), "labels": ["b"], "hz": 3.0, "reconnect": Backoff(initial=1.0),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ('path = "a"\nlable = ["b"]', "toml:3: sources.x.lable: unknown key; did you mean labels?"),
        ("hz = 1", "app.toml:1: sources.x.path: missing; expected path = a text in quotes"),
        (
            'path = "a"\nhz = "fast"',
            'app.toml:3: sources.x.hz: expected a number; received a text, "fast"',
        ),
        ('path = "a"\nhz = true', "app.toml:3: sources.x.hz: expected a number; received true or"),
        ('path = "a"\nhz = inf', "sources.x.hz: expected a finite number; received inf"),
        ('path = "a"\ncount = 1.5', "expected a whole number; received a number, 1.5"),
        ('path = "a"\nloop = 1', "expected true or false; received a whole number, 1"),
        ('path = "a"\nlabels = "b"', "expected a list, each a text in quotes; received a text"),
        ('path = "a"\nlabels = ["b", 1]', "a list, each a text in quotes; received a list"),
        ('path = "a"\npace = "slow"', 'expected "realtime"; received a text, "slow"'),
        ('path = "a"\nsize = [1]', "expected a list of 2: a whole number, a whole number"),
        ('path = "a"\nunits = { a = "b" }', "sources.x.units: a: expected a valid number; rec"),
        (
            'path = "a"\nreconnect = { initial = 1, maxium = 2 }',
            "app.toml:3: sources.x.reconnect: unknown key maxium; did you mean maximum?",
        ),
        ('path = "a"\nfn = "x"', "sources.x.fn: unknown key"),
        ('hz = "a"\npath = 1\ncount = "x"', "app.toml:2: sources.x.hz: expected a number; rec"),
        ('hz = "a"\npath = 1\ncount = "x"', "(and 2 more)"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(toml: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(toml)
    assert message in str(caught.value)


def test_a_value_that_may_hold_a_password_is_not_quoted() -> None:
    with pytest.raises(ConfigError) as caught:
        check('path = "a"\nhz = "rtsp://me:hunter2@camera"')
    assert "hunter2" not in str(caught.value)
