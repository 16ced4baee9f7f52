"""The search for good settings: on validation data only, the test set opened once."""

from edgeml.tuning._result import Trial, TuningResult
from edgeml.tuning._seal import Sealed
from edgeml.tuning._space import Choice, Float, Int
from edgeml.tuning._tune import tune

__all__ = ["Choice", "Float", "Int", "Sealed", "Trial", "TuningResult", "tune"]
