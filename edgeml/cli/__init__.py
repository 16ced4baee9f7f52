"""The command ``edgeml``: each command is a module, imported when it is chosen."""

from edgeml.cli._main import main

__all__ = ["main"]
