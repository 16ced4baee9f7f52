"""Where faces are in a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ModelError
from edgeml.tasks._arguments import check_share, number_in
from edgeml.tasks._image import ImagePreprocess, Placement, check_frame
from edgeml.tasks._nms import weighted_nms
from edgeml.tasks._outputs import Arrays, check_finite, sigmoid
from edgeml.tasks._results import Box, Face, Faces
from edgeml.tasks._task import FrameTask, Model

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session

KEYPOINTS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")
_VALUES = 4 + 2 * len(KEYPOINTS)  # centre, size, and the points, for each anchor


class FaceDetector(FrameTask):
    """Find faces, with eyes, nose, mouth and ears: `Faces` for each frame, best first.

    The shipped model is BlazeFace for short range: faces up to about 2 m from the camera,
    at least a sixth of the picture wide.

    Args:
        model: Path, URL, ``"edgeml:NAME"``, or a `Session`; a BlazeFace.
        min_score: Least score, 0 to 1; None: what the model's metadata says, else 0.5.
        iou: Overlap above which two boxes are one face, 0 to 1.
        preprocess: An `ImagePreprocess`, or the same as a dict, instead of the metadata's.
        postprocess: {"strides": [8, 16], "anchors": [2, 6]}: the size of each grid's cells in
            pixels of the input, and the anchors in a cell; instead of the metadata's.
        **options: delegate, threads, and as for `Stage`: name, concurrency (by default one
            inference a core), on_error, timeout.

    Raises:
        ModelError: the model is for something else, or does not say how it is fed.
        InputError: the frame is not uint8 [height, width, 3].
        OutputError: the model returned NaN or infinity.

    Example:
        >>> import cv2
        >>> from importlib.resources import files
        >>> from edgeml import FaceDetector
        >>> frame = cv2.imread(str(files("edgeml") / "media" / "portrait.jpg"))
        >>> [sorted(face.keypoints)[0] for face in FaceDetector()(frame)]
        ['left_ear']
    """

    task = "face-detection"
    _grid = True

    def __init__(
        self,
        model: Model = "edgeml:blazeface.tflite",
        *,
        min_score: float | None = None,
        iou: float = 0.3,
        preprocess: ImagePreprocess | Mapping[str, Any] | None = None,
        postprocess: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, **options)
        if min_score is not None:
            check_share(self.name, min_score=min_score)
        check_share(self.name, iou=iou)
        self.min_score = min_score
        self.iou = iou
        self._preprocess_given = preprocess
        self._postprocess_given = postprocess

    def _prepare(self, session: Session) -> None:
        if self._postprocess_given is None:
            self._check_task(session, "postprocess={…}", "preprocess={…}")
        self._preprocess = ImagePreprocess.parse(
            self._preprocess_given or session.metadata.preprocess, model=session.path
        )
        spec = self._postprocess_given or session.metadata.postprocess
        try:
            self._centers = anchor_centers(
                (self._preprocess.height, self._preprocess.width), spec["strides"], spec["anchors"]
            )
            score = number_in(spec, "threshold", 0.5, most=1)
        except (KeyError, TypeError, ValueError, ArithmeticError) as error:
            raise ModelError(
                f"{self.name}: {session.path} does not say how its outputs become faces (wrong at "
                f'{error}); pass postprocess={{"strides": [8, 16], "anchors": [2, 6]}}',
                path=session.path,
            ) from error
        self._threshold = score if self.min_score is None else self.min_score

    def _infer(self, data: Any, session: Session) -> Faces:
        tensor, place = self._preprocess(check_frame(data, self.name))
        outputs = session.run({session.inputs[0].name: tensor})
        check_finite(outputs, session.path)
        values, logits = self._split(outputs, session.path)
        scores = sigmoid(logits)
        keep = np.flatnonzero(scores >= self._threshold)
        points = self._points(values[keep], self._centers[keep])
        best, points = weighted_nms(points[:, :4], scores[keep], points, self.iou)
        return Faces(_face(row, score, place) for row, score in zip(points, best, strict=True))

    def _split(self, outputs: Arrays, path: str) -> tuple[NDArray[np.float32], ...]:
        n = len(self._centers)
        by_shape = {array.shape[1:]: array[0] for array in outputs.values()}
        if (n, _VALUES) not in by_shape or (n, 1) not in by_shape:
            raise ModelError(
                f"{self.name}: expected outputs [1, {n}, {_VALUES}] and [1, {n}, 1], received "
                f"{', '.join(str(list(a.shape)) for a in outputs.values())} from {path}; pass "
                f"the model's postprocess={{…}}",
                path=path,
            )
        return by_shape[n, _VALUES], by_shape[n, 1][:, 0]

    def _points(
        self, values: NDArray[np.float32], centers: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Turn offsets into corners and key points, in pixels of the model's input [n, 16]."""
        points = values.copy()
        points[:, :2] += centers
        points[:, 4:] += np.tile(centers, len(KEYPOINTS))
        half = values[:, 2:4] / 2
        points[:, 2:4] = points[:, :2] + half
        points[:, :2] -= half
        return points

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        return (
            Output("Faces", "sensor", "{{ value_json.data.count }}", icon="mdi:face-recognition"),
        )


def anchor_centers(
    size: tuple[int, int], strides: Sequence[int], anchors: Sequence[int]
) -> NDArray[np.float32]:
    """Return the centres (x, y) of all anchors in pixels: row by row, grid after grid."""
    grids = []
    for stride, count in zip(strides, anchors, strict=True):
        rows, columns = -(-size[0] // stride), -(-size[1] // stride)
        y, x = np.divmod(np.arange(rows * columns), columns)
        grids.append(np.repeat((np.stack([x, y], 1) + 0.5) * stride, count, axis=0))
    return np.concatenate(grids).astype(np.float32)


def _face(row: NDArray[np.float32], score: float, place: Placement) -> Face:
    corners = row.reshape(-1, 4)
    box = place.to_frame(corners[:1])[0].tolist()
    # Two points make a pair of corners.
    xy = place.to_frame(corners[1:]).reshape(-1, 2).tolist()
    named = {name: (x, y) for name, (x, y) in zip(KEYPOINTS, xy, strict=True)}
    left, top, right, bottom = box
    return Face(Box(left, top, right - left, bottom - top), float(score), named)
