"""What was asked, found, measured and proved; as JSON, as text, as a page."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeml.errors import OptimizeError
from edgeml.platform import replacing


class Report:
    """The report of an optimization.

    Args:
        content: What `to_dict` returns.

    Example:
        >>> import numpy as np, edgeml
        >>> from edgeml.quantize import optimize
        >>> net = edgeml.Sequential([edgeml.Input((8,)), edgeml.layers.Dense(4)])
        >>> net.save("/tmp/edgeml-example.onnx")
        >>> x = np.random.default_rng(0).standard_normal((40, 8)).astype("float32")
        >>> result = optimize("/tmp/edgeml-example.onnx", x, target="raspberry-pi-5")
        >>> print(str(result.report).splitlines()[0])
        refused: the original
        >>> result.report.to_dict()["latency"]
        'not measured'
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content: dict[str, Any] = _plain(content)

    @property
    def verdict(self) -> str:
        """``"proved"``, ``"not proved"`` or ``"refused"``."""
        return str(self._content["verdict"])

    def to_dict(self) -> dict[str, Any]:
        """Return everything, for JSON."""
        return dict(self._content)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return what a terminal shows, a line each."""
        found = self._content
        chosen = found["chosen"]
        lines = [f"{found['verdict']}: {chosen['name'] if chosen else 'the original'}"]
        lines += [f"  {reason}" for reason in found["why"].split("; ") if reason]
        quality = found["quality"]
        if quality.get("difference"):
            failed = "" if chosen else " of what failed"
            lines.append(
                f"  {found['asked']['metric']}{failed}: {quality['model']:.2f} for "
                f"{quality['original']:.2f} points on {quality['examples']} examples, "
                f"{_interval(quality['difference'])}; {found['asked']['max_drop']:g} may be lost"
            )
        if chosen:
            lines += _costs(found)
        if "process" in found:
            memory = [found["process"][name] for name in ("model", "original")]
            lines.append(
                f"  memory: {memory[0]['peak_bytes'] / 1e6:.0f} MB for "
                f"{memory[1]['peak_bytes'] / 1e6:.0f}; opens in {memory[0]['load_ms']:.0f} ms for "
                f"{memory[1]['load_ms']:.0f}"
            )
        if "ran" in found:
            lines.append(f"  in 8-bit kernels: {found['ran']['int8_share']:.0%} of the time")
        if found.get("saturation"):
            lines.append(
                f"  other CPUs: {len(found['saturation'])} layers may saturate on x86 without "
                "VNNI; take target x86-avx2 for those"
            )
        return lines + [f"  note: {note}" for note in found["notes"]]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as ``.json`` or ``.html``, by the path's ending.

        Raises:
            OptimizeError: the ending is another.
        """
        target = Path(path)
        if target.suffix == ".json":
            text = json.dumps(self._content, indent=1, allow_nan=False)
        elif target.suffix == ".html":
            from edgeml.quantize._page import page

            text = page(self._content)
        else:
            raise OptimizeError(f"{target}: a report is written as .json or .html")
        with replacing(target) as file:
            file.write(text.encode())


def _costs(found: Mapping[str, Any]) -> list[str]:
    size, latency = found["bytes"], found["latency"]
    lines = [(
        f"  size: {size['model'] / 1e6:.2f} MB for {size['original'] / 1e6:.2f} "
        f"({size['model'] / size['original']:.2f}x)"
    )]  # fmt: skip
    if isinstance(latency, str):
        return [*lines, f"  time: {latency}"]
    model, where = latency["model"], latency.get("measured_on")
    interval = f"[{model['ratio_low']:.2f}, {model['ratio_high']:.2f}]"
    lines.append(
        f"  time: {model['median_ms']:.2f} ms for {latency['original']['median_ms']:.2f}, "
        f"{model['ratio']:.2f} times as fast {f'on {where}' if where else interval}"
    )
    return lines


def _plain(value: Any) -> Any:
    """Return what JSON has words for: no NaN, no infinity."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _interval(difference: Mapping[str, Any]) -> str:
    if difference.get("low") is None:
        return f"{difference['value']:+.2f} ({difference.get('note', 'no interval')})"
    return f"{difference['value']:+.2f} [{difference['low']:+.2f}, {difference['high']:+.2f}]"
