"""Whether a test set knows what the training set knows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeml.data._origin import Origin
from edgeml.data._structure import leaves
from edgeml.errors import DataError

if TYPE_CHECKING:
    from edgeml.data._dataset import Dataset

_EXAMPLES = 5


@dataclass(frozen=True, slots=True)
class LeakReport:
    """What `check_leak` found.

    Attributes:
        train: Number of elements in the training set.
        test: Number of elements in the test set.
        duplicates: Elements of the test set whose input is also in the training set.
        duplicate_examples: Some of them, as numbers of the elements (training, test).
        groups: Groups that are in both.
        overlaps: Rows of the test set whose time overlaps that of a row of the training set
            from the same source, or is within the gap.
        overlap_examples: Some of them: start in the test set, seconds on its clock.

    Example:
        >>> report = LeakReport(train=8, test=2, groups=("ann",))
        >>> report.ok, str(report)
        (False, '1 groups are in both (ann)')
    """

    train: int
    test: int
    duplicates: int = 0
    duplicate_examples: tuple[tuple[int, int], ...] = ()
    groups: tuple[str, ...] = ()
    overlaps: int = 0
    overlap_examples: tuple[float, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not (self.duplicates or self.groups or self.overlaps)

    def __str__(self) -> str:
        if self.ok:
            return f"no leak between {self.train} training and {self.test} test elements"
        found = []
        if self.duplicates:
            pairs = ", ".join(f"test {b} = training {a}" for a, b in self.duplicate_examples)
            found.append(f"{self.duplicates} of {self.test} test inputs are in the training set "
                         f"({pairs})")  # fmt: skip
        if self.groups:
            listed = ", ".join(self.groups[:_EXAMPLES])
            found.append(f"{len(self.groups)} groups are in both ({listed})")
        if self.overlaps:
            listed = ", ".join(f"{t:.3f} s" for t in self.overlap_examples)
            found.append(f"{self.overlaps} test rows overlap training rows in time (at {listed})")
        return "; ".join(found)


def check_leak(
    train: Dataset,
    test: Dataset,
    groups: tuple[ArrayLike, ArrayLike] | None = None,
    *,
    gap: float = 0.0,
    on_leak: Literal["raise", "report"] = "raise",
) -> LeakReport:
    """Check that a test set measures what a model makes of data it has not seen.

    It looks for inputs that are in both, byte by byte; for groups in both; and for rows of
    one source that overlap in time, as windows do that a random split has torn apart.
    One pass is made over each; a hash of each training element stays in memory.

    Args:
        train: The training set; batches are taken apart.
        test: The test or validation set.
        groups: Group of each row, (of the training set, of the test set), such as subjects.
            Parts that ``split(by=…)`` made know theirs.
        gap: Seconds that must be between rows of one source.
        on_leak: ``"report"`` returns what was found instead of raising it.

    Returns:
        What was found.

    Raises:
        DataError: there is a leak; its `report` has examples.

    Example:
        >>> import numpy as np
        >>> from edgeml.data import Dataset
        >>> data = Dataset.from_arrays(np.arange(10.0), np.arange(10) % 2)
        >>> print(check_leak(*data.split(0.8)))
        no leak between 8 training and 2 test elements
        >>> check_leak(data, data.take(3), on_leak="report").duplicates
        3
    """
    if on_leak not in ("raise", "report"):
        raise ValueError(f'on_leak must be "raise" or "report"; received {on_leak!r}')
    if not gap >= 0:
        raise ValueError(f"gap must be a number of seconds >= 0; received {gap}")
    trained, tested, twins = _compare(train, test)
    if not trained or not tested:
        raise DataError(f"check_leak: {'train' if not trained else 'test'} is empty")
    overlaps = _overlaps(train._origin(), test._origin(), round(gap * 1e9))
    report = LeakReport(
        train=trained,
        test=tested,
        duplicates=len(twins),
        duplicate_examples=tuple(twins[:_EXAMPLES]),
        groups=_shared(_both_groups(train, test, groups)),
        overlaps=len(overlaps),
        overlap_examples=tuple(float(t) / 1e9 for t in overlaps[:_EXAMPLES]),
    )
    if on_leak == "raise" and not report.ok:
        raise DataError(f"the test set leaks: {report}", report=report)
    return report


def _compare(train: Dataset, test: Dataset) -> tuple[int, int, list[tuple[int, int]]]:
    """Return both lengths, and the numbers (training, test) of equal elements."""
    known: dict[bytes, int] = {}
    trained = tested = 0
    for element in _elements(train):
        known.setdefault(_digest(element), trained)
        trained += 1
    twins: list[tuple[int, int]] = []
    for element in _elements(test):
        if (twin := known.get(_digest(element))) is not None:
            twins.append((twin, tested))
        tested += 1
    return trained, tested, twins


def _elements(dataset: Dataset) -> Any:
    dataset = dataset.unbatch() if dataset._is_batched() else dataset
    return dataset._iterate(0)  # the check is no epoch


def _digest(element: Any) -> bytes:
    """Hash an element's input; a label that differs does not make it another element."""
    x = element[0] if isinstance(element, tuple) else element
    digest = hashlib.blake2b(digest_size=16)
    for path, leaf in leaves(x):
        array = np.asarray(leaf)
        digest.update(f"{path}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data if array.dtype.kind not in "UOmM"
                      else repr(array.tolist()).encode())  # fmt: skip
    return digest.digest()


def _both_groups(
    train: Dataset, test: Dataset, groups: tuple[ArrayLike, ArrayLike] | None
) -> Sequence[NDArray[Any]] | None:
    if groups is not None:
        if len(groups) != 2:
            raise ValueError(f"groups must be (training groups, test groups); received {groups!r}")
        return [np.asarray(own) for own in groups]
    origins = (train._origin(), test._origin())
    known = [o.groups for o in origins if o is not None and o.groups is not None]
    return known if len(known) == 2 else None


def _shared(both: Sequence[NDArray[Any]] | None) -> tuple[str, ...]:
    if both is None:
        return ()
    shared = set(both[0].tolist()) & set(both[1].tolist())
    return tuple(sorted(map(str, shared)))


def _overlaps(train: Origin | None, test: Origin | None, gap: int) -> NDArray[np.int64]:
    """Return the starts of test rows that overlap training rows of the same source, ns."""
    if train is None or test is None or train.times is None or test.times is None:
        return np.empty(0, np.int64)
    if train.sources is None or test.sources is None:
        names: Any = [None]
    else:
        names = np.intersect1d(train.sources, test.sources)
    found = []
    for name in names:
        start, end = _spans(train, name)
        order = np.argsort(start, kind="stable")
        start, latest_end = start[order], np.maximum.accumulate(end[order])
        own_start, own_end = _spans(test, name)
        before = np.searchsorted(start, own_end + gap, side="left") - 1
        hit = (before >= 0) & (latest_end[before] + gap > own_start)
        found.append(own_start[hit])
    return np.sort(np.concatenate(found)) if found else np.empty(0, np.int64)


def _spans(origin: Origin, name: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    assert origin.times is not None
    chosen = np.ones(len(origin.times), bool) if name is None else origin.sources == name
    start = origin.times[chosen]
    return start, start + origin.spans()[chosen]
