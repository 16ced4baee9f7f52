"""``edgeml doctor``: is this machine fit for edgeml, and if not, which command mends it."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from edgeml.cli._output import print_json

SCHEMA = 1

_SIGNS = {"ok": "ok   ", "info": "     ", "warning": "WARN ", "error": "ERROR"}
_COLOURS = {"ok": "\x1b[32m", "info": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument(
        "app", nargs="?", metavar="app.toml", help="check this application and its broker, too"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(args: argparse.Namespace) -> int:
    """Check this machine; the exit status is 1 if something cannot work."""
    from edgeml.cli._checks import check_machine

    findings = check_machine()
    if args.app is not None:
        from edgeml.cli._check_app import check_app

        findings += check_app(args.app)
    failed = any(finding.status == "error" for finding in findings)
    if args.json:
        listed = [asdict(finding) for finding in findings]
        print_json({"type": "doctor", "schema": SCHEMA, "ok": not failed, "findings": listed})
        return int(failed)
    coloured = sys.stdout.isatty()
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        sign = _SIGNS[finding.status]
        if coloured:
            sign = f"{_COLOURS[finding.status]}{sign}\x1b[0m"
        print(f"{sign} {finding.name.ljust(width)}  {finding.found}")
        if finding.fix:
            print(f"{'':{width + 8}}-> {finding.fix}")
    return int(failed)
