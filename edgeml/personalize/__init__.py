"""Teach a device new things on its live stream: examples in, a checked model out."""

from edgeml.personalize._adapt import LastBlocks
from edgeml.personalize._anomaly import NormalModel, NormalReport, learn_normal
from edgeml.personalize._audio import Spotter
from edgeml.personalize._backbone import Backbone, Signal
from edgeml.personalize._candidate import Candidate, TrainReport
from edgeml.personalize._choose import choose
from edgeml.personalize._collect import Collection, Progress
from edgeml.personalize._drift import Drift, DriftWatch
from edgeml.personalize._head import UNKNOWN, Head
from edgeml.personalize._held_out import HeldOut
from edgeml.personalize._learner import Learner
from edgeml.personalize._onset import Gestures, Utterances
from edgeml.personalize._simple import KNN, NearestMean
from edgeml.personalize._softmax import Softmax
from edgeml.personalize._store import Example, Store, Version
from edgeml.personalize._suggest import Suggestion, Suggestions

__all__ = [
    "KNN",
    "UNKNOWN",
    "Backbone",
    "Candidate",
    "Collection",
    "Drift",
    "DriftWatch",
    "Example",
    "Gestures",
    "Head",
    "HeldOut",
    "LastBlocks",
    "Learner",
    "NearestMean",
    "NormalModel",
    "NormalReport",
    "Progress",
    "Signal",
    "Softmax",
    "Spotter",
    "Store",
    "Suggestion",
    "Suggestions",
    "TrainReport",
    "Utterances",
    "Version",
    "choose",
    "learn_normal",
]
