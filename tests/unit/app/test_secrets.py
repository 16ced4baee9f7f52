from __future__ import annotations

import pytest

from edgeml.app._secrets import SecretError, resolve


def test_secrets_come_from_the_environment_files_and_credentials(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "token").write_text("s3cret\nsecond line\n")
    given = {"a": ["env:BROKER_PASSWORD"], "b": f"file:{tmp_path}/token", "c": "cred:token", "d": 1}
    assert resolve(given) == {"a": ["hunter2"], "b": "s3cret", "c": "s3cret", "d": 1}


@pytest.mark.parametrize("plain", ["rtsp://camera/1", "edgeml:street.mp4", "env", "csi:0", ""])
def test_other_texts_are_left_alone(plain: str) -> None:
    assert resolve(plain) == plain


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("env:EDGEML_NO_SUCH", "variable EDGEML_NO_SUCH is not set"),
        ("env:", "names no secret"),
        ("file:/no/such/file", "cannot be read: No such file"),
        ("file:///etc/hostname", "is a URL: a secret.s file is named file:PATH"),
        ("cred:x", "needs a systemd credential"),
    ],
)
def test_a_missing_secret_says_what_to_do(reference: str, message: str, monkeypatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SecretError, match=message):
        resolve(reference)


def test_a_credential_cannot_leave_its_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    with pytest.raises(SecretError, match="has a path in it"):
        resolve("cred:../x")


def test_an_empty_or_binary_file_is_no_secret(tmp_path) -> None:
    (tmp_path / "empty").write_text("\nx")
    with pytest.raises(SecretError, match="is empty"):
        resolve(f"file:{tmp_path}/empty")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(SecretError, match="not text"):
        resolve(f"file:{tmp_path}/binary")
