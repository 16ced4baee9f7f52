"""Where things are in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeml.errors import ModelError
from edgeml.tasks._arguments import check_names, check_seconds, check_share, number_in
from edgeml.tasks._decoders import Candidates, Decoder, make_decoder
from edgeml.tasks._image import ImagePreprocess, Placement, check_frame
from edgeml.tasks._nms import nms
from edgeml.tasks._outputs import check_finite
from edgeml.tasks._results import Box, Detection, Detections
from edgeml.tasks._task import FrameTask, Model
from edgeml.tasks._track import Track

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session


class ObjectDetector(FrameTask):
    """Find things in a picture: `Detections` for each frame, best first.

    Args:
        model: Path, URL, ``"edgeml:NAME"``, or a `Session`.
        only: Labels to report; None: all.
        min_score: Least score, 0 to 1; None: what the model's metadata says, else 0.4.
        iou: Overlap above which two boxes of one label are one thing, 0 to 1.
        max_detections: At most so many a frame.
        hold: Keep a thing that is missed for up to this time, seconds of sample time, and
            number things from frame to frame (`Detection.track`); 0: neither.
        decoder: Name (``"nanodet"``, ``"yolo-v5"``, ``"yolo-v8"``, ``"ssd"``,
            ``"ssd-anchors"``), {"decoder": name, option: value}, or a callable (outputs,
            (height, width), min_score) -> (boxes [n, 4] as left, top, right, bottom in
            pixels of the model's input, scores [n], classes [n]); instead of the metadata's.
        labels: Names of the classes, instead of the metadata's.
        preprocess: An `ImagePreprocess`, or the same as a dict, instead of the metadata's.
        **options: delegate, threads, and as for `Stage`: name, concurrency (by default one
            inference a core), on_error, timeout.

    Raises:
        ModelError: the model is for something else, or does not say how it is fed and read.
        InputError: the frame is not uint8 [height, width, 3].
        OutputError: the model returned NaN or infinity.

    Example:
        >>> import cv2
        >>> from importlib.resources import files
        >>> from edgeml import ObjectDetector
        >>> frame = cv2.imread(str(files("edgeml") / "media" / "portrait.jpg"))
        >>> ObjectDetector(min_score=0.6)(frame).counts()
        {'person': 1}
    """

    task = "object-detection"
    _grid = True

    def __init__(
        self,
        model: Model = "edgeml:nanodet_g_416_int8.onnx",
        *,
        only: Sequence[str] | None = None,
        min_score: float | None = None,
        iou: float = 0.5,
        max_detections: int = 100,
        hold: float = 0.0,
        decoder: str | Mapping[str, Any] | Decoder | None = None,
        labels: Sequence[str] | None = None,
        preprocess: ImagePreprocess | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, labels=labels, **options)
        if max_detections < 1:
            raise ValueError(
                f"{self.name}: max_detections must be at least 1; received {max_detections!r}"
            )
        if min_score is not None:
            check_share(self.name, min_score=min_score)
        check_share(self.name, iou=iou)
        check_seconds(self.name, hold=hold)
        self.only = None if only is None else tuple(only)
        self.iou = iou
        self.max_detections = max_detections
        self.min_score = min_score
        self._decoder_given = decoder
        self._preprocess_given = preprocess
        if hold:
            self._after = Track(hold, name=f"{self.name}-track")

    def _prepare(self, session: Session) -> None:
        if self._decoder_given is None:
            self._check_task(session, "decoder=…", "preprocess={…}", "labels=[…]")
        metadata = session.metadata
        self._preprocess = ImagePreprocess.parse(
            self._preprocess_given or metadata.preprocess, model=session.path
        )
        self._decode = make_decoder(self._decoder_given or metadata.postprocess, model=session.path)
        self._names = self._labels_of(session)
        self._wanted = None
        if self.only is not None:
            check_names(self.name, self.only, self._names)
            self._wanted = np.array([self._names.index(label) for label in self.only])
        try:
            score = number_in(metadata.postprocess, "threshold", 0.4, most=1)
        except ValueError as error:
            raise ModelError(
                f"{self.name}: {session.path}: metadata edgeml.postprocess: expected a threshold "
                f"of 0 to 1; received {error}", path=session.path,
            ) from error  # fmt: skip
        self._threshold = score if self.min_score is None else self.min_score

    def _infer(self, data: Any, session: Session) -> Detections:
        tensor, place = self._preprocess(check_frame(data, self.name))
        outputs = session.run({session.inputs[0].name: tensor})
        check_finite(outputs, session.path)
        size = (self._preprocess.height, self._preprocess.width)
        found = Candidates(*map(np.asarray, self._decode(outputs, size, self._threshold)))
        return self._select(found, place)

    def _select(self, found: Candidates, place: Placement) -> Detections:
        boxes, scores, classes = found
        self._check_classes(classes)
        if self._wanted is not None:
            mask = np.isin(classes, self._wanted)
            boxes, scores, classes = boxes[mask], scores[mask], classes[mask]
        # Boxes are cut at the frame's edge first: what sticks out says nothing of overlap.
        boxes = place.to_frame(boxes.reshape(-1, 4))
        keep = nms(boxes, scores, classes, self.iou, self.max_detections)
        rows = np.concatenate([boxes[keep, :2], boxes[keep, 2:] - boxes[keep, :2]], 1).tolist()
        return Detections(
            Detection(Box(*row), self._names[index], score)
            for row, index, score in zip(
                rows, classes[keep].tolist(), scores[keep].tolist(), strict=True
            )
            if row[2] > 0 and row[3] > 0
        )

    def _check_classes(self, classes: Any) -> None:
        if len(classes) and not 0 <= classes.min() <= classes.max() < len(self._names):
            raise ModelError(
                f"{self.name}: the model returned class {int(classes.max())}, but there are "
                f"{len(self._names)} labels; pass labels=[…] with all of them",
            )

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        if self.only is None:
            return (Output("Things", "sensor", "{{ value_json.data.count }}"),)
        count = "{{{{ value_json.data.counts.get('{}', 0) }}}}"
        return tuple(
            Output(label.capitalize(), "sensor", count.format(label)) for label in self.only
        )
