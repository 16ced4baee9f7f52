"""Tables of text."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from sklearn.datasets import load_digits

from edgeml.data import Column, Dataset
from edgeml.errors import DataError

IRIS = "length,width,species\n5.1,3.5,setosa\n7.0,,versicolor\n6.3,3.3,setosa\n"
KINDS = Column(categories=["setosa", "versicolor"])


@pytest.fixture
def table(tmp_path):
    def write(text, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_digits_round_trip(tmp_path):
    digits = load_digits()
    both = np.column_stack([digits.data, digits.target])
    path = tmp_path / "digits.csv"
    np.savetxt(path, both, delimiter=",", fmt="%g")
    data = Dataset.from_csv(path, header=False, label=-1, label_dtype="int64")
    x, y = data.to_arrays()
    assert (x.dtype, y.dtype, x.shape) == (np.float32, np.int64, (1797, 64))
    np.testing.assert_array_equal(x, digits.data.astype(np.float32))
    np.testing.assert_array_equal(y, digits.target)


def test_features_are_a_vector_and_empty_cells_nan(table):
    data = Dataset.from_csv(table(IRIS), label="species", columns={"species": KINDS})
    (x, y), (x2, y2), _ = data
    assert x.tolist() == [np.float32(5.1), 3.5]
    assert (int(y), int(y2)) == (0, 1)
    assert y.dtype == np.int64
    assert np.isnan(x2[1])


def test_dict_of_configured_columns(table):
    data = Dataset.from_csv(
        table(IRIS), as_dict=True, configured_only=True,
        columns={"width": Column(default=3.0), "species": Column(dtype="str")},
    )  # fmt: skip
    assert [(float(row["width"]), row["species"]) for row in data] == [
        (3.5, "setosa"), (3.0, "versicolor"), (np.float32(3.3), "setosa"),
    ]  # fmt: skip


def test_columns_in_the_order_asked_for(table):
    data = Dataset.from_csv(table("a,b,c\n1,2,3\n"), columns=["c", "a"])
    assert data.peek().tolist() == [3, 1]


def test_several_labels(table):
    path = table("a,b,c\n1,2,3\n")
    x, y = Dataset.from_csv(path, label=["b", "c"]).peek()
    assert (x.tolist(), y.tolist()) == ([1], [2, 3])
    _, y = Dataset.from_csv(path, label=["b"], as_dict=True).peek()
    assert y == {"b": 2}


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("1\t2\n", {"delimiter": "\t", "header": False}, [1, 2]),
        ("  1   2\n", {"delimiter": None, "header": False}, [1, 2]),
        ('"a","b"\n"1","2"\n', {}, [1, 2]),
        ("\ufeffa,b\r\n1,2\r\n", {"label": None, "columns": ["a", "b"]}, [1, 2]),
        ("a,b\n\n1,2\n\n", {}, [1, 2]),
        ("ä\n1\n".encode("latin-1"), {"encoding": "latin-1", "columns": ["ä"]}, [1]),
        ("a,b\n1,2\n", {"names": ["u", "v"], "columns": ["v"]}, [2]),
        ("a,b\n 1 ,1e3\n", {"dtype": "int32"}, [1, 1000]),
        ("a,b\ntrue,0\n", {"dtype": "bool"}, [True, False]),
        ("a,b\ninf,-nan\n", {"columns": ["a"]}, [np.inf]),
    ],
)
def test_spellings(table, text, options, expected):
    assert Dataset.from_csv(table(text), **options).to_arrays().tolist() == [expected]


def test_gz(tmp_path):
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert Dataset.from_csv(tmp_path / "t.csv.gz").peek().tolist() == [1, 2]
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 99)[:-9])
    with pytest.raises(DataError, match=r"cut\.csv\.gz: cannot be read"):
        list(Dataset.from_csv(tmp_path / "cut.csv.gz"))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (IRIS, {"label": "speices"}, r"label=.*no column 'speices'; near: species"),
        (IRIS, {"columns": ["hight"]}, r"columns=.*no column 'hight'"),
        (IRIS, {"columns": {"lenght": Column()}}, "near: length"),
        (IRIS, {"label": 3}, "there are: length, width, species"),
        (IRIS, {"label": ["length"], "columns": ["length"]}, "no column is left"),
        ("a,a\n1,2\n", {}, "'a' is there twice"),
        ("", {}, "it is empty"),
        ("a,b\n1,2\n", {"names": ["a"]}, "names= has 1 names, and there are 2"),
        (IRIS, {"columns": {"species": Column(dtype="str")}}, "is text, and x is one vector"),
        ("a\n1\n", {"columns": {"a": Column(dtype="M8[s]")}}, "not one of numbers or text"),
    ],
)
def test_mistakes_that_are_known_at_once(table, text, options, message):
    with pytest.raises(DataError, match=message):
        Dataset.from_csv(table(text), **options)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("a,b\n1,2\n3,x\n", {}, r"table.csv, line 3, column 'b': expected a number, received 'x'"),
        ('a,b\n"1",2\n"\n",2\n3,z\n', {"columns": ["b"]}, "line 5, column 'b'"),
        ("a,b\n1,2\n3\n", {}, "line 3: 1 cells, expected 2"),
        ("a,b\n", {}, "no row of data"),
        ("a,b\n1,1_000\n", {}, "received '1_000'"),
        ("a\n1.5\n", {"dtype": "int64"}, "expected a whole number"),
        ("a\ninf\n", {"dtype": "int64"}, "expected a whole number"),
        ("a\n300\n", {"dtype": "uint8"}, "does not fit into uint8"),
        ("a,b\n1,\n", {"dtype": "int64"}, "the cell is empty"),
        ("a,b\n1,\n", {"columns": {"b": Column(required=True)}}, "line 2, column 'b': the cell is"),
        ("a\nmaybe\n", {"dtype": "bool"}, "expected true or false"),
        ("a,s\n1,setosq\n", {"columns": {"s": KINDS}}, r"none of the categories \(near: setosa\)"),
        ("a,s\n1,x\n", {"columns": {"s": KINDS}}, "they are: setosa, versicolor"),
        ('a,b\n1,"2\n', {}, "not CSV"),
        (b"a,b\n1,\xff\n", {}, "not CSV in utf-8"),
    ],
)
def test_mistakes_that_a_pass_finds(table, text, options, message):
    with pytest.raises(DataError, match=message):
        list(Dataset.from_csv(table(text), **options))


def test_a_wrong_delimiter_and_file(tmp_path, table):
    with pytest.raises(ValueError, match="one character"):
        Dataset.from_csv(table(IRIS), delimiter="::")
    with pytest.raises(DataError, match=r"none\.csv: cannot be read \(No such file"):
        Dataset.from_csv(tmp_path / "none.csv")
    with pytest.raises(DataError, match="Is a directory"):
        Dataset.from_csv(tmp_path)


def test_leaving_early_closes_the_file(table):
    path = table("a\n" + "1\n" * 10_000)
    for _ in Dataset.from_csv(path).prefetch(2):
        break  # an open file would be a ResourceWarning, which is an error
