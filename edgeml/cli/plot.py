"""``edgeml plot``: pictures of a training, of predictions, and of the inside of a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from edgeml.cli._output import print_json

if TYPE_CHECKING:
    from edgeml.plots import Picture

SCHEMA = 1

_MODEL = ".onnx file, edgeml:NAME or URL"
_PREDICTIONS = "table (CSV) with a column of true classes, and of predictions or of scores"


class _Kind(NamedTuple):
    """One picture: what it shows, the function that makes it, and its arguments."""

    help: str
    make: Callable[[argparse.Namespace], tuple[Picture, str]]
    arguments: Callable[[argparse.ArgumentParser], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's arguments."""
    common = argparse.ArgumentParser(add_help=False)
    for flags in (("--debug",), ("-v", "--verbose")):  # they may stand at the end, too
        common.add_argument(*flags, action="store_true", default=argparse.SUPPRESS,
                            help=argparse.SUPPRESS)  # fmt: skip
    common.add_argument(
        "-o", "--output", metavar="FILE",
        help="picture to write: .png, .svg or .pdf (default: KIND.png; none with --json)",
    )  # fmt: skip
    common.add_argument("--json", action="store_true", help="print the numbers as JSON")
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True, title="pictures")
    for name, kind in _KINDS.items():
        made = kinds.add_parser(
            name, help=kind.help, description=kind.help, parents=[common], allow_abbrev=False
        )
        kind.arguments(made)


def main(args: argparse.Namespace) -> int:
    """Make a picture, or print the numbers behind it."""
    picture, said = _KINDS[args.kind].make(args)
    path = args.output or (None if args.json else f"{args.kind}.png")
    if path is not None:
        picture.plot(path)
    if args.json:
        numbers = picture.to_dict()
        print_json(
            {"type": "plot", "schema": SCHEMA, "kind": args.kind, "file": path, "data": numbers}
        )
    else:
        print(said)
        print(f"wrote {path}")
    return 0


