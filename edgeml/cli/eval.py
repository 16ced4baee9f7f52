"""``edgeml eval``: a model's metric on data, with its interval."""

from __future__ import annotations

import argparse

from edgeml.cli._output import print_json

SCHEMA = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.epilog = (
        "One figure, from the same data as optimize and compare. For all metrics of a kind of "
        "problem, slices and baselines, from arrays x and y or a table: edgeml evaluate."
    )
    parser.add_argument("model", metavar="MODEL", help=".onnx file, or edgeml:NAME")
    parser.add_argument(
        "--data", required=True, metavar="PATH",
        help="folder of pictures in a subfolder a class, or .npz file of arrays and labels",
    )  # fmt: skip
    parser.add_argument("--metric", default="accuracy",
                        help="accuracy; others compare two models: edgeml compare")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(args: argparse.Namespace) -> int:
    """Measure a model."""
    from edgeml.quantize import score

    found = score(args.model, args.data, metric=args.metric)
    if args.json:
        print_json({"type": "eval", "schema": SCHEMA, **found})
        return 0
    value = found["score"]
    interval = f" [{value['low']:.2f}, {value['high']:.2f}]" if value.get("low") is not None else ""
    print(
        f"{args.model}: {found['metric']} {value['value']:.2f} points{interval} on "
        f"{found['examples']} examples"
    )
    return 0
