"""What is not as it was, on a sensor."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeml.errors import ModelError
from edgeml.tasks._arguments import check_seconds
from edgeml.tasks._outputs import check_finite
from edgeml.tasks._task import Model
from edgeml.tasks._windows import Rows, WindowTask

if TYPE_CHECKING:
    from edgeml.events import Output
    from edgeml.runtime import Session


@dataclass(frozen=True, slots=True)
class Anomaly:
    """How unlike normal a window of readings is.

    Attributes:
        score: Distance to the most alike normal windows; about 1 for a normal one.
        threshold: Above this it is an anomaly.
        contributions: What each channel adds, most first: ((channel, share), …), shares of 1.
    """

    score: float
    threshold: float
    contributions: tuple[tuple[str, float], ...]

    @property
    def is_anomaly(self) -> bool:
        """Whether the score is above the threshold."""
        return self.score > self.threshold

    @property
    def channel(self) -> str:
        """The channel that adds most."""
        return self.contributions[0][0]

    @property
    def state(self) -> str:
        """What `Changed`, `Hold` and `Debounce` compare: "anomaly" or "normal"."""
        return "anomaly" if self.is_anomaly else "normal"

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "state": self.state, "score": round(self.score, 4),
            "threshold": round(self.threshold, 4), "channel": self.channel,
            "contributions": {name: round(share, 4) for name, share in self.contributions},
        }  # fmt: skip


class AnomalyDetector(WindowTask):
    """Say of each window of a sensor's readings whether it is as normal ones are.

    The model is made by `edgeml.personalize.learn_normal`, from normal readings alone. Takes
    samples of one reading each ([channels]) or of several ([n, channels]), by their times; each
    source is followed by itself. A plain array is one whole window, and gives its result.

    Args:
        model: What `learn_normal` returned, its file or the bytes of it, or a `Session`.
        threshold: Score above which it is an anomaly; None: what the model says.
        adapt: Time constant, in seconds, with which slow changes of a channel's level are
            followed, in windows that are normal; None: not at all.
        hop: Seconds from one window to the next; None: what the model says.
        max_gap: Seconds between readings above which it starts anew; None: five readings.
        **options: delegate, threads, and as for `Stage`: name, on_error, timeout.

    Raises:
        ModelError: the model is for something else.
        InputError: a reading has other channels, or NaN in it.

    Example:
        >>> import numpy as np
        >>> from edgeml.tasks import AnomalyDetector
        >>> from edgeml.personalize import learn_normal
        >>> rng = np.random.default_rng(0)
        >>> model = learn_normal(rng.normal(size=(4000, 2)), rate=50, channels=["x", "y"])
        >>> found = AnomalyDetector(model)(rng.normal(size=(100, 2)) * [1, 4])
        >>> found.is_anomaly, found.channel
        (True, 'y')
    """

    task = "anomaly-detection"

    def __init__(
        self, model: Model, *, threshold: float | None = None, adapt: float | None = None,
        hop: float | None = None, max_gap: float | None = None, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(model, hop=hop, max_gap=max_gap, **options)
        check_seconds(self.name, **({} if adapt is None else {"adapt": adapt}))
        if threshold is not None and not 0 < threshold < math.inf:
            raise ValueError(f"{self.name}: threshold must be positive; received {threshold!r}")
        self.threshold = threshold
        self.adapt = adapt
        self._moved: dict[str, NDArray[np.float32]] = {}  # how far levels are from normal

    def _load(self) -> Session:
        content = getattr(self.model, "content", self.model)
        if not isinstance(content, bytes):
            return super()._load()
        from edgeml.runtime import load

        if self._isolated:
            raise ModelError(
                f"{self.name}: a process of its own (isolated=) loads a file: export the model, "
                "and pass its path"
            )
        with tempfile.TemporaryDirectory(prefix="edgeml-") as folder:
            file = Path(folder) / "normal.onnx"
            file.write_bytes(content)
            return load(file, delegate=self._delegate, threads=self._threads)

    def _prepare(self, session: Session) -> None:
        super()._prepare(session)
        said = session.metadata.postprocess
        try:
            if missing := {"score", "contributions"} - {spec.name for spec in session.outputs}:
                raise ValueError(f"outputs, there is no {min(missing)}")
            self._limit = float(said["threshold"] if self.threshold is None else self.threshold)
            self._level = np.asarray(said["level"], np.float32).reshape(len(self.channels))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.name}: {session.path} does not say what is normal (wrong at {error}); "
                "make the model with edgeml.personalize.learn_normal",
                path=session.path,
            ) from error

    def _result(self, window: Rows, session: Session, source: str) -> Anomaly:
        moved = self._moved.get(source) if self.adapt else None
        given = window if moved is None else window - moved
        outputs = session.run({session.inputs[0].name: given[None]})
        check_finite(outputs, session.path)
        shares = outputs["contributions"][0]
        order = np.argsort(-shares, kind="stable")
        total = max(float(shares.sum()), 1e-12)
        found = Anomaly(
            float(outputs["score"][0]), self._limit,
            tuple((self.channels[i], float(shares[i]) / total) for i in order),
        )  # fmt: skip
        if self.adapt and source and not found.is_anomaly:
            self._follow(source, window)
        return found

    def _follow(self, source: str, window: Rows) -> None:
        """Move a source's levels a little towards those of a normal window."""
        before = self._moved.get(source, np.zeros_like(self._level))
        assert self.adapt is not None
        part = -math.expm1(-self._hop / (self.adapt * 1e9))
        now = window.mean(0) - self._level
        self._moved[source] = (before + part * (now - before)).astype(np.float32)

    def outputs(self) -> Sequence[Output]:
        """Return what the task publishes, for discovery."""
        from edgeml.events import Output

        template = "{{ 'ON' if value_json.data.state == 'anomaly' else 'OFF' }}"
        return (Output("Anomaly", "binary_sensor", template, device_class="problem"),)
