"""Names of losses, optimizers and metrics as people spell them."""

from __future__ import annotations

import re

_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake(name: str) -> str:
    """Return TensorFlow.js's and class names in snake case.

    Example:
        >>> from edgeml._names import snake
        >>> snake("binaryCrossentropy"), snake("AdamW"), snake("mse")
        ('binary_crossentropy', 'adam_w', 'mse')
    """
    return _BOUNDARY.sub("_", name).lower()
