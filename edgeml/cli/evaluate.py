"""``edgeml evaluate``: how good a model is on arrays in a file or a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeml.cli._output import print_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.epilog = (
        "A whole report. For one figure on a folder of pictures, or on the data of optimize and "
        "compare: edgeml eval."
    )
    parser.add_argument("model", metavar="MODEL", help=".onnx or .tflite file, or edgeml:NAME")
    parser.add_argument(
        "data", metavar="DATA",
        help=".npz with the arrays x and y, and groups and others with one value an example; "
        "or .csv with a header",
    )  # fmt: skip
    parser.add_argument("--label", metavar="COLUMN", help="column of the target, for .csv")
    parser.add_argument("--kind", help="kind of problem (default: inferred)")
    parser.add_argument("--metric", help="the main metric (default: the first of the kind)")
    parser.add_argument(
        "--groups", metavar="NAME",
        help="array in the .npz that says what each example belongs to, such as a person "
        "(default: groups, where there is one)",
    )  # fmt: skip
    parser.add_argument(
        "--slice", metavar="NAME", action="append", default=[],
        help="array in the .npz to slice by; may be repeated",
    )  # fmt: skip
    parser.add_argument("--output", metavar="NAME", help="which output, of several")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def main(args: argparse.Namespace) -> int:
    """Evaluate a model."""
    from edgeml.evaluation import evaluate

    data, groups, slices = _read(args)
    report = evaluate(
        args.model, data, kind=args.kind, metric=args.metric, groups=groups, slices=slices,
        output=args.output,
    )  # fmt: skip
    if args.json:
        print_json(report.to_dict())
    else:
        print(report)
    return 0


def _read(args: argparse.Namespace) -> tuple[Any, Any, dict[str, Any]]:
    from edgeml.data import Dataset
    from edgeml.errors import ConfigError

    if Path(args.data).suffix != ".npz":
        if args.label is None:
            raise ConfigError(f"{args.data}: which column is the target? Give --label")
        if args.groups or args.slice:
            raise ConfigError("--groups and --slice name arrays of an .npz file")
        return Dataset.from_csv(args.data, label=args.label), None, {}
    arrays = _arrays(args.data)
    groups = args.groups or ("groups" if "groups" in arrays else None)
    wanted = ["x", "y", *([groups] if groups else []), *args.slice]
    if missing := [name for name in wanted if name not in arrays]:
        raise ConfigError(
            f"{args.data}: there is no array {missing[0]!r}; there are {', '.join(arrays)}"
            + ("" if {"x", "y"} & {*arrays} else ". Arrays by input name are for edgeml eval")
        )
    slices = {name: arrays[name] for name in args.slice}
    return (arrays["x"], arrays["y"]), arrays[groups] if groups else None, slices


def _arrays(path: str) -> dict[str, Any]:
    import zipfile

    import numpy as np

    from edgeml.errors import DataError

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error
