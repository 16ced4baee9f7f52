from __future__ import annotations

import hashlib
import logging
import os
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import edgeml
from edgeml.cli import main
from edgeml.errors import DownloadError
from edgeml.runtime import _download, inspect, measure


class Server(ThreadingHTTPServer):
    """Serves `files`, counts requests, and can break the connection or redirect."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.redirects = {}
        self.requests = 0
        self.cut_after = None
        self.scheme = "http"

    def url(self, path):
        return f"{self.scheme}://localhost:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.requests += 1
        path = self.path.split("?")[0]
        if path in server.redirects:
            self.send_response(302)
            self.send_header("Location", server.redirects[path])
            self.end_headers()
        elif path not in server.files:
            self.send_error(404)
        else:
            content = server.files[path]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: server.cut_after])

    def log_message(self, *args):
        """Say nothing."""


def serve(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def content(doubles):
    return doubles.read_bytes()


@pytest.fixture
def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def http(content):
    server = Server()
    server.files["/m/model.onnx"] = content
    yield from serve(server)


@pytest.fixture
def https(content, tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-keyout {key} -out {cert} -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run(command.split(), check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(cert))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = Server()
    server.files["/m/model.onnx"] = content
    server.scheme = "https"
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield from serve(server)


def kept(cache):
    """Return the files in the cache."""
    return sorted(file.name for file in (cache / "models").glob("*"))


def works(session):
    with session:
        return session.run(np.ones((1, 3)))["y"].tolist() == [[2, 2, 2]]


def test_https_is_fetched_once_and_loads_offline_afterwards(https, cache, sha256):
    url = https.url("/m/model.onnx")
    assert works(edgeml.load(url))
    assert len(kept(cache)) == 1
    assert kept(cache)[0].endswith(f"-{sha256}.onnx")
    https.files.clear()
    assert works(edgeml.load(url))
    assert works(edgeml.load(url, sha256=sha256.upper()))
    assert https.requests == 1


async def test_load_async(https):
    assert works(await edgeml.load_async(https.url("/m/model.onnx")))


def test_http_with_a_hash(http, cache, sha256):
    assert works(edgeml.load(http.url("/m/model.onnx"), sha256=sha256))
    http.files.clear()
    assert works(edgeml.load(http.url("/m/model.onnx"), sha256=sha256))
    assert http.requests == 1


def test_http_without_a_hash_is_refused(http):
    with pytest.raises(DownloadError, match="can be changed on the way, so give sha256="):
        edgeml.load(http.url("/m/model.onnx"))
    assert http.requests == 0


def test_another_hash_is_refused_and_nothing_is_kept(http, cache, sha256):
    with pytest.raises(DownloadError, match=f"expected sha256 {'0' * 64}, received {sha256}"):
        edgeml.load(http.url("/m/model.onnx"), sha256="0" * 64)
    assert kept(cache) == []


def test_a_redirect_from_https_to_http_needs_a_hash(https, http, cache, sha256):
    https.redirects["/old.onnx"] = http.url("/m/model.onnx")
    with pytest.raises(DownloadError, match="it redirects to http://"):
        edgeml.load(https.url("/old.onnx"))
    assert kept(cache) == []
    assert works(edgeml.load(https.url("/old.onnx"), sha256=sha256))


def test_a_redirect_to_a_file_is_refused(https, cache, doubles):
    https.redirects["/old.onnx"] = f"file://{doubles}"
    with pytest.raises(DownloadError, match="cannot be fetched"):
        edgeml.load(https.url("/old.onnx"))
    assert kept(cache) == []


def test_a_certificate_nobody_vouches_for_is_refused(https, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DownloadError, match="certificate verify failed"):
        edgeml.load(https.url("/m/model.onnx"))


def test_a_page_that_is_not_there(http, cache, sha256):
    with pytest.raises(DownloadError, match=r"HTTP Error 404.*not in the cache") as caught:
        edgeml.load(http.url("/missing.onnx"), sha256=sha256)
    assert caught.value.url == http.url("/missing.onnx")
    assert kept(cache) == []


def test_offline_without_a_cache(sha256):
    server = Server()
    url = server.url("/m/model.onnx")
    server.server_close()
    with pytest.raises(DownloadError, match=r"cannot be fetched .* and is not in the cache"):
        edgeml.load(url, sha256=sha256)


def test_a_connection_that_breaks(http, cache, content, sha256):
    http.cut_after = 20
    message = rf"20 of {len(content):,} bytes came, then the connection broke"
    with pytest.raises(DownloadError, match=message):
        edgeml.load(http.url("/m/model.onnx"), sha256=sha256)
    assert kept(cache) == []


def test_a_file_that_is_too_large(http, cache, monkeypatch, sha256):
    monkeypatch.setattr(_download, "MAX_BYTES", 20)
    with pytest.raises(DownloadError, match="larger than 20 bytes; it was not kept"):
        edgeml.load(http.url("/m/model.onnx"), sha256=sha256)
    assert kept(cache) == []


@pytest.mark.parametrize("with_hash", [True, False])
def test_a_damaged_cache_is_fetched_again(https, cache, sha256, caplog, with_hash):
    url = https.url("/m/model.onnx")
    given = {"sha256": sha256} if with_hash else {}
    edgeml.load(url, **given).close()
    (file,) = (cache / "models").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    with caplog.at_level(logging.WARNING, "edgeml.runtime"):
        assert works(edgeml.load(url, **given))
    assert "was damaged: it is fetched again" in caplog.text
    assert https.requests == 2
    assert len(kept(cache)) == 1


def test_another_version_is_fetched_when_its_hash_is_given(https, cache, doubles_with):
    url = https.url("/m/model.onnx")
    edgeml.load(url).close()
    new = doubles_with(props={"edgeml.origin": "new"}, name="new.onnx").read_bytes()
    https.files["/m/model.onnx"] = new
    with edgeml.load(url) as session:
        assert session.metadata.origin == ""
    with edgeml.load(url, sha256=hashlib.sha256(new).hexdigest()) as session:
        assert session.metadata.origin == "new"
    assert len(kept(cache)) == 2


def test_a_cache_that_cannot_be_written(https, cache):
    cache.write_text("a file is in the way")
    with pytest.raises(DownloadError, match="set EDGEML_CACHE_DIR to a folder that can be written"):
        edgeml.load(https.url("/m/model.onnx"))


def test_what_may_be_secret_in_a_url_is_not_told(https, cache, caplog):
    with caplog.at_level(logging.DEBUG, "edgeml.runtime"):
        with edgeml.load(https.url("/m/model.onnx?token=s3cret")) as session:
            assert session.path == https.url("/m/model.onnx")
        with pytest.raises(DownloadError) as caught:
            edgeml.load(https.url("/missing.onnx?token=s3cret"))
        with pytest.raises(DownloadError, match="without a user or password") as refused:
            edgeml.load("https://user:s3cret@localhost/model.onnx")
    assert "fetched" in caplog.text
    for text in (caplog.text, str(caught.value), str(refused.value), *kept(cache)):
        assert "s3cret" not in text
        assert "user" not in text.replace("a user or", "").replace(os.fspath(cache), "")


@pytest.mark.parametrize("url", ["https://", "https:///model.onnx", "http://[::1/model.onnx"])
def test_what_is_no_url(url, sha256):
    with pytest.raises(DownloadError):
        edgeml.load(url, sha256=sha256)


def test_a_path_in_the_url_does_not_lead_out_of_the_cache(https, cache, content):
    https.files["/../../evil.sh"] = content
    assert works(edgeml.load(https.url("/../../evil.sh")))
    (file,) = cache.rglob("*-*")
    assert file.parent == cache / "models"
    assert "evil" not in file.name


def test_what_is_secret_in_a_url_is_told_by_nothing(https, capsys):
    url = https.url("/m/model.onnx?token=s3cret")
    told = [inspect(url).path, measure(url, "cpu", seconds=0.01, remember=False).model]
    for command in (["inspect", url], ["bench", url, "--seconds", "0.01"]):
        assert main([*command, "--json"]) == 0
        assert main(command) == 0
    assert main(["bench", url, "--seconds", "0.01", "--delegates", "cpu"]) == 0
    told += capsys.readouterr()
    assert "/m/model.onnx" in told[0]
    assert not any("s3cret" in text for text in told)
