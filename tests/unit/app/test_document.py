from __future__ import annotations

import pytest

from edgeml.app._document import Document, nearest
from edgeml.errors import ConfigError

TEXT = '''\
schema = 1  # the first line
name="x"

[mqtt]
host = "a"
tls = { ca = "x" }

[sources.street]
labels = [
  "a", # ] not the end
  "b",
]
doc = """
[not.a.table]
x = 1
"""
'single # quoted' = 1
"a.b".c = 2
[[list]]
x = 1
[[list]]
y = 1
[sources.door]
device = 0'''


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize(
    ("key", "line"),
    [
        (("schema",), 1),
        (("mqtt",), 4),
        (("mqtt", "tls", "ca"), 6),
        (("sources",), 8),
        (("sources", "street", "labels"), 9),
        (("sources", "street", "doc"), 13),
        (("sources", "street", "single # quoted"), 17),
        (("sources", "street", "a.b", "c"), 18),
        (("list", "x"), 20),
        (("list", "y"), 22),
        (("sources", "door", "device"), 24),
        (("sources", "door", "missing"), 23),
        (("nowhere",), None),
    ],
)
def test_each_key_is_found_on_its_line(
    key: tuple[str, ...], line: int | None, newline: str
) -> None:
    assert Document(TEXT.replace("\n", newline), "app.toml").line_of(key) == line


def test_the_line_after_a_long_list_is_found_before_long() -> None:
    text = "labels = [\n" + '"a",\n' * 60_000 + "]\nx = 1\n"
    assert Document(text, "app.toml").line_of(("x",)) == 60_003


def test_an_error_names_file_line_and_key() -> None:
    error = Document(TEXT, "app.toml").error(("mqtt", "host"), "is no host")
    assert str(error) == "app.toml:5: mqtt.host: is no host"
    assert (error.file, error.line, error.key) == ("app.toml", 5, "mqtt.host")  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a = 1\nb\n", "app.toml:2:2"),
        ("a = 1\n\nb = '''x", "app.toml:3"),
        ("a=1\na=2", "app.toml:2"),
    ],
)
def test_what_is_not_toml_is_refused_with_its_place(text: str, where: str) -> None:
    with pytest.raises(ConfigError, match=f"^{where}: not TOML: "):
        Document(text, "app.toml")


def test_a_file_that_cannot_be_read_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        Document.read(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        Document.read(tmp_path)
    (tmp_path / "deep.toml").write_text("a = " + "[" * 2000 + "]" * 2000)
    with pytest.raises(ConfigError, match=r"deep\.toml: .*nested too deeply"):
        Document.read(tmp_path / "deep.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = 1\nb = 'caf\xe9'\n")
    with pytest.raises(ConfigError, match=r"latin\.toml:2: not UTF-8 text"):
        Document.read(tmp_path / "latin.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        Document.read(tmp_path / "big.toml")


def test_a_mark_of_the_byte_order_is_no_part_of_the_text(tmp_path) -> None:
    (tmp_path / "windows.toml").write_text("schema = 1\r\n", encoding="utf-8-sig")
    assert Document.read(tmp_path / "windows.toml").data == {"schema": 1}


def test_the_nearest_name_or_the_choices() -> None:
    assert nearest("devise", ["device", "pace"]) == "; did you mean device?"
    assert nearest("zzz", ["b", "a"]) == "; expected one of a, b"
    assert nearest("zzz", []) == ""
