"""Data from a real HTTP server, and from files by address."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import threading

import numpy as np
import pytest

from edgeml.data import Dataset
from edgeml.errors import DataError, DownloadError

TABLE = b"a,b,y\n1,2,0\n3,4,1\n"


class Server:
    """Serves what is in `files`; counts the requests."""

    def __init__(self):
        self.files = {}
        self.promised = {}
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                body = outer.files.get(self.path)
                self.send_response(404 if body is None else 200)
                body = body or b""
                self.send_header("Content-Length", str(outer.promised.get(self.path, len(body))))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEML_CACHE_DIR", str(tmp_path / "cache"))


def test_csv_is_asked_for_at_each_pass(server):
    server.files["/t.csv"] = TABLE
    data = Dataset.from_url(f"{server.url}/t.csv", label="y")
    assert server.requests == 0
    assert data.to_arrays()[0].tolist() == [[1, 2], [3, 4]]
    server.files["/t.csv"] = TABLE + b"5,6,0\n"
    assert len(list(data)) == 3
    assert server.requests == 2


def test_a_cache_asks_once(server):
    server.files["/t.csv"] = TABLE
    data = Dataset.from_csv(f"{server.url}/t.csv").cache()
    assert len(list(data)) == len(list(data)) == 2
    assert server.requests == 1


def test_a_hash_fetches_once_and_works_without_the_server(server):
    server.files["/t.csv"] = TABLE
    digest = hashlib.sha256(TABLE).hexdigest()
    address = f"{server.url}/t.csv"
    assert len(list(Dataset.from_url(address, sha256=digest))) == 2
    server.files.clear()
    assert len(list(Dataset.from_url(address, sha256=digest))) == 2
    assert server.requests == 1
    with pytest.raises(DownloadError, match="max_bytes=3"):
        list(Dataset.from_url(address, sha256=digest, max_bytes=3))


def test_text_tsv_and_gz(server):
    server.files |= {
        "/a.txt": "eins\nzwei ä\n".encode(),
        "/b.tsv": b"u\tv\n1\t2\n",
        "/c.csv.gz": gzip.compress(TABLE),
    }
    assert list(Dataset.from_url(f"{server.url}/a.txt")) == ["eins", "zwei ä"]
    assert Dataset.from_url(f"{server.url}/b.tsv").peek().tolist() == [1, 2]
    assert len(list(Dataset.from_url(f"{server.url}/c.csv.gz"))) == 2


@pytest.mark.parametrize("shape", [(5, 3), (700, 400), (4,)])
def test_npy_streams(server, tmp_path, shape):
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    np.save(tmp_path / "x.npy", array)
    server.files["/x.npy"] = (tmp_path / "x.npy").read_bytes()
    for address in (f"{server.url}/x.npy", (tmp_path / "x.npy").as_uri(), tmp_path / "x.npy"):
        got = Dataset.from_url(address).to_arrays()
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, array.astype(np.float32))
    server.files["/x.npy"] = server.files["/x.npy"][:-5]
    with pytest.raises(DataError, match="ends within row"):
        list(Dataset.from_url(f"{server.url}/x.npy"))


def test_what_the_network_does(server):
    server.files |= {"/big.txt": b"x" * 2000 + b"\n", "/bomb.txt.gz": gzip.compress(b"\n" * 10**6)}
    for name in ("big.txt", "bomb.txt.gz"):
        with pytest.raises(DownloadError, match="max_bytes=1,500"):
            list(Dataset.from_url(f"{server.url}/{name}", max_bytes=1500))
    with pytest.raises(DownloadError, match="404"):
        list(Dataset.from_url(f"{server.url}/none.txt"))
    server.files["/cut.csv"] = TABLE
    server.promised["/cut.csv"] = 999
    with pytest.raises(DownloadError, match=r"of 999 bytes came|cannot be read"):
        list(Dataset.from_url(f"{server.url}/cut.csv"))
    address = f"{server.url}/t.csv"
    server.close()
    with pytest.raises(DownloadError, match="cannot be read"):
        list(Dataset.from_url(address))


def test_secrets_are_not_in_errors(server):
    with pytest.raises(DownloadError) as caught:
        list(Dataset.from_url(f"{server.url}/none.csv?token=hush"))
    assert "hush" not in str(caught.value)


def test_bad_input(tmp_path):
    with pytest.raises(DataError, match="expected a path, file:///PATH, http"):
        Dataset.from_url("ftp://host/x.csv")
    with pytest.raises(DataError, match="No such file"):
        Dataset.from_url(tmp_path / "none.txt")
    with pytest.raises(ValueError, match="kind"):
        Dataset.from_url(tmp_path / "x", kind="json")
    with pytest.raises(TypeError, match="no options"):
        Dataset.from_url(tmp_path / "x.npy", label="y")
    (tmp_path / "x.npy").write_bytes(b"no array")
    with pytest.raises(DataError, match=r"cannot be read as \.npy"):
        Dataset.from_url(tmp_path / "x.npy")
    (tmp_path / "x.txt").write_bytes(b"ok\n\xff\n")
    with pytest.raises(DataError, match=r"x\.txt, after line \d: not text"):
        list(Dataset.from_url(tmp_path / "x.txt"))
    np.save(tmp_path / "o.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(DataError, match="Python objects"):
        Dataset.from_url(tmp_path / "o.npy")
