"""``edgeml optimize``: shrink a model, and prove that it keeps its promise."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgeml.cli._output import print_json
from edgeml.errors import ModelNotFound, OptimizeError, StoreError

if TYPE_CHECKING:
    from edgeml.quantize import Result

SCHEMA = 1
REFUSED = 3
"""Exit status when the original came back."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    parser.add_argument("model", metavar="MODEL", help=".onnx file in float32, or edgeml:NAME")
    parser.add_argument(
        "--data", required=True, metavar="PATH",
        help="folder of pictures, or .npz file of arrays by input name and labels",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE",
                        help="where to write it (default: MODEL with .optimized.onnx)")  # fmt: skip
    parser.add_argument("--target", default="this", help="machine to shrink for (default: this)")
    parser.add_argument("--metric", help="accuracy, agreement, boxes or closeness")
    parser.add_argument("--max-drop", type=float, default=0.5, metavar="POINTS",
                        help="points of 100 that may be lost (default: 0.5)")  # fmt: skip
    parser.add_argument("--max-latency-ms", type=float, metavar="MS")
    parser.add_argument("--max-bytes", type=int, metavar="N")
    parser.add_argument("--minutes", type=float, default=5.0, help="time to search (default: 5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", type=Path, metavar="FOLDER",
                        help="keep what was found here, and go on from it")  # fmt: skip
    parser.add_argument("--measured", type=Path, action="append", default=[], metavar="FILE",
                        help="what `edgeml bench --json` printed on the target for the forms "
                        "that --resume keeps")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def main(args: argparse.Namespace) -> int:
    """Shrink a model."""
    from edgeml.quantize import optimize

    output = args.output or _beside(args.model)
    _check_output(output, args.model)
    show = _Progress() if sys.stderr.isatty() else None
    try:
        result = optimize(
            args.model, args.data, target=args.target, metric=args.metric, max_drop=args.max_drop,
            max_latency_ms=args.max_latency_ms, max_bytes=args.max_bytes, minutes=args.minutes,
            seed=args.seed, resume=args.resume, measured=args.measured, on_progress=show,
        )  # fmt: skip
    finally:
        if show is not None:
            show.end()
    refused = result.verdict == "refused"
    try:
        if refused:
            for ending in (".html", ".json"):
                result.report.save(output.with_suffix(ending))
        else:
            result.save(output)
    except OSError as error:
        raise _unwritable(output, error) from error
    if args.json:
        print_json({"type": "optimize", **result.report.to_dict()})
    else:
        _print(result, output, refused=refused)
    return REFUSED if refused else 0


def _check_output(output: Path, model: str) -> None:
    """Refuse what cannot be written, or is what came in: before minutes of search, not after."""
    if not output.parent.is_dir():
        raise OptimizeError(f"{output}: there is no folder {output.parent}; make it first")
    if output.suffix != ".onnx" or output.is_dir():
        raise OptimizeError(
            f"{output}: expected a file that ends in .onnx; the report takes .html and .json"
        )
    if output.exists() and Path(model).exists() and output.samefile(model):
        raise OptimizeError(f"{output} is the model that comes in: give another file")
    try:
        tempfile.TemporaryFile(dir=output.parent).close()
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: Path, error: OSError) -> StoreError:
    return StoreError(f"{output} cannot be written: {error.strerror}; give another place with -o")


def _beside(model: str) -> Path:
    """Return where the result goes: beside a file; here, when the model is from elsewhere."""
    elsewhere = model.startswith(("edgeml:", "http://", "https://"))
    path = Path(model.removeprefix("edgeml:").rpartition("/")[2] if elsewhere else model)
    if not path.name:
        raise ModelNotFound(f"{model!r} is no file: expected an .onnx file or edgeml:NAME")
    return path.expanduser().with_suffix(".optimized.onnx")


def _print(result: Result, output: Path, *, refused: bool) -> None:
    for line in result.report.lines():
        print(line)
    if refused:
        print(
            "  no model was written: keep what came in"
            + (f"; {output} is of an earlier run" if output.exists() else "")
        )
    else:
        print(f"  model:  {output}")
    print(f"  report: {output.with_suffix('.html')}")


class _Progress:
    """One line on the terminal: the stage, and the time left."""

    def __init__(self) -> None:
        self._width = 0

    def __call__(self, stage: str, share: float, left: float) -> None:
        """Show how far it is."""
        text = f"{stage} {share:.0%}, at most {left // 60:.0f}:{left % 60:02.0f} left"
        sys.stderr.write("\r" + text.ljust(self._width))
        sys.stderr.flush()
        self._width = len(text)

    def end(self) -> None:
        """Clear the line."""
        sys.stderr.write("\r" + " " * self._width + "\r")
        sys.stderr.flush()
