"""Shrink a model and prove it: `optimize`, and the passes it is made of.

Each pass takes an ONNX model (a path or a ``ModelProto``) and returns a new ``ModelProto``;
what it was given stays as it was.
"""

if __name__ != "edgeml.quantize":
    raise ImportError(
        "import edgeml.quantize, not quantize: the folder at the top is reached by a link"
    )

from edgeml.quantize._adaround import adaround as adaround
from edgeml.quantize._bias import correct_bias as correct_bias
from edgeml.quantize._compare import compare as compare
from edgeml.quantize._compare import score as score
from edgeml.quantize._distill import distill as distill
from edgeml.quantize._equalize import equalize as equalize
from edgeml.quantize._fold import fold_normalization as fold_normalization
from edgeml.quantize._input import float_input as float_input
from edgeml.quantize._input import raw_pixel_input as raw_pixel_input
from edgeml.quantize._int8 import quantize_int8 as quantize_int8
from edgeml.quantize._metadata import get_metadata as get_metadata
from edgeml.quantize._metadata import set_metadata as set_metadata
from edgeml.quantize._model import save as save
from edgeml.quantize._optimize import Result as Result
from edgeml.quantize._optimize import optimize as optimize
from edgeml.quantize._prune import Pruned as Pruned
from edgeml.quantize._prune import PruneReport as PruneReport
from edgeml.quantize._prune import prune_channels as prune_channels
from edgeml.quantize._qat import train_quantized as train_quantized
from edgeml.quantize._report import Report as Report
from edgeml.quantize._simplify import simplify as simplify
from edgeml.quantize._weight_only import quantize_weights as quantize_weights

__all__ = [
    "PruneReport",
    "Pruned",
    "Report",
    "Result",
    "adaround",
    "compare",
    "correct_bias",
    "distill",
    "equalize",
    "float_input",
    "fold_normalization",
    "get_metadata",
    "optimize",
    "prune_channels",
    "quantize_int8",
    "quantize_weights",
    "raw_pixel_input",
    "save",
    "score",
    "set_metadata",
    "simplify",
    "train_quantized",
]
