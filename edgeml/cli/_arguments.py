"""Types of arguments that several commands take."""

from __future__ import annotations

import argparse
import math


def positive_seconds(text: str) -> float:
    """Return a time in seconds.

    Raises:
        ArgumentTypeError: it is no positive number.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number of seconds")
    return value
