"""``edgeml compare``: two models on the same data, with the interval of their difference."""

from __future__ import annotations

import argparse

from edgeml.cli._output import print_json

SCHEMA = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("first", metavar="A", help=".onnx file, or edgeml:NAME")
    parser.add_argument("second", metavar="B", help=".onnx file with the same inputs")
    parser.add_argument(
        "--data", required=True, metavar="PATH",
        help="folder of pictures, or .npz file of arrays by input name and labels",
    )  # fmt: skip
    parser.add_argument("--metric", help="accuracy, agreement, boxes or closeness")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(args: argparse.Namespace) -> int:
    """Compare two models."""
    from edgeml.quantize import compare

    found = compare(args.first, args.second, args.data, metric=args.metric)
    if args.json:
        print_json({"type": "compare", "schema": SCHEMA, **found})
        return 0
    gain, time = found["difference"], found["latency"]
    interval = f" ({gain.get('note', 'no interval')})"
    if gain.get("low") is not None:
        interval = f" [{gain['low']:+.2f}, {gain['high']:+.2f}]"
    print(f"{args.second} beside {args.first}, {found['examples']} examples")
    print(
        f"  {found['metric']}: {found['second']:.2f} for {found['first']:.2f} points, "
        f"{gain['value']:+.2f}{interval}; {found['flips']} scores differ"
    )
    print(f"  outputs diverge by {found['divergence']:.3g}")
    sizes = found["bytes"]
    print(f"  size: {sizes['second'] / 1e6:.2f} MB for {sizes['first'] / 1e6:.2f}")
    print(
        f"  time: {time['second']['median_ms']:.2f} ms for {time['first']['median_ms']:.2f}, "
        f"{time['second']['ratio']:.2f} times as fast "
        f"[{time['second']['ratio_low']:.2f}, {time['second']['ratio_high']:.2f}]"
    )
    return 0
