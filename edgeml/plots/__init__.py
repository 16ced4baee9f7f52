"""Pictures of training, data and models, as matplotlib figures, and the numbers behind them."""

from edgeml.plots._cam import GradCam, grad_cam
from edgeml.plots._confusion import (
    ClassAccuracy,
    ConfusionMatrix,
    class_accuracy,
    confusion_matrix,
)
from edgeml.plots._curves import Best, Curves, curves
from edgeml.plots._embedding import Embedding, embedding, features
from edgeml.plots._filters import Filters, filters
from edgeml.plots._layers import LayerRow, LayerTable, layers
from edgeml.plots._network import Network, network
from edgeml.plots._picture import Picture
from edgeml.plots._scores import Reliability, ScoreCurve, precision_recall, reliability, roc
from edgeml.plots._values import Distribution, Histograms, activations, histogram, weights

__all__ = [
    "Best",
    "ClassAccuracy",
    "ConfusionMatrix",
    "Curves",
    "Distribution",
    "Embedding",
    "Filters",
    "GradCam",
    "Histograms",
    "LayerRow",
    "LayerTable",
    "Network",
    "Picture",
    "Reliability",
    "ScoreCurve",
    "activations",
    "class_accuracy",
    "confusion_matrix",
    "curves",
    "embedding",
    "features",
    "filters",
    "grad_cam",
    "histogram",
    "layers",
    "network",
    "precision_recall",
    "reliability",
    "roc",
    "weights",
]
