"""How good a model is: with intervals, by slice, and against common sense."""

from edgeml.evaluation._calibration import (
    Calibration,
    ReliabilityBin,
    Temperature,
    calibration,
    fit_temperature,
)
from edgeml.evaluation._classes import ClassScores, Curve, decision_curve
from edgeml.evaluation._differences import Difference, paired_difference
from edgeml.evaluation._evaluate import compare, evaluate
from edgeml.evaluation._learning_curve import LearningCurve, learning_curve
from edgeml.evaluation._measures import Measure
from edgeml.evaluation._objects import COCO_SIGMAS, Objects
from edgeml.evaluation._report import Baseline, Report, Slice
from edgeml.evaluation._scores import score_difference
from edgeml.evaluation._stats import Estimate
from edgeml.evaluation._text import character_error_rate, word_error_rate

__all__ = [
    "COCO_SIGMAS",
    "Baseline",
    "Calibration",
    "ClassScores",
    "Curve",
    "Difference",
    "Estimate",
    "LearningCurve",
    "Measure",
    "Objects",
    "ReliabilityBin",
    "Report",
    "Slice",
    "Temperature",
    "calibration",
    "character_error_rate",
    "compare",
    "decision_curve",
    "evaluate",
    "fit_temperature",
    "learning_curve",
    "paired_difference",
    "score_difference",
    "word_error_rate",
]
