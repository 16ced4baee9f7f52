"""The model that makes features of samples."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from edgeml.errors import DataError, InputError, ModelError
from edgeml.personalize._adapt_blocks import last_blocks
from edgeml.personalize._join import NAMES, cut_at, find_features, joined
from edgeml.runtime import load, resolve
from edgeml.streams import Sample
from edgeml.tasks import ImagePreprocess
from edgeml.tasks._arguments import number_in, rate_in, whole_in
from edgeml.tasks._audio import check_audio
from edgeml.tasks._image import check_frame

if TYPE_CHECKING:
    from edgeml.runtime import Session

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Signal:
    """The windows of a signal that a backbone takes.

    Attributes:
        kind: "audio" or "motion".
        rate: Samples a second.
        window: How many samples.

    Example:
        >>> from edgeml.personalize import Backbone
        >>> Backbone("edgeml:speech_embedding.onnx").signal
        Signal(kind='audio', rate=16000.0, window=26480)
    """

    kind: str
    rate: float
    window: int

    @classmethod
    def of(cls, spec: Mapping[str, Any]) -> Signal | None:
        """Return what the description of an input says; None where it is no whole window."""
        kind = str(spec.get("type", ""))
        whole = kind in ("audio", "motion") and not (spec.get("frontend") or spec.get("context"))
        if not whole or not {"sample_rate", "window"} <= spec.keys():
            return None
        number_in(spec, "hop", 1, least=1)
        return cls(kind, rate_in(spec), whole_in(spec, "window"))


class Backbone:
    """Makes features of samples: a model's inner output, before it says what it was trained for.

    Args:
        model: Path or URL of an ONNX or TFLite model, or ``"edgeml:NAME"``.
        features: Name of the output, or in an ONNX model of any value, that has the features.
            None: what the metadata says, an output named features or embedding, or what goes
            into the last dense layer.
        cut: A value before the features, or "auto" for the one before the last two layers: what
            is kept of an example is then taken there, so that heads can train what follows, too.
        preprocess: ``fn(data) -> input``, or the description of a picture, instead of the
            metadata's.
        delegate: As for `edgeml.load`.
        threads: Of one inference.

    Attributes:
        name: What the user calls the model.
        key: What tells these features from all others.
        size: How many features there are, or numbers at the cut.
        blocks: ONNX file of what follows the cut, up to the features; None without a cut.
        signal: The windows that it takes, of sound or motion; None for anything else.

    Raises:
        ModelError: the model cannot be loaded, or has no such value.

    Example:
        >>> import numpy as np
        >>> from edgeml.personalize import Backbone
        >>> backbone = Backbone("edgeml:activity_watch_int8.onnx")
        >>> backbone(np.random.default_rng(0).normal(size=(100, 6))).shape
        (64,)
    """

    def __init__(
        self, model: Any, *, features: str | None = None, cut: str | None = None,
        preprocess: Callable[[Any], Any] | Mapping[str, Any] | None = None,
        delegate: str = "auto", threads: int = 1,
    ) -> None:  # fmt: skip
        self.name = str(model)
        self._file = resolve(model)
        self._session = load(model, delegate, threads)
        metadata = self._session.metadata
        try:
            self._output, self._is_onnx = self._find(features)
            self.blocks: bytes | None = None
            if cut is not None:
                self._output, self.blocks = self._last_blocks(cut)
            if self._output not in {spec.name for spec in self._session.outputs}:
                self._session = self._cut(delegate, threads)
            self._spec = preprocess if isinstance(preprocess, Mapping) else metadata.preprocess
            self._own = preprocess if callable(preprocess) else None
            self._kind = str(self._spec.get("type", ""))
            self.signal = None if self._own is not None else self._signal()
            self._picture = None
            if self._own is None and self._kind == "image":
                self._picture = ImagePreprocess.parse(self._spec, model=self.name)
            self.key = hashlib.sha256(
                self._file.read_bytes() + self._output.encode()
            ).hexdigest()  # fmt: skip
            self.size = self._count()
        except BaseException:
            self._session.close()
            raise

    def _signal(self) -> Signal | None:
        try:
            return Signal.of(self._spec)
        except ValueError as error:
            raise ModelError(
                f"{self.name}: metadata edgeml.preprocess: expected positive numbers for "
                f"sample_rate, window and hop; received {error}"
            ) from error

    def _find(self, features: str | None) -> tuple[str, bool]:
        """Return the value with the features, and whether the model is ONNX."""
        with self._file.open("rb") as file:
            is_onnx = file.read(8)[4:8] != b"TFL3"
        outputs = [spec.name for spec in self._session.outputs]
        said = features or self._session.metadata.postprocess.get("features")
        for name in (said, *(NAMES if features is None else ())):
            if name in outputs:
                return str(name), is_onnx
        if is_onnx:
            return find_features(self._file, features), True
        if features is None and len(outputs) == 1:
            return outputs[0], False
        raise ModelError(
            f"{self.name}: which output has the features? Pass features= with one of "
            f"{', '.join(outputs)}; received {features!r}"
        )

    def _last_blocks(self, cut: str) -> tuple[str, bytes]:
        if not self._is_onnx:
            raise ModelError(
                f"{self.name} is a TFLite model, which is never trained: cut= needs an ONNX model"
            )
        return last_blocks(self._file, self._output, cut)

    def _cut(self, delegate: str, threads: int) -> Session:
        """Return a session of the part of the model up to its features."""
        proto = cut_at(self._file, self._output)
        self._session.close()
        with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
            file = Path(folder) / "backbone.onnx"
            file.write_bytes(proto.SerializeToString())
            self._inner = "features"
            return load(file, delegate, threads)

    def _count(self) -> int:
        name = getattr(self, "_inner", self._output)
        shape = next(spec.shape for spec in self._session.outputs if spec.name == name)
        sizes = [n for n in shape[1:] if isinstance(n, int)]
        if not sizes or len(sizes) != len(shape) - 1:
            raise ModelError(
                f"{self.name}: expected features of a fixed size, received shape {list(shape)} of "
                f"{self._output!r}; pass features= with the name of another value"
            )
        return int(np.prod(sizes))

    def __call__(self, sample: Any) -> Array:
        """Return the features of a sample or its data, float32 (size,).

        Raises:
            InputError: the data are not what the model takes.
            DataError: there is nothing in them: a black frame, silence, clipped sound, NaN.
        """
        data = sample.data if isinstance(sample, Sample) else sample
        if self._own is not None:
            given = self._own(data)
        elif self._picture is not None:
            frame = check_frame(data, self.name)
            if frame.max() - frame.min() < 8:
                raise DataError("the frame is black, or all of one colour: is the lens covered?")
            given = self._picture(frame)[0]
        else:
            given = self._array(sample)
        outputs = self._session.run({self._session.inputs[0].name: given})
        found = np.asarray(outputs[getattr(self, "_inner", self._output)], np.float32).reshape(-1)
        if not np.isfinite(found).all():
            raise DataError("the features hold NaN or infinity")
        return found

    def embed(self, window: Array) -> Array:
        """Return the features of a whole window of a signal, whatever is in it."""
        outputs = self._session.run({self._session.inputs[0].name: window[None]})
        found: Array = outputs[getattr(self, "_inner", self._output)].reshape(-1)
        return found.astype(np.float32, copy=False)

    def _array(self, sample: Any) -> Array:
        spec = self._session.inputs[0]
        array = np.asarray(sample.data if isinstance(sample, Sample) else sample)
        if self.signal is not None and self.signal.kind == "audio":
            array = check_audio(sample, round(self.signal.rate), self.name)
        wanted = list(spec.shape[1:])
        fits = array.ndim == len(wanted) and all(
            not isinstance(n, int) or n == m for n, m in zip(wanted, array.shape, strict=True)
        )
        if not fits or array.dtype.kind not in "fiub":
            sound = self.signal is not None and self.signal.kind == "audio"
            live = " A live stream of sound goes through Spotter(learner)" if sound else ""
            raise InputError(
                f"{self.name}: expected numbers of shape {wanted}, received {array.dtype} "
                f"{list(array.shape)}: are the rate and the length those of the model?{live}",
                name=spec.name, expected=wanted, received=list(array.shape),
            )  # fmt: skip
        if array.dtype.kind == "f" or self._kind == "motion":  # raw readings may be whole numbers
            _check_signal(array, self._kind)
        return array.astype(spec.dtype, copy=False)[None]

    def join(self, head: Any, metadata: Mapping[str, str]) -> Any:
        """Return a ModelProto of the backbone with a head's ModelProto behind it.

        Raises:
            ModelError: the backbone is no ONNX model.
        """
        if not self._is_onnx:
            raise ModelError(
                f"{self.name} is a TFLite model, which ONNX cannot continue: export the head alone "
                "with export(path, backbone=False)"
            )
        return joined(self._file, self._output, head, metadata)

    def close(self) -> None:
        """Free the model; idempotent."""
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _check_signal(values: Array, kind: str) -> None:
    """Refuse a signal with nothing in it.

    Raises:
        DataError: it is silent, clipped, constant, or holds NaN.
    """
    if not np.isfinite(values).all():
        raise DataError("the sample holds NaN or infinity")
    if kind == "audio":
        peak = np.abs(values).max(initial=0)
        if peak < 1e-3:
            raise DataError("the sound is silent: is the microphone muted?")
        if (np.abs(values) >= 0.999).mean() > 0.01:
            raise DataError("the sound is clipped: lower the gain, or speak from further away")
    elif values.size > 1 and np.ptp(values) == 0:
        raise DataError("all values of the sample are the same: is the sensor frozen?")
