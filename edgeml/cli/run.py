"""``edgeml run``: run an app.toml until it ends, or Ctrl-C."""

from __future__ import annotations

import argparse
import signal

from edgeml.cli._arguments import positive_seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("app", metavar="app.toml", help="the application's configuration")
    parser.add_argument("--seconds", type=positive_seconds, help="stop after this time")
    parser.add_argument(
        "--json", action="store_true", help="print one event a line, and a summary line at the end"
    )


def main(args: argparse.Namespace) -> int:
    """Run an application; the status is 130 after Ctrl-C and 0 after SIGTERM."""
    from edgeml.app import load_app
    from edgeml.cli._main import INTERRUPTED
    from edgeml.cli._play import Player, play

    ended_by = play(Player(load_app(args.app), as_json=args.json), args.seconds)
    return INTERRUPTED if ended_by == signal.SIGINT else 0
