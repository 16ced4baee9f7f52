"""A simulated accelerator, which fails when it is told to."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from edgeml.runtime._availability import AVAILABLE, Availability
from edgeml.runtime._backend import Backend, Delegate

FAULTS = ("abort", "crash", "fail", "freeze", "hang", "nan", "open", "open-crash")

_ALWAYS = "always"
_PACKAGE = "edgeml_fake_accelerator-1.dist-info"


class FakeAccelerator:
    """A delegate named ``fake`` that runs models on the CPU, and fails when it is told to.

    It is installed while the context is open, by an entry point as the delegates of others
    are, so that worker processes have it, too. Faults:

    - ``"crash"``, ``"abort"``: the next call ends its process, by SIGSEGV or SIGABRT;
    - ``"hang"``: it never returns; ``"freeze"``: nor does anything else of its process;
    - ``"fail"``: it raises what ONNX Runtime does when a device is gone;
    - ``"nan"``: its outputs are NaN;
    - ``"open"``, ``"open-crash"``: no model can be opened: it raises, or ends its process.

    All but ``"nan"``, ``"fail"`` and ``"open"`` are for isolated sessions only.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.testing import FakeAccelerator
        >>> x = np.zeros((1, 100, 6), np.float32)
        >>> with FakeAccelerator() as fake:
        ...     model = "edgeml:activity_watch_int8.onnx"
        ...     with edgeml.load(model, delegate="fake", isolated=True) as session:
        ...         fake.fault("crash")
        ...         outputs = session.run(x)  # the CPU's
        >>> outputs["probabilities"].shape
        (1, 7)
    """

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="edgeml-fake-"))
        package = self._folder / _PACKAGE
        package.mkdir()
        (package / "METADATA").write_text("Name: edgeml-fake-accelerator\nVersion: 1\n")
        entry = f"fake = {FakeBackend.__module__}:{FakeBackend.__name__}"
        (package / "entry_points.txt").write_text(f"[edgeml.delegates]\n{entry}\n")
        (package / "faults").mkdir()
        sys.path.insert(0, str(self._folder))
        return self

    def __exit__(self, *exc_info: object) -> None:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(self._folder))
        shutil.rmtree(self._folder, ignore_errors=True)

    def fault(self, kind: str, times: int | None = 1) -> None:
        """Make the next calls fail.

        Args:
            kind: See above.
            times: How many; None is all until `heal`.

        Raises:
            ValueError: there is no such fault.
        """
        if kind not in FAULTS:
            raise ValueError(f"there is no fault {kind!r}; expected one of {', '.join(FAULTS)}")
        for n in range(times or 0) if times is not None else [_ALWAYS]:
            (self._faults / f"{kind}.{n}").touch()

    def heal(self) -> None:
        """Take back what `fault` did."""
        for path in self._faults.iterdir():
            path.unlink(missing_ok=True)

    def left(self) -> list[str]:
        """Return the faults that no call has taken yet."""
        return sorted(path.stem for path in self._faults.iterdir())

    @property
    def _faults(self) -> Path:
        return self._folder / _PACKAGE / "faults"


class FakeBackend(Backend):
    """The delegate of `FakeAccelerator`."""

    name = "fake"
    provider = "CPUExecutionProvider"
    devices: Mapping[str, str] = {"npu": "npu"}

    def available(self, device: str | None = None) -> Availability:
        """Return that it can be had; see `Backend.available`."""
        return AVAILABLE

    def attach(self, options: Any, delegate: Delegate, threads: int) -> list[Any]:
        """Return its provider; see `Backend.attach`."""
        if _due("open-crash"):
            signal.raise_signal(signal.SIGSEGV)
        if _due("open"):
            raise RuntimeError("the fake accelerator does not open models now")
        return [self.provider]

    def wrap(self, session: Any, delegate: Delegate) -> Any:
        """Return what fails when it is told to; see `Backend.wrap`."""
        return _Failing(session)


class _Failing:
    """A session whose calls fail."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, names: list[str], inputs: Mapping[str, Any]) -> list[Any]:
        """Run, or fail."""
        _fail()
        outputs: list[Any] = self._session.run(names, inputs)
        if _due("nan"):
            for output in outputs:
                if isinstance(output, np.ndarray) and output.dtype.kind == "f":
                    output.fill(np.nan)
        return outputs

    def run_with_iobinding(self, binding: Any) -> None:
        """Run, or fail; NaN only comes by `run`."""
        _fail()
        self._session.run_with_iobinding(binding)


def _fail() -> None:
    if _due("crash"):
        signal.raise_signal(signal.SIGSEGV)
    if _due("abort"):
        os.abort()
    freezes = _due("freeze")
    if freezes:
        os.kill(os.getpid(), signal.SIGSTOP)
    if freezes or _due("hang"):  # the signal may take a moment
        threading.Event().wait()
    if _due("fail"):
        from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

        raise EPFail("[ONNXRuntimeError] : 11 : EP_FAIL : the fake accelerator has gone")


def _due(kind: str) -> bool:
    """Return whether a call is to fail; only one call takes each fault, whatever its process."""
    for folder in sys.path:
        faults = Path(folder) / _PACKAGE / "faults"
        if not faults.is_dir():
            continue
        for path in sorted(faults.glob(f"{kind}.*")):
            if path.suffix == f".{_ALWAYS}":
                return True
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
                return True
    return False
