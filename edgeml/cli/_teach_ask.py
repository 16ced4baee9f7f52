"""What ``edgeml teach`` says to people, and asks them."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from edgeml.cli._output import human_bytes
from edgeml.errors import EdgeMLError

if TYPE_CHECKING:
    from edgeml.cli._teach_local import Taught

COUNTDOWN = 3.0  # seconds to get ready in


def ask(taught: Taught) -> None:
    """Ask for classes, collect, train, and ask whether to use it."""
    while True:
        try:
            label = input("class to show now (empty: train): ").strip()
            if not label:
                return _train(taught)
            wanted = {"label": label, "countdown": COUNTDOWN}
            asyncio.run(taught.do("collect", wanted, _tell))
        except EOFError:
            print()
            return None
        except EdgeMLError as error:
            print(f"  {_plain(str(error))}")


def _train(taught: Taught) -> None:
    result = asyncio.run(taught.do("train", {}, _tell))
    print(shown("train", result))
    worse = result["report"]["worse"]
    answer = input(f"use it from now on? [{'y/N' if worse else 'Y/n'}] ").strip().lower()
    if (answer or ("n" if worse else "y")).startswith("y"):
        print(shown("accept", asyncio.run(taught.do("accept", {"force": worse}, None))))


async def _tell(step: Mapping[str, Any]) -> None:
    print(told(step), flush=True)


def told(step: Mapping[str, Any]) -> str:
    """Return a step as a line."""
    state = step["state"]
    if state == "countdown":
        return f"  {step['left']:.0f} …"
    if state == "kept":
        number = "" if step.get("example") is None else f" (example {step['example']})"
        return f"  kept{number}, {step['left']:.0f} to go"
    if state == "rejected":
        return f"  turned away: {_plain(step['reason'])}"
    return f"  {_plain(str(state))} …"


def shown(action: str, result: Mapping[str, Any]) -> str:
    """Return the result of an action for a person."""
    return _plain(_SHOWN[action](result), keep="\n")


def _status(result: Mapping[str, Any]) -> str:
    version, candidate = result["version"], result["candidate"]
    return "\n".join(
        (
            f"backbone  {result['backbone']}",
            f"examples  {_counts(result['counts'])}",
            f"in use    {_short(version)}, tells {', '.join(result['labels'])}",
            f"candidate {_short(candidate)}",
            f"store     {human_bytes(result['bytes'])} of {human_bytes(result['budget'])}",
        )
    )


def _trained(result: Mapping[str, Any]) -> str:
    report = result["report"]
    accuracy = report["accuracy"]
    lines = [report["why"],
             f"{sum(report['counts'].values())} examples of {len(report['counts'])} classes"
             + ("" if accuracy is None else f"; {accuracy:.3g} right when held out")]  # fmt: skip
    if report["gain"] is not None:
        said = "SIGNIFICANTLY WORSE" if report["worse"] else "not significantly worse"
        lines.append(f"{said} than the head in use: {report['gain']['value']:+.3g}")
    used = "in use" if result["accepted"] else "a candidate: `accept` uses it"
    return "\n".join([*lines, *report["notes"], f"{_short(result['version'])} is {used}"])


def _collected(result: Mapping[str, Any]) -> str:
    return f"{len(result['kept'])} kept, {result['rejected']} turned away: " + _counts(
        result["counts"]
    )


def _history(result: Mapping[str, Any]) -> str:
    lines = []
    for step in result["history"]:
        accuracy = "" if step["accuracy"] is None else f", {step['accuracy']:.3g} held out"
        method = "" if step["method"] is None else f", {step['method']}"
        lines.append(f"{step['at']}  {step['action']:8}  {_short(step['version'])}"
                     f"{method}{accuracy}")  # fmt: skip
    return "\n".join(lines) or "nothing was accepted yet"


def _examples(result: Mapping[str, Any]) -> str:
    lines = []
    for each in result["examples"]:
        at = datetime.datetime.fromtimestamp(each["added"], datetime.UTC)
        subject = f", {each['subject']}" if each["subject"] else ""
        lines.append(f"{each['id']:>6}  {at:%Y-%m-%d %H:%M:%S}  {each['label']}{subject}")
    return "\n".join([*lines, f"{len(lines)} of {result['of']} examples"])


_SHOWN: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "status": _status,
    "collect": _collected,
    "train": _trained,
    "accept": lambda result: f"{_short(result['version'])} is in use",
    "rollback": lambda result: f"{_short(result['version'])} is in use again",
    "history": _history,
    "examples": _examples,
    "remove": lambda result: f"removed; left are {_counts(result['counts'])}",
    "forget": lambda result: (
        f"{result['forgotten']} examples forgotten; left are " + _counts(result["counts"])
    ),
}


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {label}" for label, n in counts.items()) or "none"


def _short(version: str | None) -> str:
    return "none" if version is None else version[:12]


def _plain(text: str, keep: str = "") -> str:
    # A label may come from anywhere: what it holds must not steer the terminal.
    return "".join(c if c.isprintable() or c in keep else "?" for c in text)
