"""Training on the device: losses and optimizers in one graph with the model."""

from edgeml.callbacks._history import History
from edgeml.training._knn import KNNClassifier, KNNResult
from edgeml.training._minimize import Minimizer, minimize
from edgeml.training._model import Model
from edgeml.training._save import load_model, model_from_json
from edgeml.training._sequential import Sequential
from edgeml.training._trainer import Trainer

__all__ = [
    "History",
    "KNNClassifier",
    "KNNResult",
    "Minimizer",
    "Model",
    "Sequential",
    "Trainer",
    "load_model",
    "minimize",
    "model_from_json",
]
