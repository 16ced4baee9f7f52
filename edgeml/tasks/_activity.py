"""What somebody does, from motion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgeml.streams import Sample, Stage
from edgeml.tasks._arguments import check_seconds, check_share
from edgeml.tasks._outputs import check_finite, pick_output, probabilities
from edgeml.tasks._results import Activity
from edgeml.tasks._task import Model
from edgeml.tasks._timing import Smooth
from edgeml.tasks._windows import Rows, WindowTask

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session


class ActivityRecognizer(WindowTask):
    """Tell what somebody does: one `Activity` for each window of motion.

    Takes samples of one reading each ([channels]) or of several ([n, channels], spread over
    the sample's duration), by their times: they are interpolated onto the model's grid, so
    jitter and another rate do no harm. After a gap it starts anew.

    Each source of samples is followed by itself. A plain array is one whole window
    [window, channels], and gives its result.

    Args:
        model: Path, URL, ``"edgeml:NAME"``, or a `Session`. The shipped one knows seven
            shoulder exercises from a watch: acceleration in m/s² with gravity, and rotation
            in rad/s.
        hop: Seconds from one window to the next; None: what the model's metadata says.
        smooth: Time constant over which class probabilities are averaged, seconds; 0: each
            window by itself.
        max_gap: Seconds between readings above which it starts anew.
        min_score: Below this the label is ``"unknown"``.
        labels: Names of the classes, instead of the metadata's.
        preprocess: {"sample_rate": Hz, "window": readings, "hop": readings, "channels":
            [names]}, instead of the metadata's.
        postprocess: {"output": name, "activation": "softmax" | "sigmoid" | "none"}, instead
            of the metadata's.
        **options: delegate, threads, and as for `Stage`: name, on_error, timeout.

    Attributes:
        restarts: Gaps so far.

    Raises:
        ModelError: the model is for something else, or does not say how it is fed.
        InputError: a reading has other channels, or NaN in it.
        OutputError: the model returned NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from edgeml import ActivityRecognizer
        >>> len(ActivityRecognizer()(np.zeros((100, 6), np.float32)).top)
        7
    """

    task = "activity-recognition"

    def __init__(
        self,
        model: Model = "edgeml:activity_watch_int8.onnx",
        *,
        hop: float | None = None,
        smooth: float = 0.0,
        max_gap: float = 0.2,
        min_score: float = 0.0,
        labels: Sequence[str] | None = None,
        preprocess: Mapping[str, Any] | None = None,
        postprocess: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(
            model, hop=hop, max_gap=max_gap, preprocess=preprocess, labels=labels, **options
        )
        check_share(self.name, min_score=min_score)
        check_seconds(self.name, smooth=smooth)
        self.min_score = min_score
        self._postprocess_given = postprocess
        self._smooth: Stage | None = Smooth(smooth) if smooth else None

    def _prepare(self, session: Session) -> None:
        if self._preprocess_given is None:
            self._check_task(session, "preprocess={…}", "postprocess={…}", "labels=[…]")
        super()._prepare(session)
        self._postprocess = self._postprocess_given or session.metadata.postprocess

    def _result(self, window: Rows, session: Session, source: str) -> Activity:
        outputs = session.run({session.inputs[0].name: window[None]})
        check_finite(outputs, session.path)
        spec = self._postprocess
        values = pick_output(outputs, spec, session.path)
        scores = probabilities(values, spec.get("activation", "none"), session.path)
        labels = self._labels_of(session, len(scores))
        result: Activity = Activity.of(scores, labels, top=len(labels), min_score=self.min_score)
        return result

    def _after(self, result: Sample[Any]) -> Sample[Any]:
        return result if self._smooth is None else self._smooth(result)

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        return (Output("Activity", "sensor", "{{ value_json.data.label }}", icon="mdi:run"),)
