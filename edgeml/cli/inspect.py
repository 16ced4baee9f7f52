"""``edgeml inspect``: what is in a model file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgeml.cli._output import human_bytes, print_json

if TYPE_CHECKING:
    from edgeml.runtime import ModelInfo

SCHEMA = 1

_MOST_OPS = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".onnx or .tflite file, or edgeml:NAME")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(args: argparse.Namespace) -> int:
    """Show a model's inputs, outputs, metadata, size and operators."""
    from edgeml.runtime import inspect

    info = inspect(args.model)
    if args.json:
        print_json({"type": "model", "schema": SCHEMA, **info.to_dict()})
    else:
        _print(info)
    return 0


def _print(info: ModelInfo) -> None:
    size = f"{info.format}, {human_bytes(info.size)}"
    if info.parameters is not None:
        size += f", {info.parameters:,} parameters"
    print(f"{info.path}: {size}")
    for title, specs in (("inputs", info.inputs), ("outputs", info.outputs)):
        print(f"\n{title}")
        for spec in specs:
            shape = ", ".join("any" if n is None else str(n) for n in spec.shape)
            print(f"  {spec.name}  {spec.dtype} [{shape}]")
    if info.metadata.props:
        print("\nmetadata")
        width = max(map(len, info.metadata.props))
        for key, value in info.metadata.props.items():
            print(f"  {key.ljust(width)}  {_short(value)}")
    versions = ", ".join(f"{domain} {version}" for domain, version in info.opsets.items())
    ops = [f"{n} {op}" for op, n in info.ops.items()]
    more = f" and {len(ops) - _MOST_OPS} more kinds" if len(ops) > _MOST_OPS else ""
    print(f"\n{sum(info.ops.values())} operators{f' ({versions})' if versions else ''}")
    print(f"  {', '.join(ops[:_MOST_OPS])}{more}")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else f"{text[:97]}..."
