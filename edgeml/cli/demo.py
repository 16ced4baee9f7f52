"""``edgeml demo``: a video, a sound and a sensor recording through models, all at once."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import logging
import sys
from importlib import resources
from pathlib import Path

from edgeml.cli._arguments import positive_seconds

log = logging.getLogger("edgeml.cli")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "--seconds", type=positive_seconds, default=30.0, help="how long (default: 30)"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one event a line, and a summary line at the end"
    )


def main(args: argparse.Namespace) -> int:
    """Run the packaged application; after Ctrl-C it ends with its summary and status 0."""
    from edgeml.app import App, read_config
    from edgeml.cli._count import Subscriber
    from edgeml.cli._play import Player, play

    config = read_config(Path(str(resources.files("edgeml") / "app" / "demo.toml")))
    if missing := [name for name in ("aiomqtt", "amqtt") if importlib.util.find_spec(name) is None]:
        log.warning(
            "nothing is published: %s is not installed: pip install 'edgeml-runtime[demo]'",
            " and ".join(missing),
        )
        config = dataclasses.replace(config, mqtt=None)
    app = App(config)
    player = Player(app, as_json=args.json)
    app.build()
    subscriber = Subscriber(app.sink) if app.sink is not None else None
    if subscriber is not None:
        player.beside.append(subscriber.run)
    play(player, args.seconds)
    if subscriber is not None:
        # Not among the JSON lines: their last one is the summary.
        print(subscriber.line(), file=sys.stderr if args.json else sys.stdout)
    return 0
