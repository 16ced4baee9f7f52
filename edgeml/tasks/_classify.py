"""What a picture shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeml.tasks._arguments import check_seconds, check_share
from edgeml.tasks._image import ImagePreprocess, check_frame
from edgeml.tasks._outputs import check_finite, pick_output, probabilities
from edgeml.tasks._results import Classification
from edgeml.tasks._task import FrameTask, Model
from edgeml.tasks._timing import Smooth

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session


class ImageClassifier(FrameTask):
    """Say what a picture shows: a `Classification` for each frame.

    Args:
        model: Path, URL, ``"edgeml:NAME"``, or a `Session`.
        top: How many of the best classes the result lists.
        smooth: Time constant over which class probabilities are averaged, seconds of sample
            time; 0 takes each frame by itself.
        min_score: Below this the label is ``"unknown"``.
        labels: Names of the classes, instead of the metadata's.
        preprocess: An `ImagePreprocess`, or the same as a dict, instead of the metadata's.
        postprocess: {"output": name, "activation": "softmax" | "sigmoid" | "none",
            "features": name}, instead of the metadata's.
        **options: delegate, threads, and as for `Stage`: name, concurrency (by default one
            inference a core), on_error, timeout.

    Raises:
        ModelError: the model is for something else, or does not say how it is fed.
        InputError: the frame is not uint8 [height, width, 3].
        OutputError: the model returned NaN or infinity.

    Example:
        >>> import cv2
        >>> from importlib.resources import files
        >>> from edgeml import ImageClassifier
        >>> frame = cv2.imread(str(files("edgeml") / "media" / "espresso.jpg"))
        >>> ImageClassifier()(frame).label
        'espresso'
    """

    task = "image-classification"

    def __init__(
        self,
        model: Model = "edgeml:efficientnet_lite0_int8.onnx",
        *,
        top: int = 5,
        smooth: float = 0.0,
        min_score: float = 0.0,
        labels: Sequence[str] | None = None,
        preprocess: ImagePreprocess | Mapping[str, Any] | None = None,
        postprocess: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, labels=labels, **options)
        if top < 1:
            raise ValueError(f"{self.name}: top must be at least 1; received {top!r}")
        check_share(self.name, min_score=min_score)
        check_seconds(self.name, smooth=smooth)
        self.top = top
        self.min_score = min_score
        self._preprocess_given = preprocess
        self._postprocess_given = postprocess
        if smooth:
            self._after = Smooth(smooth, name=f"{self.name}-smooth")

    def _prepare(self, session: Session) -> None:
        if self._postprocess_given is None:
            self._check_task(session, "postprocess={…}", "preprocess={…}", "labels=[…]")
        self._preprocess = ImagePreprocess.parse(
            self._preprocess_given or session.metadata.preprocess, model=session.path
        )
        self._postprocess = self._postprocess_given or session.metadata.postprocess
        shapes = {spec.name: spec.shape for spec in session.outputs}
        classes = shapes.get(self._postprocess.get("output", ""), (None,))[-1]
        self._labels_of(session, classes if isinstance(classes, int) else None)

    def _infer(self, data: Any, session: Session) -> Classification:
        tensor, _ = self._preprocess(check_frame(data, self.name))
        outputs = session.run({session.inputs[0].name: tensor})
        check_finite(outputs, session.path)
        spec = self._postprocess
        values = pick_output(outputs, spec, session.path)
        scores = probabilities(values, spec.get("activation", "none"), session.path)
        features = outputs.get(spec.get("features", ""))
        result: Classification = Classification.of(
            scores,
            self._labels_of(session, len(scores)),
            top=self.top,
            min_score=self.min_score,
            features=None if features is None else features.reshape(-1),
        )
        return result

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        return (
            Output("Label", "sensor", "{{ value_json.data.label }}"),
            Output("Score", "sensor", "{{ (value_json.data.score * 100) | round(1) }}", unit="%"),
        )
