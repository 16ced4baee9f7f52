"""``edgeml service``: an app.toml as a service of systemd, set up for its board."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edgeml.cli._output import human_bytes, print_json, print_table
from edgeml.errors import ConfigError

if TYPE_CHECKING:
    from edgeml.app import AppConfig
    from edgeml.cli._service_board import BoardConfig
    from edgeml.cli._service_files import File, Planned
    from edgeml.cli._service_render import Place

SCHEMA = 1
_PYTHON_OF_IMAGES = "/opt/edgeml/bin/python"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    install = _action(actions, "install", "write the files of a service; says first what it would")
    show = _action(actions, "show", "print the files of a service, and a Containerfile")
    for each in (install, show):
        each.add_argument("app", metavar="app.toml", type=Path, help="what the service runs")
        each.add_argument(
            "--board", default="this", metavar="NAME", help="a board, or this (the default)"
        )
        each.add_argument(
            "--python", metavar="PATH",
            help=f"the interpreter that has edgeml: this one; with --root {_PYTHON_OF_IMAGES}",
        )  # fmt: skip
    show.add_argument("--only", metavar="FILE", help="print one file as it is, by its name")
    remove = _action(actions, "remove", "take the unit of a service away; says first what it would")
    remove.add_argument("name", help="the application's name")
    for each in (install, remove):
        each.add_argument("--write", action="store_true", help="do it")
    for each in (install, show, remove):
        each.add_argument(
            "--root", type=Path, default=Path("/"), metavar="FOLDER",
            help="where the board's files are: a mounted image; / by default",
        )  # fmt: skip
    _action(actions, "boards", "list the boards that there are configurations for")


def _action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    action: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, allow_abbrev=False
    )
    action.add_argument("--json", action="store_true", help="print one JSON document")
    return action


def main(args: argparse.Namespace) -> int:
    """Set up a service, show it, or take it away."""
    actions = {"install": _install, "show": _show, "remove": _remove, "boards": _boards}
    actions[args.action](args)
    return 0


def _install(args: argparse.Namespace) -> None:
    from edgeml.cli import _service_advice as advice
    from edgeml.cli._service_files import plan, write
    from edgeml.cli._service_render import render

    board, config, place = _read(args)
    planned = plan(render(board, config, place), args.root)
    notes = [*_of_machine(board, args), *advice.notes(board, config, args.root)]
    if args.write:
        write(planned, _again(["install", "--board", board.name, str(args.app.absolute())], args))
    steps = advice.steps(board, config, args.root)
    if args.json:
        print_json({
            "type": "service", "schema": SCHEMA, "app": config.name, "board": board.name,
            "written": args.write, "files": [_to_dict(each) for each in planned],
            "notes": notes, "steps": steps,
        })  # fmt: skip
        return
    _print_plan(planned, written=args.write)
    for note in notes:
        print(f"note: {note}")
    if all(each.change == "same" for each in planned):
        print("Everything is as it should be; nothing to write.")
    elif not args.write:
        print("\nNothing was written. Once more with --write does it.")
    else:
        print("\nThen:", *steps, sep="\n  ")


def _show(args: argparse.Namespace) -> None:
    from edgeml.cli._service_render import containerfile, render

    board, config, place = _read(args)
    files = [*render(board, config, place), containerfile(board, config)]
    if args.only is not None:
        files = [_only(files, args.only)]
    if args.json:
        shown = [{"path": file.target, "content": file.content} for file in files]
        print_json({"type": "service", "schema": SCHEMA, "board": board.name, "files": shown})
    elif args.only is not None:
        print(files[0].content, end="")
    else:
        for file in files:
            print(f"==> {file.target} <==\n{file.content}")


def _remove(args: argparse.Namespace) -> None:
    from edgeml.cli._service_files import below, check_right
    from edgeml.cli._service_render import unit_name, unit_path

    path = below(args.root, unit_path(args.name))
    if not path.is_file():
        there = [p.name[7:-8] for p in sorted(path.parent.glob("edgeml-*.service"))]
        found = f"; there are {', '.join(there)}" if there else "; there is none"
        raise ConfigError(f"{path}: there is no such service{found}", file=str(path))
    here, unit = _is_here(args), unit_name(args.name)
    stop = (
        f"disable --now {unit}" if here else f"--root={shlex.quote(str(args.root))} disable {unit}"
    )
    if args.write:
        check_right(path, _again(["remove", args.name], args))
        path.unlink()
    if args.json:
        print_json({
            "type": "service", "schema": SCHEMA, "app": args.name, "written": args.write,
            "removed": [str(path)],
        })  # fmt: skip
        return
    print(f"{'removed' if args.write else 'would remove'} {path}")
    print("udev rules, groups, boot settings and the broker's files stay: others may use them.")
    if not args.write:
        print(f"\nNothing was removed. First: sudo systemctl {stop}\nThen once more with --write.")
    elif here:
        print("\nThen:\n  sudo systemctl daemon-reload")


def _boards(args: argparse.Namespace) -> None:
    from edgeml.cli._service_board import boards, find_board

    found = [find_board(name) for name in boards()]
    if args.json:
        rows = [{key: _plain(value) for key, value in vars(b).items()} for b in found]
        print_json({"type": "boards", "schema": SCHEMA, "boards": rows})
        return
    print_table(
        ("BOARD", "NAME", "MEMORY FROM", "CORES", "MHZ", "SLOWS AT", "DELEGATES"),
        [
            (b.name, b.title, human_bytes(b.memory), str(b.cores), f"{b.clock / 1e6:.0f}",
             f"{b.slows:g} °C", ", ".join(b.delegates))
            for b in found
        ],
    )  # fmt: skip


def _plain(value: Any) -> Any:
    return dict(vars(value)) if hasattr(value, "__dict__") else value


def _read(args: argparse.Namespace) -> tuple[BoardConfig, AppConfig, Place]:
    """Read what was asked for: the app first, since most mistakes are there."""
    from edgeml.app import read_config
    from edgeml.cli._service_board import find_board
    from edgeml.cli._service_render import Place

    if not args.root.is_dir():
        raise ConfigError(f"--root {args.root}: there is no such folder")
    config = read_config(args.app)
    board = find_board(args.board)
    if _is_here(args):
        place = Place.here(args.app)
        if args.python is not None:
            python = _interpreter(args, args.python)
            base = PurePosixPath(Path(python).resolve())  # what a virtual environment was made of
            place = Place(place.app, python, (python.parent.parent, base.parent.parent))
        return board, config, place
    app, root = args.app.resolve(), args.root.resolve()
    if not app.is_relative_to(root):
        raise ConfigError(
            f"{args.app} is not inside {args.root}; copy it there with what it needs, such as to "
            f"{args.root / 'etc/edgeml' / config.name}/app.toml, and name the copy"
        )
    python = _interpreter(args, args.python or _PYTHON_OF_IMAGES)
    place = Place(PurePosixPath("/", app.relative_to(root)), python, (python.parent.parent,))
    return board, config, place


def _interpreter(args: argparse.Namespace, python: str) -> PurePosixPath:
    """Return the interpreter, a path on the board.

    Raises:
        ConfigError: it is not there.
    """
    from edgeml.cli._service_files import below

    path = below(args.root, python)
    # In an image a link may lead to a file of the image, which is none of ours.
    if not python.startswith("/") or not (path.is_symlink() or os.access(path, os.X_OK)):
        raise ConfigError(
            f"{path} is no interpreter; make one there (python3 -m venv, then pip install "
            '"edgeml-runtime[…]"), or name it with --python PATH, from / of the board on'
        )
    return PurePosixPath(python)


def _is_here(args: argparse.Namespace) -> bool:
    here: bool = args.root.resolve() == Path("/")
    return here


def _of_machine(board: BoardConfig, args: argparse.Namespace) -> list[str]:
    """Return what to say about a board that this machine is not.

    Raises:
        ConfigError: its files would be written here.
    """
    from edgeml.platform import machine

    if not _is_here(args) or machine() == board.machine:
        return []
    problem = f"this machine is {machine()}, and {board.name} is {board.machine}"
    if args.write:
        raise ConfigError(f"{problem}; for an image of it: --root FOLDER")
    return [problem]


def _only(files: Sequence[File], name: str) -> File:
    from edgeml.app._document import nearest

    by_name = {file.target.rpartition("/")[2]: file for file in files}
    if name not in by_name:
        raise ConfigError(f"--only {name}: there is no such file{nearest(name, by_name)}")
    return by_name[name]


def _again(words: list[str], args: argparse.Namespace) -> str:
    root = [] if _is_here(args) else ["--root", str(args.root)]
    return shlex.join(["sudo", sys.executable, "-m", "edgeml", "service", *words, *root, "--write"])


def _to_dict(planned: Planned) -> dict[str, Any]:
    return {"path": str(planned.path), "change": planned.change, "diff": planned.diff}


def _print_plan(planned: Sequence[Planned], *, written: bool) -> None:
    words = {"new": "new", "changed": "changed", "same": "as it is"}
    for each in planned:
        print(f"{words[each.change]:<9} {each.path}")
        if not written and each.diff:
            print("\n".join(f"    {line}" for line in each.diff.splitlines()))
