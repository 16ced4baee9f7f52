"""What a broker's refusals mean, and what to do about them."""

from __future__ import annotations

import re

_NOISE = re.compile(r"^\[[^\]]*\] |\s*\(_ssl\.c:\d+\)")

# What the error says, what that means. The first that matches counts; each says that
# trying again is vain until somebody does something.
_MEANINGS = [
    (re.compile(pattern, re.IGNORECASE), advice)
    for pattern, advice in (
        (r"not authori[sz]ed|user ?name or password", "check username and password"),
        (r"client identifier", "check client_id"),
        (
            r"alert.certificate.required",
            "the broker wants a certificate of this device: give cert= and key=",
        ),
        (
            r"(tls|ssl)v\d+.alert",
            "the broker does not take this device's certificate: check cert= and key=",
        ),
        (
            r"has expired",
            "the broker's certificate must be renewed, or this device's clock is wrong",
        ),
        (
            r"not yet valid",
            "this device's clock is behind, or the broker's certificate is for later",
        ),
        (
            r"(hostname|address) mismatch|doesn't match",
            "the certificate is for another name: give that name as host=",
        ),
        (
            r"self.signed|unable to get|unknown ca",
            "give the certificate of the CA that signed the broker's with ca=",
        ),
        (r"certificate verify failed", "check ca="),
        (r"wrong.version.number|record layer", "is this port one with TLS? Check port= and tls="),
    )
]


def explain(error: BaseException, heard: str = "") -> tuple[str, bool]:
    """Return what happened in words, and whether the broker refused us or we it.

    Args:
        error: What the MQTT library raised.
        heard: What it logged before.
    """
    text = str(error) or type(error).__name__
    for said in (heard, text):
        for pattern, advice in _MEANINGS:
            if pattern.search(said):
                return f"refused: {_NOISE.sub('', said)}; {advice}", True
    detail = f" ({heard})" if heard and heard not in text else ""
    return _NOISE.sub("", text) + detail, False
