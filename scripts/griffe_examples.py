"""Lets the documentation show a docstring's ``Example:`` as code.

Griffe knows the section only as ``Examples:``; any other word becomes an admonition, whose
doctest would be read as Markdown. Named in mkdocs.yml.
"""

from __future__ import annotations

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """Renames the section before docstrings are parsed."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename it in one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(
                r"^( *)Example:$", r"\1Examples:", obj.docstring.value, flags=re.MULTILINE
            )
