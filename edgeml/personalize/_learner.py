"""The learner: examples in, a checked head out, on the live stream."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np

from edgeml.errors import ConfigError, DataError, StoreError, TrainingError
from edgeml.evaluation import Report, evaluate
from edgeml.personalize._adapt import LastBlocks, check_blocks
from edgeml.personalize._backbone import Backbone
from edgeml.personalize._candidate import Candidate, TrainReport, gain_over, notes_on
from edgeml.personalize._choose import choose
from edgeml.personalize._collect import Collection
from edgeml.personalize._fit import Fitted, Job, counts_of, fit, fit_apart
from edgeml.personalize._head import UNKNOWN
from edgeml.personalize._labels import check_label, check_subject
from edgeml.personalize._recordings import held_together, recordings_of
from edgeml.personalize._seen import Seen
from edgeml.personalize._store import Example, Store, Version, matrix
from edgeml.streams import Sample, Stage
from edgeml.tasks import Classification

Array = np.ndarray[Any, Any]
_log = logging.getLogger("edgeml.personalize")


class Learner(Stage):
    """Learns new classes from a few examples, while it tells the known ones in a stream.

    A backbone, which stays as it is, makes features of samples; a small head on top is what
    learns. Examples and heads are kept in a `Store`. A head that was trained is a candidate: it
    is used when it was accepted, and can be taken back.

    Several processes may use one store: a head that another one has accepted is used from the next
    sample on.

    As a stage it puts a `Classification` into each sample; what is like no class, and everything
    before the first `accept`, is ``"unknown"``.

    Args:
        backbone: A `Backbone`, or what one is made of: a path, URL or ``"edgeml:NAME"``.
        store: A `Store`, which stays the caller's to close, or its folder.
        method: "auto", "nearest-mean", "knn", "bias", "linear", "mlp", "last-blocks", "lora", or
            a `Head`. The last two, and "auto" where features are not enough, need a backbone with
            a cut; one that is made of a path has it with those two.
        keep: Share of the known examples that may not be turned away as unknown; with 1, nothing
            is.
        duplicate: Cosine of features above which two samples are the same.
        keep_raw: Whether samples are kept too, to make features of another backbone from them.
        reembed: Whether features of another backbone in the store are made anew from raw samples;
            examples without are lost.
        **options: As for `Stage`: name, concurrency, on_error, timeout.

    Raises:
        StoreError: the store is of another backbone, cannot be made, or is damaged.
        ConfigError: there is no such method, or it trains blocks and the backbone has no cut.

    Example:
        >>> import tempfile, numpy as np
        >>> from edgeml.personalize import Learner
        >>> rng = np.random.default_rng(0)
        >>> learner = Learner("edgeml:activity_watch_int8.onnx", store=tempfile.mkdtemp())
        >>> for i in range(4):
        ...     _ = learner.add("slow", rng.normal(0, 1, (100, 6)))
        ...     _ = learner.add("fast", rng.normal(0, 20, (100, 6)))
        >>> _ = learner.accept(learner.train())
        >>> learner.predict(rng.normal(0, 20, (100, 6))).top[0][0]
        'fast'
        >>> learner.close()
    """

    most_examples = 10_000
    """How many examples a head learns from at most; of more, these are chosen evenly."""

    def __init__(
        self, backbone: Any, *, store: Any, method: Any = "auto", keep: float = 0.95,
        duplicate: float = 0.9999, keep_raw: bool = False, reembed: bool = False, **options: Any,
    ) -> None:  # fmt: skip
        super().__init__(**options)
        trains_blocks = isinstance(choose(method, {"any": 1})[0], LastBlocks)  # or no such method
        self.method = method
        self.keep = keep
        self.duplicate = duplicate
        self.keep_raw = keep_raw
        self._given = (backbone, store)
        if not isinstance(backbone, Backbone):
            backbone = Backbone(backbone, cut="auto" if trains_blocks else None)
        elif trains_blocks:
            check_blocks(method, backbone.blocks)
        self.backbone = backbone
        self.store = store if isinstance(store, Store) else Store(store)
        self._lock = threading.RLock()
        self._head: tuple[Any, tuple[str, ...]] | None = None
        self._seen: Seen | None = None
        try:
            self._bind(reembed)
            self._use_current()
        except BaseException:
            self.close()
            raise

    def _bind(self, reembed: bool) -> None:
        own = (self.backbone.key, self.backbone.size, self.backbone.name)
        try:
            self.store.bind(*own)
        except StoreError:
            if not reembed:
                raise
            there = self.store.numbers()
            raws = ((i, self.store.raw(i)) for i in there)
            rows = {i: self.backbone(_loaded(raw)) for i, raw in raws if raw is not None}
            self.store.reembed(*own, rows)
            _log.warning("%d of %d examples were embedded anew", len(rows), len(there))

    def _use_current(self) -> None:
        current = self.store.current()
        self._head = None if current is None else _opened(current[1])
        self._version = None if current is None else current[0]

    def _follow(self) -> None:
        """Use the head that another process has accepted or taken back meanwhile."""
        if self.store.changed():
            with self._lock:
                self._seen = None
                if self.store.version() != self._version:
                    self._use_current()

    def add(self, label: str, sample: Any, *, subject: str = "") -> int | None:
        """Keep an example; return its number, or None when the store's balance kept others.

        Args:
            label: Its class; ``"unknown"`` for what is of no class.
            sample: A `Sample`, or its data.
            subject: Whom it is of.

        Raises:
            DataError: there is nothing in the sample, or an example is nearly the same; the
                message says whether that one has another label.
            InputError: it is not what the backbone takes.
            StoreError: the disk is full; nothing was changed.
        """
        label = check_label(label)
        return self.add_features(label, self.backbone(sample), sample=sample, subject=subject)

    def add_features(
        self, label: str, features: Any, *, sample: Any = None, subject: str = ""
    ) -> int | None:
        """Keep an example whose features were made before; otherwise as `add`.

        Args:
            label: Its class.
            features: What the backbone made of it, float (size,).
            sample: What they were made of; with `keep_raw` it is kept where it is given.
            subject: Whom it is of.
        """
        label = check_label(label)
        features = np.asarray(features, np.float32)
        with self._lock:
            self._follow()
            if self._seen is None:
                self._seen = Seen(self.store, self.backbone.size)
            self._refuse_duplicate(label, *self._seen.nearest(features))
            raw = _dumped(sample) if self.keep_raw and sample is not None else None
            number = self.store.add(label, features, raw=raw, subject=subject)
            if number is not None:
                self._seen.add(number, features)
        return number

    def _refuse_duplicate(self, label: str, number: int, cosine: float) -> None:
        other = self.store.label_of(number) if cosine > self.duplicate else None
        if other is None:  # nothing like it, or that one has made room meanwhile
            return
        same = "of the same label" if other == label else (
            f"but labelled {other!r}, which contradicts {label!r}: remove({number}) if that one is "
            "wrong")  # fmt: skip
        raise DataError(f"the sample is nearly the same as example {number}, {same}")

    def remove(self, example: int) -> None:
        """Delete an example; train anew for the head to forget it.

        Raises:
            DataError: there is no such example.
        """
        with self._lock:
            self._seen = None
            self.store.remove(example)

    def forget(self, label: str | None = None) -> int:
        """Delete the examples of a class, or everything, and all heads made from them.

        A head for what is left is trained first and used at once, as long as two classes are.

        Returns:
            How many examples were deleted.

        Raises:
            DataError: there never was such a class; nothing was changed.
        """
        label = None if label is None else check_label(label)
        with self._lock:
            self.store.check_class(label)
            self._seen = None
            rest = [] if label is None else [e for e in self._chosen() if e.label != label]
            head = None
            if self.store.current() is not None and len({e.label for e in rest}) > 1 and any(
                e.label != UNKNOWN for e in rest
            ):  # fmt: skip
                made = self._candidate(rest, fit(self._job(rest, None)))
                head = made.content, made.info
            gone = self.store.forget(label, head)
            self.store.bind(self.backbone.key, self.backbone.size, self.backbone.name)
            self._use_current()
        return gone

    def examples(self, label: str | None = None) -> list[Example]:
        """Return the examples, of one class or of all, oldest first."""
        return self.store.examples(None if label is None else check_label(label))

    def counts(self) -> dict[str, int]:
        """Return the number of examples of each class."""
        return self.store.counts()

    def collect(
        self, label: str, source: Any, count: int = 5, *, countdown: float = 3.0,
        every: float = 0.5, subject: str = "",
    ) -> Collection:  # fmt: skip
        """Take examples from a live source; see `Collection`.

        Args:
            label: Their class.
            source: A source, or a pipeline that ends in samples as the backbone takes them.
            count: How many.
            countdown: Seconds before the first.
            every: Seconds of sample time between two that are tried.
            subject: Whom they are of.
        """
        return Collection(
            self, check_label(label), source, count, countdown, every, check_subject(subject)
        )

    def train(self, *, weights: Callable[[Example], float] | None = None) -> Candidate:
        """Train a head on all examples; it is not used before `accept`.

        Args:
            weights: How much an example counts within its class; None: all the same.

        Raises:
            DataError: there is one class only, or none.
        """
        examples = self._chosen()
        return self._candidate(examples, fit(self._job(examples, weights)))

    async def train_async(
        self, *, weights: Callable[[Example], float] | None = None, duty: float = 0.5,
        memory_limit: int = 1 << 30,
    ) -> Candidate:  # fmt: skip
        """Train as `train` does, in a process of low priority, while the stream goes on.

        The process has one thread. When this is cancelled, it is ended.

        Args:
            weights: How much an example counts within its class; None: all the same.
            duty: Share of the time in which it trains, above 0, up to 1; it rests between steps.
            memory_limit: Bytes of memory that it may take, the runtime with its libraries among
                them.

        Raises:
            DataError: there is one class only, or none.
            ConfigError: `duty` is out of range, or the method is a head of your own.
            TrainingError: the process took too much memory, or was killed; nothing was changed.
        """
        if not 0 < duty <= 1:
            raise ConfigError(f"duty: expected above 0, up to 1; received {duty!r}")
        examples = await asyncio.to_thread(self._chosen)
        job = await asyncio.to_thread(self._job, examples, weights)
        fitted = await fit_apart(job, duty=duty, memory_limit=memory_limit)
        return await asyncio.to_thread(self._candidate, examples, fitted)

    def _chosen(self) -> list[Example]:
        return self.store.examples(most=self.most_examples)

    def _job(self, examples: Sequence[Example], weights: Callable[[Example], float] | None) -> Job:
        if not examples:
            raise DataError("there are no examples yet: add some of at least two classes")
        return Job(
            self.method, matrix(examples), [e.label for e in examples],
            None if weights is None else [weights(e) for e in examples], self.keep,
            held_together(examples, recordings_of(examples)),
            {"edgeml.backbone": self.backbone.key}, self.backbone.blocks,
        )  # fmt: skip

    def _candidate(self, examples: Sequence[Example], fitted: Fitted) -> Candidate:
        held = fitted.held_out
        said = dict(zip([e.id for e in examples], held.predicted, strict=True))
        current, gain = self.store.current(), None
        if current is not None:
            session, labels = _opened(current[1])
            gain = gain_over(examples, said, current[2], labels,
                             lambda x: _named(session, labels, x))  # fmt: skip
        notes, there = notes_on(examples, held, self.duplicate), sum(self.counts().values())
        if there > len(examples) >= self.most_examples - len(self.counts()):
            notes = ((f"learned from {len(examples)} of {there} examples, as evenly over the "
                      "classes as they allow"), *notes)  # fmt: skip
        report = TrainReport(
            fitted.method, fitted.why, counts_of(held.actual), held.accuracy, gain, notes
        )
        return Candidate.of(fitted.content, report, said)

    def accept(self, candidate: Candidate, *, force: bool = False) -> str:
        """Use a candidate from now on; return its version.

        Args:
            candidate: What `train` returned.
            force: Whether to use it even though it is significantly worse.

        Raises:
            TrainingError: it is significantly worse than the head in use.
            StoreError: the disk is full; the head in use stays.
        """
        if candidate.report.worse and not force:
            raise TrainingError(
                f"the candidate is not accepted:\n{candidate.report}\nLook at the notes, collect "
                "more, or force it (force=True, --force)"
            )
        head = _opened(candidate.content)
        with self._lock:
            version = self.store.accept(candidate.content, candidate.info)
            self._head, self._version = head, version
        _log.info("head %s is in use: %s", version[:12], candidate.report.method)
        return version

    def rollback(self) -> str:
        """Use the head before the current one again, at once; return its version.

        Raises:
            StoreError: there is none.
        """
        with self._lock:
            version = self.store.rollback()
            self._use_current()
        return version

    def history(self) -> list[Version]:
        """Return what was accepted, taken back and forgotten, oldest first."""
        return self.store.history()

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that the head in use knows, and ``"unknown"``."""
        return (UNKNOWN,) if self._head is None else self._head[1]

    def predict(self, sample: Any) -> Classification:
        """Return what a sample is.

        Raises:
            InputError: it is not what the backbone takes.
            DataError: there is nothing in it.
        """
        return self._classified(self.backbone(sample))

    def _classified(self, features: Array) -> Classification:
        self._follow()
        head = self._head
        if head is None:
            return _unknown(features)
        scores = head[0].run(None, {"features": features[None]})[0][0]
        found: Classification = Classification.of(scores, head[1], features=features)
        return found

    def __call__(self, item: Any) -> Any:
        """Return what a sample is; a sample without anything in it is unknown."""
        try:
            found = self.predict(item)
        except DataError as error:
            _log.debug("%s: %s", self.name, error)
            found = _unknown(None)
        return item.with_data(found) if isinstance(item, Sample) else found

    def evaluate(
        self, samples: Sequence[Any] | None = None, labels: Sequence[str] | None = None, *,
        subjects: Sequence[Any] | None = None,
    ) -> Report:  # fmt: skip
        """Say how good the head in use is: by class, by subject, with its confusions.

        Args:
            samples: Samples that it has not learned from; None: its own examples, by what was
                said of them when they were held out.
            labels: What they are, ``"unknown"`` for any other.
            subjects: Whom they are of.

        Raises:
            DataError: nothing has been accepted yet, or there are not as many labels.
        """
        current = self.store.current()
        if current is None or self._head is None:
            raise DataError("there is no head in use yet: train, and accept")
        session, names = self._head
        if samples is None:
            held = current[2].get("held_out", {})
            said = {int(i): label for i, label in held.items() if label is not None}
            own = self.store.described(said)
            labels, subjects = [label for _, label, _ in own], [who for _, _, who in own]
            numbers = [names.index(said[i]) for i, _, _ in own]
            scores = np.eye(len(names), dtype=np.float32)[numbers]
        else:
            each = ({"features": self.backbone(sample)[None]} for sample in samples)
            rows = [session.run(None, features)[0] for features in each]
            scores = np.concatenate(rows) if rows else np.empty((0, len(names)), np.float32)
        if not len(scores):
            raise DataError("there is nothing to judge by: pass samples and labels, or teach two "
                            "examples of each class and more")  # fmt: skip
        if labels is None or len(labels) != len(scores):
            raise DataError(f"expected a label for each of {len(scores)} samples; received "
                            f"{0 if labels is None else len(labels)}")  # fmt: skip
        y = np.array([names.index(name) if name in names else len(names) - 1 for name in labels])
        several = subjects is not None and len(set(subjects)) > 1
        return evaluate(
            scores, y=y, kind="multiclass", labels=names,
            groups=list(subjects) if several and subjects is not None else None,
            slices={"subject": np.array(subjects)} if several else None,
        )  # fmt: skip

    def export(
        self, path: Any, *, backbone: bool = True, metadata: Mapping[str, str] | None = None
    ) -> None:
        """Write what is in use as one ONNX file, from samples to probabilities.

        Args:
            path: The file.
            backbone: Whether the backbone is in it; False: the head alone, from features.
            metadata: More for the file's metadata.

        Raises:
            DataError: nothing has been accepted yet.
            ModelError: the backbone is a TFLite model.
        """
        from edgeml._require import require
        from edgeml.training._files import writing

        current = self.store.current()
        if current is None:
            raise DataError("there is no head in use yet: train, and accept")
        content = current[1]
        if backbone:
            onnx = require("onnx", extra="train", purpose="Exporting a model")
            head = onnx.load_from_string(content)
            content = self.backbone.join(head, metadata or {}).SerializeToString()
        with writing(path, 0o600) as file:  # it was learned from somebody's data
            file.write(content)

    def close(self) -> None:
        """Close what the learner has opened; idempotent. The end of a pipeline does not."""
        for part in (getattr(self, "backbone", None), getattr(self, "store", None)):
            if part is not None and not any(part is given for given in self._given):
                part.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _opened(content: bytes) -> tuple[Any, tuple[str, ...]]:
    """Return a session of a head's file, and its labels."""
    from edgeml._require import require
    from edgeml.runtime._errors import translated

    ort = require("onnxruntime", extra="cpu", purpose="A head")
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # its errors come as exceptions
    with translated("the head", loading=True):
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    labels = session.get_modelmeta().custom_metadata_map.get("edgeml.labels")
    if labels is None:
        raise StoreError("what the store has in use is no head of a learner: pass another store")
    return session, tuple(json.loads(labels))


def _unknown(features: Array | None) -> Classification:
    found: Classification = Classification.of(np.ones(1, np.float32), (UNKNOWN,), features=features)
    return found


def _named(session: Any, labels: Sequence[str], features: Any) -> list[str]:
    found = session.run(None, {"features": np.asarray(features, np.float32)})[0]
    return [labels[i] for i in found.argmax(1)]


def _dumped(sample: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(sample.data if isinstance(sample, Sample) else sample))
    return file.getvalue()


def _loaded(raw: bytes) -> Array:
    found: Array = np.load(io.BytesIO(raw), allow_pickle=False)
    return found