def _history(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots

    made = plots.curves(args.table)
    lines = [f"{name}: best {best.value:.4g}, epoch {best.epoch}" for name, best in
             made.best.items()]  # fmt: skip
    return made, "\n".join(lines) or f"{', '.join(made.values)}"


def _confusion(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots
    from edgeml.cli._predictions import read_classes

    true, predicted, labels = read_classes(args.table, args.true, args.predicted)
    made = plots.confusion_matrix(true, predicted, labels, normalize=args.normalize)
    lines = [f"accuracy {made.accuracy:.1%} of {made.counts.sum():,}"]
    lines += [f"{times:,} × {a} → {b}" for a, b, times in made.mistakes()[:5]]
    return made, "\n".join(lines)


def _classes(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots
    from edgeml.cli._predictions import read_classes

    made = plots.class_accuracy(*read_classes(args.table, args.true, args.predicted))
    pairs = zip(made.labels, made.accuracy, made.examples, strict=True)
    return made, "\n".join(f"{name}: {share:.1%} of {n:,}" for name, share, n in pairs)


def _curve(kind: str) -> Callable[[argparse.Namespace], tuple[Picture, str]]:
    def make(args: argparse.Namespace) -> tuple[Picture, str]:
        from edgeml import plots
        from edgeml.cli._predictions import read_scores

        draw = plots.roc if kind == "roc" else plots.precision_recall
        made = draw(*read_scores(args.table, args.true, args.score))
        of = "area under the curve" if kind == "roc" else "average precision"
        pairs = zip(made.labels, made.area, strict=True)
        return made, "\n".join(f"{name}: {of} {area:.4f}" for name, area in pairs)

    return make


def _calibration(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots
    from edgeml.cli._predictions import read_scores

    true, scores, _ = read_scores(args.table, args.true, args.score)
    made = plots.reliability(true, scores, args.bins)
    usual = f"a perfect model's is up to {made.table.ece_if_calibrated:.4f}"
    return made, f"expected calibration error {made.table.ece:.4f}; {usual}"


def _layers(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots

    made = plots.layers(args.model)
    return made, str(made)


def _weights(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots

    made = plots.weights(args.model, layers=args.layer, biases=args.biases)
    return made, _told(made.distributions)


def _activations(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots
    from edgeml.cli._pictures import examples, preprocess_of

    files, _ = examples(args.data)
    made = plots.activations(
        args.model, files if len(files) > 1 else files[0], layers=args.layer,
        preprocess=preprocess_of(args.model, args.range),
    )  # fmt: skip
    return made, _told(made.distributions)


def _told(found: dict[str, Any]) -> str:
    lines = []
    for name, d in found.items():
        saturated = "" if d.saturated is None else f", {d.saturated:.1%} saturated"
        broken = f", {d.nans:,} NaN, {d.infinities:,} infinite" if d.nans + d.infinities else ""
        lines.append(f"{name}: {d.count:,} values, {d.minimum:.4g} to {d.maximum:.4g}, "
                     f"{d.zeros:.1%} zero{saturated}{broken}")  # fmt: skip
    return "\n".join(lines)


def _gradcam(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots
    from edgeml.cli._pictures import preprocess_of

    made = plots.grad_cam(
        args.model, args.picture, args.target, layer=args.layer,
        preprocess=preprocess_of(args.model, args.range),
    )  # fmt: skip
    nothing = "" if made.heat.max() else "; nothing in the picture speaks for it"
    return made, f"{made.label} ({made.target}): {made.score:.4f}, seen at {made.layer}{nothing}"


def _filters(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots
    from edgeml.cli._pictures import preprocess_of

    units = args.units.split(",") if args.units else args.count
    made = plots.filters(
        args.model, args.layer, units, steps=args.steps, size=args.size, seed=args.seed,
        preprocess=preprocess_of(args.model, args.range),
    )  # fmt: skip
    names = made.labels or [f"unit {unit}" for unit in made.units]
    pairs = zip(names, made.before, made.after, strict=True)
    return made, "\n".join(f"{name}: {a:.4g} → {b:.4g}" for name, a, b in pairs)


def _embedding(args: argparse.Namespace) -> tuple[Picture, str]:
    from edgeml import plots
    from edgeml.cli._pictures import examples, preprocess_of

    files, labels = examples(args.data)
    made = plots.embedding(
        plots.features(
            args.model, files if len(files) > 1 else files[0], layer=args.layer,
            preprocess=preprocess_of(args.model, args.range),
        ),
        labels or None, method=args.method, seed=args.seed,
    )  # fmt: skip
    shares = " and ".join(f"{share:.1%}" for share in made.explained)
    of = f"; the axes have {shares} of the variance" if shares else ""
    return made, f"{len(made.points):,} examples{of}"


def _table(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="LOG", help="table (CSV) that CSVLogger wrote")


def _predictions(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help=_PREDICTIONS)
    parser.add_argument("--true", metavar="COLUMN", help="column of true classes (default: true, "
                        "y_true, label, target or actual)")  # fmt: skip
    parser.add_argument("--predicted", metavar="COLUMN", help="column of predicted classes "
                        "(default: predicted, y_pred, prediction or pred; else the class whose "
                        "column is the highest)")  # fmt: skip


def _normalized(parser: argparse.ArgumentParser) -> None:
    _predictions(parser)
    parser.add_argument("--normalize", action="store_true", help="show shares, not counts")


def _scores(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", metavar="TABLE", help=_PREDICTIONS)
    parser.add_argument("--true", metavar="COLUMN", help="column of true classes")
    parser.add_argument("--score", metavar="COLUMN", help="column with the score of the second of "
                        "two classes (default: all numbers, one column a class)")  # fmt: skip


def _binned(parser: argparse.ArgumentParser) -> None:
    _scores(parser)
    parser.add_argument("--bins", type=_count, default=10, help="bins of probability (default: 10)")


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=_MODEL)


def _of_layers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--layer", metavar="PATTERN", action="append", help="only layers of this "
                        "name, * stands for anything; repeatable")  # fmt: skip


def _of_weights(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    _of_layers(parser)
    parser.add_argument("--biases", action="store_true", help="vectors, too")


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="PATH", required=True, help="a picture, an .npy array "
                        "of inputs, or a folder of pictures, one folder a class or all in "
                        "one")  # fmt: skip
    _range(parser)


def _range(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--range", metavar="BLACK,WHITE", type=_two,
        help="values of black and white that the model was trained with, such as 0,1, for models "
        "whose metadata does not say how a picture becomes their input",
    )  # fmt: skip


def _of_activations(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    _of_layers(parser)
    _data(parser)


def _of_gradcam(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("picture", metavar="PICTURE", help="a picture, or an .npy array")
    parser.add_argument("--class", dest="target", metavar="NAME", help="name or number of the "
                        "class (default: what the model says)")  # fmt: skip
    parser.add_argument("--layer", metavar="NAME", help="layer (default: the last that fits)")
    _range(parser)


def _of_filters(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    parser.add_argument("--layer", metavar="NAME", required=True, help="layer to look at")
    parser.add_argument("--count", type=_count, default=6, help="how many units (default: 6)")
    parser.add_argument("--units", metavar="N[,N…]", help="which units; names of classes, too")
    parser.add_argument("--steps", type=_count, default=40, help="steps of ascent (default: 40)")
    parser.add_argument("--size", type=_count, help="pixels, where the model takes any size")
    parser.add_argument("--seed", type=int, default=0, help="of the noise that it begins with")
    _range(parser)


def _of_embedding(parser: argparse.ArgumentParser) -> None:
    _model(parser)
    _data(parser)
    parser.add_argument("--layer", metavar="NAME", help="layer whose output is shown (default: "
                        "the features, else what goes into the last layer)")  # fmt: skip
    parser.add_argument("--method", choices=("pca", "tsne"), default="pca",
                        help="(default: pca; tsne needs scikit-learn)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of t-SNE")


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no positive whole number")
    return int(text)


def _two(text: str) -> tuple[float, float]:
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = 0.0
    if not low < high:
        raise argparse.ArgumentTypeError(f"{text!r}: expected two numbers such as 0,1 or -1,1")
    return low, high


_KINDS = {
    "history": _Kind("losses and metrics over the epochs", _history, _table),
    "confusion": _Kind("which classes are taken for which", _confusion, _normalized),
    "classes": _Kind("how well each class is recognised", _classes, _predictions),
    "roc": _Kind("true over false positives for all thresholds", _curve("roc"), _scores),
    "pr": _Kind("precision over recall for all thresholds", _curve("pr"), _scores),
    "calibration": _Kind("whether probabilities come true", _calibration, _binned),
    "layers": _Kind("layers with shapes, parameters and multiplications", _layers, _model),
    "weights": _Kind("histograms of weights, by layer", _weights, _of_weights),
    "activations": _Kind("histograms of what layers put out", _activations, _of_activations),
    "gradcam": _Kind("where in a picture a classifier sees a class", _gradcam, _of_gradcam),
    "filters": _Kind("pictures that excite the units of a layer", _filters, _of_filters),
    "embedding": _Kind("examples as a model sees them, on a map", _embedding, _of_embedding),
}
