"""``edgeml teach``: show an app's task new classes, train, accept, take back."""

from __future__ import annotations

import argparse
import asyncio
import sys
from typing import TYPE_CHECKING, Any

from edgeml.cli._output import print_json

if TYPE_CHECKING:
    from edgeml.cli._teach_local import Taught

_LIMIT = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    common = argparse.ArgumentParser(add_help=False)
    for flags in (("--debug",), ("-v", "--verbose")):  # they may stand at the end, too
        common.add_argument(*flags, action="store_true", default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)  # fmt: skip
    common.add_argument("--task", default="", help="which task, where several are taught")
    common.add_argument("--json", action="store_true", help="print one JSON document a line")
    parser.add_argument("app", metavar="app.toml", help="the application's configuration")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", title="actions, by default "
                                    "asking for classes, then training")  # fmt: skip
    made = {
        name: actions.add_parser(
            name, help=text, description=text, parents=[common], allow_abbrev=False
        )
        for name, text in _ACTIONS.items()
    }
    collect = made["collect"]
    collect.add_argument("label", metavar="LABEL", help='the class; "unknown" for anything else')
    collect.add_argument("--count", type=int, help="how many examples (default: 5)")
    collect.add_argument("--countdown", type=float, metavar="SECONDS", help="(default: 3)")
    collect.add_argument("--every", type=float, metavar="SECONDS",
                         help="time between two that are tried (default: 0.5)")  # fmt: skip
    collect.add_argument("--within", type=float, metavar="SECONDS",
                         help="when to give up (default: 60)")  # fmt: skip
    collect.add_argument("--subject", metavar="NAME", help="whom they are of")
    made["train"].add_argument("--accept", action="store_true", default=None,
                               help="use it at once, unless it is worse")  # fmt: skip
    made["accept"].add_argument("--force", action="store_true", default=None,
                                help="even though it is significantly worse")  # fmt: skip
    made["examples"].add_argument("label", metavar="LABEL", nargs="?", help="of one class only")
    made["examples"].add_argument("--limit", type=_natural, default=_LIMIT, metavar="N",
                                  help=f"the newest so many (default: {_LIMIT})")  # fmt: skip
    made["remove"].add_argument("example", metavar="NUMBER", type=int)
    made["forget"].add_argument("label", metavar="LABEL", nargs="?")
    made["forget"].add_argument("--everything", action="store_true", help="all classes")


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 0 or more; received {text!r}")
    return int(text)


_ACTIONS = {
    "status": "show what the task knows",
    "collect": "take examples of a class from the task's source",
    "train": "make a candidate of the examples, and say how good it is",
    "accept": "use the candidate from now on",
    "rollback": "use the head before the current one again",
    "history": "list what was accepted, taken back and forgotten",
    "examples": "list the newest examples",
    "remove": "delete an example",
    "forget": "delete a class with all heads that know it, and learn the rest anew",
}
_OPTIONS = ("label", "count", "countdown", "every", "within", "subject", "accept", "force",
            "example")  # fmt: skip


def main(args: argparse.Namespace) -> int:
    """Teach a task of an app."""
    from edgeml.cli._teach_local import Taught

    with Taught(args.app, getattr(args, "task", "")) as taught:
        if args.action is None:
            return _without_action(taught)
        if args.action == "examples":
            return _examples(taught, args)
        if args.action == "forget":
            return _forget(taught, args)
        said = {name: value for name in _OPTIONS
                if (value := getattr(args, name, None)) is not None}  # fmt: skip
        result = asyncio.run(taught.do(args.action, said, _step(taught, args)))
        _print(taught, args, result)
    return 0


def _without_action(taught: Taught) -> int:
    from edgeml.cli._teach_ask import ask, shown
    from edgeml.errors import ConfigError

    if not sys.stdin.isatty():
        raise ConfigError(f"which action? Expected one of {', '.join(_ACTIONS)}; without one, "
                          "questions are asked, and the input is no terminal")  # fmt: skip
    print(shown("status", asyncio.run(taught.do("status", {}, None))))
    ask(taught)
    return 0


def _step(taught: Taught, args: argparse.Namespace) -> Any:
    from edgeml.cli._teach_ask import told

    async def tell(step: Any) -> None:
        if args.json:
            print_json({"type": "progress", "schema": 1, "task": taught.name,
                        "command": args.action, "step": dict(step)})  # fmt: skip
        else:
            print(told(step), flush=True)

    return tell


def _print(taught: Taught, args: argparse.Namespace, result: dict[str, Any]) -> None:
    from edgeml.cli._teach_ask import shown

    if args.json:
        print_json({"type": "answer", "schema": 1, "task": taught.name, "command": args.action,
                    "ok": True, "result": result})  # fmt: skip
    else:
        print(shown(args.action, result))


def _examples(taught: Taught, args: argparse.Namespace) -> int:
    found = taught.learner.examples(args.label)
    rows = [{"id": e.id, "label": e.label, "subject": e.subject, "added": e.added}
            for e in found[max(0, len(found) - args.limit) :]]  # fmt: skip
    _print(taught, args, {"examples": rows, "of": len(found)})
    return 0


def _forget(taught: Taught, args: argparse.Namespace) -> int:
    from edgeml.errors import ConfigError

    if (args.label is None) != args.everything:
        raise ConfigError("forget: expected a LABEL, or --everything; and not both")
    if args.label is None:
        gone = taught.learner.forget()
        result = {"label": None, "forgotten": gone, "counts": taught.learner.counts()}
    else:
        result = asyncio.run(taught.do("forget", {"label": args.label}, None))
    _print(taught, args, result)
    return 0
