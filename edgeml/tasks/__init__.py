"""Models that speak the user's language: stages with typed results."""

from edgeml.tasks._activity import ActivityRecognizer
from edgeml.tasks._anomaly import Anomaly, AnomalyDetector
from edgeml.tasks._classify import ImageClassifier
from edgeml.tasks._decoders import Candidates, Decoder
from edgeml.tasks._detect import ObjectDetector
from edgeml.tasks._face import FaceDetector
from edgeml.tasks._image import ImagePreprocess
from edgeml.tasks._results import (
    Activity,
    Box,
    Classification,
    Detection,
    Detections,
    Face,
    Faces,
    Speech,
    Wake,
)
from edgeml.tasks._task import Task
from edgeml.tasks._timing import Changed, Debounce, Hold, Smooth
from edgeml.tasks._track import Track
from edgeml.tasks._voice import VoiceActivity
from edgeml.tasks._wake import WakeWord

__all__ = [
    "Activity",
    "ActivityRecognizer",
    "Anomaly",
    "AnomalyDetector",
    "Box",
    "Candidates",
    "Changed",
    "Classification",
    "Debounce",
    "Decoder",
    "Detection",
    "Detections",
    "Face",
    "FaceDetector",
    "Faces",
    "Hold",
    "ImageClassifier",
    "ImagePreprocess",
    "ObjectDetector",
    "Smooth",
    "Speech",
    "Task",
    "Track",
    "VoiceActivity",
    "Wake",
    "WakeWord",
]
