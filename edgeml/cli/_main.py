"""Dispatch: find the command, run it, turn errors into one line and an exit status."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import logging
import os
import sys
from collections.abc import Sequence

from edgeml._version import __version__
from edgeml.cli._output import LogFormatter, printable
from edgeml.errors import EdgeMLError, StageFailed

COMMANDS = {
    "demo": "stream video, audio and a sensor recording through models, at the same time",
    "run": "run an app.toml",
    "devices": "list cameras, microphones, sensors and outputs",
    "doctor": "check this machine: libraries, system packages, permissions",
    "bench": "measure a model's latency over thread counts, or on each delegate",
    "compare": "compare two models on the same data: quality, size, time",
    "eval": "measure a model's accuracy on the pictures or arrays that optimize takes",
    "evaluate": "report on a model: all metrics with intervals, slices, against common sense",
    "inspect": "show a model's inputs, outputs, metadata, size and operators",
    "optimize": "shrink a model, and prove that it keeps its promise",
    "teach": "show an app's task new classes, train, accept, take back",
    "plot": "draw training curves, predictions, and the inside of a model",
    "service": "set an app.toml up as a service of systemd, for its board",
}

USAGE_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        0 when all went well, 1 on an error, 2 on a usage error, 130 after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    chosen = next((a for a in arguments if not a.startswith("-")), None)
    parser = _parser(chosen)
    try:
        args = parser.parse_args(arguments)
    except SystemExit as exit_:  # argparse has printed what it had to say
        return exit_.code if isinstance(exit_.code, int) else USAGE_ERROR
    if args.command is None:
        parser.print_help()
        return USAGE_ERROR
    if sys.stdout is None:  # whoever started us has closed it
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that knows no µ or … shows a ?
            stream.reconfigure(errors="replace")
    _set_up_logging(args.verbose, debug=args.debug)
    return _run(args)


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show tracebacks and debug messages")
    common.add_argument("-v", "--verbose", action="store_true", help="show more messages")
    parser = argparse.ArgumentParser(
        prog="edgeml", description="The on-device ML runtime for Python.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"edgeml {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(
            name, help=summary, description=summary, parents=[common], allow_abbrev=False
        )
        if name == chosen:
            importlib.import_module(f"edgeml.cli.{name}").add_arguments(command)
    return parser


def _run(args: argparse.Namespace) -> int:
    command = importlib.import_module(f"edgeml.cli.{args.command}")
    try:
        status: int = command.main(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has gone; Python must not try to flush it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except KeyboardInterrupt:
        return INTERRUPTED
    except EdgeMLError as error:
        foreign = isinstance(error, StageFailed) and not isinstance(error.__cause__, EdgeMLError)
        hint = "; --debug shows where" if foreign and not args.debug else ""
        return _report(error, f"{error}{hint}", debug=args.debug)
    except Exception as error:
        if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT):
            return _report(error, f"the disk is full: {error}", debug=args.debug)
        hint = "" if args.debug else "; --debug shows where; please report it"
        text = f"internal error: {type(error).__name__}: {error}{hint}"
        return _report(error, text, debug=args.debug)
    return status


def _report(error: Exception, text: str, *, debug: bool) -> int:
    if debug:
        import traceback

        traceback.print_exception(error)
    print("edgeml: error:", printable(" ".join(text.split())), file=sys.stderr)
    return 1


def _set_up_logging(verbose: bool, *, debug: bool) -> None:
    level = logging.DEBUG if debug else logging.INFO if verbose else logging.WARNING
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter())
    logging.basicConfig(handlers=[handler])
    logging.getLogger("edgeml").setLevel(level)
