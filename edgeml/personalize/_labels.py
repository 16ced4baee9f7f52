"""What may stand as a label or a subject."""

from __future__ import annotations

import unicodedata
from typing import Any

from edgeml.errors import DataError

_LONGEST = 200  # characters


def check_label(label: Any) -> str:
    """Return a label in Unicode's composed form, without space around it.

    Raises:
        DataError: it is no text, empty, too long, or holds control characters.
    """
    return _checked("label", label, 1)


def check_subject(subject: Any) -> str:
    """Return whom an example is of, as a label but for that it may be empty.

    Raises:
        DataError: it is no text, too long, or holds control characters.
    """
    return _checked("subject", subject, 0)


def _checked(what: str, given: Any, least: int) -> str:
    if not isinstance(given, str):
        raise DataError(f"{what}: expected a text, received {type(given).__name__}")
    text = unicodedata.normalize("NFC", given).strip()
    control = any(unicodedata.category(c)[0] == "C" for c in text)
    if not least <= len(text) <= _LONGEST or control:
        raise DataError(
            f"{what}: expected {least} to {_LONGEST} characters without control characters; "
            f"received {len(text)}, {text[:40]!r}"
        )
    return text
