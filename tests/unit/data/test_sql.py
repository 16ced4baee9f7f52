"""Rows of a query, from a real database."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edgeml.data import Column, Dataset
from edgeml.errors import DataError


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "home.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE rooms (id INTEGER, temp REAL, room TEXT, wave BLOB)")
        wave = np.arange(4, dtype="<f4").tobytes()
        connection.executemany(
            "INSERT INTO rooms VALUES (?, ?, ?, ?)",
            [(1, 20.5, "hall", wave), (2, None, "bath", wave), (3, 22.0, "hall", wave)],
        )
    return path


def test_digits_round_trip(tmp_path):
    digits = load_digits()
    names = [f"p{i}" for i in range(64)]
    path = tmp_path / "digits.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE digits ({', '.join(f'{n} REAL' for n in names)}, y INT)")
        connection.executemany(
            f"INSERT INTO digits VALUES ({', '.join('?' * 65)})",
            np.column_stack([digits.data, digits.target]).tolist(),
        )
    data = Dataset.from_sql(path, "SELECT * FROM digits", label="y", label_dtype="int64")
    for _ in range(2):
        x, y = data.to_arrays()
        np.testing.assert_array_equal(x, digits.data.astype(np.float32))
        np.testing.assert_array_equal(y, digits.target)
        assert y.dtype == np.int64


def test_columns_parameters_and_null(database):
    data = Dataset.from_sql(
        database, "SELECT temp, room FROM rooms WHERE id < ? ORDER BY id", parameters=[3],
        label="room", columns={"room": Column(categories=["hall", "bath"])},
    )  # fmt: skip
    (x, y), (x2, y2) = data
    assert (x.tolist(), int(y), int(y2)) == ([20.5], 0, 1)
    assert np.isnan(x2[0])


def test_blobs(database):
    data = Dataset.from_sql(database, "SELECT wave FROM rooms", as_dict=True,
                            columns={"wave": Column(dtype="bytes")})  # fmt: skip
    waves = data.map(lambda row: np.frombuffer(row["wave"], "<f4")).batch(3).peek()
    assert waves.tolist() == [[0, 1, 2, 3]] * 3


def test_a_path_and_a_function_work_in_any_thread(database, no_thread_left):
    for place in (database, str(database), lambda: sqlite3.connect(database)):
        data = Dataset.from_sql(place, "SELECT id FROM rooms ORDER BY id").prefetch(1)
        assert [x.tolist() for x in data] == [[1], [2], [3]]


def test_a_connection_stays_open(database):
    with closing(sqlite3.connect(database)) as connection:
        data = Dataset.from_sql(connection, "SELECT id FROM rooms")
        assert len(list(data)) == len(list(data)) == 3
        with pytest.raises(DataError, match="give the path, or a function that connects"):
            list(data.prefetch(1))


def test_a_path_is_read_only(database):
    with pytest.raises(DataError, match="readonly"):
        list(Dataset.from_sql(database, "DELETE FROM rooms"))


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("SELECT * FROM room", {}, r"failed \(no such table: room\): SELECT \* FROM"),
        ("SELECT id FROM rooms WHERE id > 9", {}, "found no row"),
        ("SELECT id, room FROM rooms", {}, "row 1 of the query, column 'room': expected a number"),
        ("SELECT id, temp FROM rooms", {"label": "tmp"}, "no column 'tmp'; near: temp"),
        ("SELECT id, temp FROM rooms", {"dtype": "int64"}, "row 1 of the query, column 'temp'"),
        ("SELECT id FROM rooms", {"columns": {"id": Column(dtype="bytes")}, "as_dict": True},
         "expected bytes, received int"),
    ],
)  # fmt: skip
def test_bad_input(database, query, options, message):
    with pytest.raises(DataError, match=message):
        list(Dataset.from_sql(database, query, **options))


def test_no_database(tmp_path):
    with pytest.raises(DataError, match="no such database file"):
        Dataset.from_sql(tmp_path / "none.db", "SELECT 1")
    with pytest.raises(DataError, match="received int"):
        Dataset.from_sql(3, "SELECT 1")
    (tmp_path / "text.db").write_text("this is no database, but text" * 100)
    with pytest.raises(DataError, match="not a database"):
        list(Dataset.from_sql(tmp_path / "text.db", "SELECT 1 FROM x"))
