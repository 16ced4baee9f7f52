"""What ``edgeml bench --json`` measured on another machine."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from edgeml.errors import OptimizeError
from edgeml.quantize._measure import Timing
from edgeml.quantize._model import Model


class Elsewhere:
    """Results of ``edgeml bench --json`` by the hash of the model's file.

    Args:
        results: Files, each of one document or of one on each line.

    Raises:
        OptimizeError: a file cannot be read, or is not what the command prints.
    """

    def __init__(self, results: Iterable[str | os.PathLike[str]]) -> None:
        self._rows: dict[str, dict[int, float]] = {}
        self.machines: list[str] = []
        for path in map(Path, results):
            for document in _documents(path):
                self._take(document, path)

    def _take(self, document: Any, path: Path) -> None:
        try:
            if document["type"] != "bench":
                raise ValueError
            name = str(document["sha256"])
            rows = {int(row["threads"]): float(row["median_ms"]) for row in document["rows"]}
            machine = str(document["machine"])
        except (KeyError, TypeError, ValueError):
            raise OptimizeError(
                f"{path}: expected what `edgeml bench MODEL --json` prints, with sha256, machine "
                "and rows; run it on the target with this version of edgeml"
            ) from None
        if machine not in self.machines:
            self.machines.append(machine)
        if len(self.machines) > 1:
            raise OptimizeError(
                f"{path} is of another machine than the results before it: "
                f"{' and '.join(self.machines)}; pass those of one"
            )
        self._rows[name] = rows

    def timings(self, original: Model, forms: Mapping[str, Model]) -> dict[str, Timing]:
        """Return what is known of the original and of forms, by name.

        The number of threads is that with which the original is fastest.

        Raises:
            OptimizeError: the original was not measured.
        """
        first = self._rows.get(_hash(original))
        if first is None:
            raise OptimizeError(
                "the results have no figures of the model that came in: run `edgeml bench` on the "
                "target for forms/original.onnx in the folder of resume"
            )
        threads = min(first, key=lambda n: first[n])
        found = {"original": Timing((first[threads],), 1.0, 1.0, 1.0)}
        for name, model in forms.items():
            milliseconds = self._rows.get(_hash(model), {}).get(threads)
            if milliseconds is not None:
                ratio = first[threads] / milliseconds
                found[name] = Timing((milliseconds,), ratio, ratio, ratio)
        return found


def _documents(path: Path) -> list[Any]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise OptimizeError(f"{path}: the results cannot be read: {error}") from None
    try:
        return [json.loads(text)]
    except ValueError:
        pass
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError as error:
        raise OptimizeError(f"{path}: no JSON: {error}") from None


def _hash(model: Model) -> str:
    return hashlib.sha256(model.SerializeToString()).hexdigest()
