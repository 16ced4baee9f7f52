"""``edgeml devices``: what is connected, and what is missing to use it."""

from __future__ import annotations

import argparse

from edgeml.cli._output import print_json, print_table

SCHEMA = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(args: argparse.Namespace) -> int:
    """List the devices of this machine."""
    from edgeml.devices import discover

    found = discover()
    if args.json:
        devices = [info.to_dict() for info in found]
        print_json({"type": "devices", "schema": SCHEMA, "devices": devices})
        return 0
    there = [info for info in found if info.problem is None]
    if there:
        print_table(
            ("KIND", "DEVICE", "NAME"),
            [(i.kind, "-" if i.device is None else str(i.device), i.name) for i in there],
        )
    else:
        print("No devices were found.")
    for info in found:
        if info.problem is not None:
            advice = f"\n    {info.install}" if info.install else ""
            print(f"\n{info.kind}: {info.problem}{advice}")
    return 0
