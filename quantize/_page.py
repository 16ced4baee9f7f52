"""The report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light; --ink: #1a1a1a; --soft: #5c6470; --line: #d9dde3; --blue: #0b62a4 }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); margin: 2rem auto;
       max-width: 60rem; padding: 0 1rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
.verdict { display: inline-block; padding: .1rem .6rem; border-radius: .3rem; color: #fff }
.proved { background: #1b7837 } .not-proved { background: #9a6700 } .refused { background: #b2182b }
p { margin: .4rem 0 } .soft { color: var(--soft) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
         vertical-align: top }
th { font-weight: 600 } td.n, th.n { text-align: right; padding-right: 1.2rem }
td { overflow-wrap: anywhere } td:first-child { min-width: 5rem } td.n { white-space: nowrap }
ul { margin: .4rem 0; padding-left: 1.2rem }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem;
         margin: 1rem 0 }
.facts div { border: 1px solid var(--line); border-radius: .4rem; padding: .6rem .8rem }
.facts b { display: block; font-size: 1.3rem } code { font-size: .85em; word-break: break-all }
svg { max-width: 100%; height: auto } svg text { font: 12px system-ui, sans-serif }
"""


def page(report: Mapping[str, Any]) -> str:
    """Return the page of a report.

    Args:
        report: What `Report.to_dict` returns.
    """
    parts = [
        _head(report), _facts(report), _quality(report), _times(report), _candidates(report),
        _ran(report), _layers(report), _worst(report), _portable(report), _robust(report),
        _again(report),
    ]  # fmt: skip
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Optimization report</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _head(report: Mapping[str, Any]) -> str:
    chosen = report["chosen"]["name"] if report["chosen"] else "the original model"
    verdict = report["verdict"]
    asked = report["asked"]
    limits = [f"at most {asked['max_drop']:g} points of {asked['metric']} lost"]
    if asked["max_latency_ms"] is not None:
        limits.append(f"at most {asked['max_latency_ms']:g} ms")
    if asked["max_bytes"] is not None:
        limits.append(f"at most {asked['max_bytes']:,} bytes")
    lines = [
        (
            f'<h1><span class="verdict {escape(verdict.replace(" ", "-"))}">{escape(verdict)}'
            f"</span> {escape(chosen)}</h1>"
        ),
        (
            f'<p class="soft">Asked: {escape("; ".join(limits))}. Target: '
            f"{escape(report['target']['name'])}, {escape(report['target']['note'])}.</p>"
        ),
    ]
    reasons = report["why"].split("; ") if report["why"] else []
    if len(reasons) > 1:
        lines.append(f"<ul>{''.join(f'<li>{escape(reason)}</li>' for reason in reasons)}</ul>")
    else:
        lines += [f"<p>{escape(reason)}</p>" for reason in reasons]
    lines += [f"<p>Note: {escape(note)}</p>" for note in report["notes"]]
    return "\n".join(lines)


def _facts(report: Mapping[str, Any]) -> str:
    size, latency = report["bytes"], report["latency"]
    facts = [("size", f"{size['model'] / 1e6:.2f} MB", (f"for {size['original'] / 1e6:.2f} MB, "
              f"{size['model'] / size['original']:.2f}x"))]  # fmt: skip
    if not report["chosen"]:
        facts = []
    elif isinstance(latency, str):
        stopped = report["why"].startswith("stopped")
        facts.append(("time", latency, report["why"] if stopped else "it is another machine's"))
    else:
        model = latency["model"]
        facts.append((
            "time", f"{model['ratio']:.2f} times as fast",
            (f"{model['median_ms']:.3g} ms for {latency['original']['median_ms']:.3g}; "
             + (f"on {latency['measured_on']}" if latency.get("measured_on") else
                f"95% interval {model['ratio_low']:.2f} to {model['ratio_high']:.2f}, rounds in "
                "turns")),
        ))  # fmt: skip
    if "memory" in report:
        memory = report["memory"]
        facts.append((
            "weights in memory", f"{memory['model'] / 1e6:.2f} MB",
            f"for {memory['original'] / 1e6:.2f} MB, when the runtime has opened it",
        ))  # fmt: skip
    if "process" in report:
        ours, theirs = (report["process"][name] for name in ("model", "original"))
        facts.append((
            "memory of a process", f"{ours['peak_bytes'] / 1e6:.0f} MB",
            (f"for {theirs['peak_bytes'] / 1e6:.0f} MB, at most, to open and run it; it opens in "
             f"{ours['load_ms']:.0f} ms for {theirs['load_ms']:.0f}"),
        ))  # fmt: skip
    quality = report["quality"]
    if quality.get("difference"):
        failed = "" if report["chosen"] else " of what failed"
        facts.append((
            f"{report['asked']['metric']}{failed}", f"{quality['model']:.2f} points",
            f"for {quality['original']:.2f}; {_gain(quality['difference'])}",
        ))  # fmt: skip
    boxes = "".join(
        f'<div><span class="soft">{escape(name)}</span><b>{escape(value)}</b>'
        f'<span class="soft">{escape(note)}</span></div>'
        for name, value, note in facts
    )
    return f'<div class="facts">{boxes}</div>'


def _gain(difference: Mapping[str, Any]) -> str:
    value = f"difference {_signed(difference['value'])}"
    if difference.get("low") is None:
        return f"{value}; {difference.get('note', 'no interval')}"
    return (
        f"{value}, 95% interval {_signed(difference['low'])} to {_signed(difference['high'])} "
        f"({difference.get('method', '')}, paired)"
    )


def _quality(report: Mapping[str, Any]) -> str:
    data = report["data"]
    parts = ", ".join(f"{count} {name}" for name, count in data["parts"].items())
    said = [
        f"{data['examples']} examples from {data['origin']}: {parts}"
        + ("; too few to divide, so the parts overlap" if data["overlap"] else "")
        + ("; groups stay together" if data["groups"] else "")
    ]
    quality = report["quality"]
    if quality.get("difference"):
        said.append(
            f"On the final {quality['examples']} examples, which were opened once, "
            f"{quality['flips']} scores differ; the outputs diverge by "
            f"{quality['divergence']:.3g}."
        )
    return "<h2>Data</h2>" + "".join(f"<p>{escape(line)}</p>" for line in said)


def _times(report: Mapping[str, Any]) -> str:
    latency = report["latency"]
    if isinstance(latency, str):
        return ""
    rows = [
        (name, *(f"{latency[key][which]:.3g}" for which in ("p5_ms", "median_ms", "p95_ms")))
        for key, name in (("original", "original"), ("model", "chosen form"))
    ]
    said = (
        f"Medians of {len(latency['model']['rounds'])} rounds, in which both took turns, with "
        f"{report['identity']['threads']} threads; the numbers hold for this machine only."
    )
    if latency.get("measured_on"):
        said = f"What edgeml bench measured on {latency['measured_on']}: one median each."
    head = ("ms a call", "5% of rounds below", "median", "95% below")
    return f"<h2>Time</h2><p>{escape(said)}</p>{_table(head, rows, numbers=(1, 2, 3))}"


def _candidates(report: Mapping[str, Any]) -> str:
    if not report["candidates"]:
        return ""
    chosen = report["chosen"]["name"] if report["chosen"] else None
    rows = [
        (
            c["name"], f"{c['bytes'] / 1e6:.2f}", _number(c["drop_points"]),
            _short(c["divergence"]), _number(c["ratio"]),
            "chosen" if c["name"] == chosen else c["note"],
        )
        for c in report["candidates"]
    ]  # fmt: skip
    head = ("form", "MB", "points lost", "divergence", "times as fast", "")
    said = (
        "Points lost are on the search data, where the forms were weighed. Divergence is how far "
        "outputs are from the original's, 0 being the same; of forms without points, on a few "
        "examples."
    )
    return (
        f"<h2>Forms tried</h2>{_pareto(report)}{_table(head, rows, numbers=range(1, 5))}"
        f'<p class="soft">{escape(said)}</p>'
    )


_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 270, 60, 48


def _pareto(report: Mapping[str, Any]) -> str:
    """Draw size against points lost; the chosen one filled, the original a square."""
    dots = [c for c in report["candidates"] if c["drop_points"] is not None]
    if len(dots) < 2:
        return ""
    size, limit = report["bytes"]["original"], report["asked"]["max_drop"]
    drops = [0.0, limit, *(c["drop_points"] for c in dots)]
    most_x = max(size, *(c["bytes"] for c in dots)) * 1.05
    least_y, most_y = min(drops), max(drops) * 1.1 or 1.0

    def place(size: float, drop: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - 10) * size / most_x
        return x, (_HEIGHT - _BOTTOM) * (1 - (drop - least_y) / (most_y - least_y)) + 8

    line = place(0, limit)[1]
    marks = [
        (
            f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{line:.1f}" y2="{line:.1f}" '
            f'stroke="#b2182b" stroke-dasharray="4 3"/><text x="{_WIDTH - 12}" y="{line - 4:.1f}" '
            f'text-anchor="end" fill="#b2182b">{limit:g} may be lost</text>'
        )
    ]
    chosen = report["chosen"]["name"] if report["chosen"] else None
    for c in sorted(dots, key=lambda c: bool(c["name"] == chosen)):  # that one on top
        x, y = place(c["bytes"], c["drop_points"])
        fill = "#0b62a4" if c["name"] == chosen else "#fff"
        marks.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{fill}" stroke="#0b62a4" '
            f'stroke-width="1.5"><title>{escape(c["name"])}</title></circle>'
        )
    x, y = place(size, 0)
    marks.append(
        f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="#5c6470">'
        "<title>the original</title></rect>"
    )
    said = "Square: the original. Filled: the chosen form." if chosen else "Square: the original."
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="size against points lost">'
        f"{_axes(most_x, least_y, most_y, place)}{''.join(marks)}</svg>"
        f'<p class="soft">{said}</p>'
    )


def _axes(
    most_x: float, least_y: float, most_y: float,
    place: Callable[[float, float], tuple[float, float]],
) -> str:  # fmt: skip
    bottom = place(0, least_y)[1]
    parts = [
        (
            f'<line x1="{_LEFT}" y1="8" x2="{_LEFT}" y2="{bottom:.1f}" stroke="#5c6470"/>'
            f'<line x1="{_LEFT}" y1="{bottom:.1f}" x2="{_WIDTH - 10}" y2="{bottom:.1f}" '
            'stroke="#5c6470"/>'
            f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 6}" text-anchor="middle">MB</text>'
            f'<text x="14" y="{_HEIGHT / 2}" transform="rotate(-90 14 {_HEIGHT / 2})" '
            'text-anchor="middle">points lost</text>'
        )
    ]
    for k in range(5):
        size, drop = most_x * k / 4, least_y + (most_y - least_y) * k / 4
        x, y = place(size, least_y)[0], place(0, drop)[1]
        anchor = "end" if k == 4 else "middle"
        parts.append(
            f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="{anchor}">'
            f"{size / 1e6:.2g}</text>"
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{drop:.2g}</text>'
        )
    return "".join(parts)


def _layers(report: Mapping[str, Any]) -> str:
    """Show what was asked for each block, and what ran."""
    blocks = [entry for entry in report.get("layers", ()) if "ran" in entry]
    if not blocks:
        return ""
    shown = sorted(blocks, key=lambda entry: -entry["share"])[:40]
    rows = [
        (e["name"], e["operator"], e["asked"], f"{e['ran']} ({e['kind']})", f"{e['share']:.1%}",
         _short(e.get("alone")))
        for e in shown
    ]  # fmt: skip
    other = sum(e["asked"] != e["kind"] for e in blocks)
    said = (
        f"{len(blocks)} blocks by their share of the time"
        + (f", the first {len(shown)}" if len(blocks) > len(shown) else "")
        + (f"; {other} ran otherwise than asked." if other else "; all ran as asked.")
    )
    head = ("block", "operator", "asked", "ran as", "share of time", "divergence alone")
    return f"<h2>Layers</h2><p>{escape(said)}</p>{_table(head, rows, numbers=(4, 5))}"


def _worst(report: Mapping[str, Any]) -> str:
    alone = report["sensitivity"]["alone"]
    if not alone:
        return ""
    fisher = report["sensitivity"]["fisher"]
    worst = sorted(alone, key=lambda name: -alone[name])[:15]
    rows = [(name, _short(alone[name]), _short(fisher.get(name))) for name in worst]
    rank = report["sensitivity"]["rank_correlation"]
    said = "Divergence of the outputs when a block alone is in 8 bits"
    if rank is not None:
        said += f"; rank correlation with the second-order score {rank:.2f}"
    head = ("block", "alone in int8", "second order")
    return f"<h2>Worst layers</h2><p>{said}.</p>{_table(head, rows, numbers=(1, 2))}"


def _ran(report: Mapping[str, Any]) -> str:
    if "ran" not in report:
        return ""
    ran = report["ran"]
    rows = [
        (op, str(o["count"]), o["kind"], f"{o['share']:.1%}")
        for op, o in sorted(ran["operators"].items(), key=lambda item: -item[1]["share"])
    ]
    said = (
        f"From the graph that the runtime made of the model: {ran['int8_share']:.0%} of the time "
        f"in 8-bit kernels, {ran['borders']} conversions left."
    )
    head = ("operator", "nodes", "ran as", "share of time")
    return f"<h2>What really ran</h2><p>{said}</p>{_table(head, rows, numbers=(1, 3))}"


def _portable(report: Mapping[str, Any]) -> str:
    if "saturation" not in report:
        return ""
    risky = report["saturation"]
    if not risky:
        return (
            "<h2>On other CPUs</h2><p>No sum of two products can leave 16 bits: x86 without VNNI "
            "gives the same answers.</p>"
        )
    rows = [(r["name"], f"{r['pairs']:.2%}", f"{r['worst']:,}") for r in risky[:10]]
    return (
        "<h2>On other CPUs</h2><p>Kernels for x86 without VNNI add products in pairs, saturating "
        f"at 32,767. In {len(risky)} layers a pair of weights may exceed it, at worst; optimize "
        "with target x86-avx2 for such machines.</p>"
        + _table(("layer", "pairs that may", "worst sum"), rows, numbers=(1, 2))
    )


def _robust(report: Mapping[str, Any]) -> str:
    if not report.get("robustness"):
        return ""
    rows = [
        (what, f"{scores['original']:.1f}", f"{scores['model']:.1f}",
         _signed(scores["model"] - scores["original"], 1))
        for what, scores in report["robustness"].items()
    ]  # fmt: skip
    head = ("inputs changed by", "original", "model", "difference")
    said = (
        f"Both models on {report['robust_examples']} of the final examples, changed; what is right "
        "is what is right for the unchanged ones. No intervals: a hint, not a proof."
    )
    return (
        f"<h2>Robustness, points</h2><p>{escape(said)}</p>{_table(head, rows, numbers=(1, 2, 3))}"
    )


def _again(report: Mapping[str, Any]) -> str:
    identity = report["identity"]
    asked = report["asked"]
    call = ", ".join(
        [f"target={report['target']['name']!r}"]
        + [f"{key}={value!r}" for key, value in asked.items() if value is not None]
    )
    rows = [
        ("original", identity["original_sha256"]), ("model", identity["model_sha256"]),
        ("again", f"edgeml.quantize.optimize(model, data, {call})"),
        ("versions", ", ".join(f"{k} {v}" for k, v in identity["versions"].items())),
        ("machine", (f"{identity['cpu']}, {identity['threads']} threads, "
         f"{' '.join(identity['flags']) or 'no int8 extensions'}")),
        ("session", ", ".join(f"{k}={v}" for k, v in identity["session"].items()) or "plain"),
        ("data", ", ".join(f"{k} {v[:16]}…" for k, v in report["data"]["sha256"].items())),
        ("seconds", ", ".join(f"{k} {v:.1f}" for k, v in report["stages"].items())),
    ]  # fmt: skip
    return f"<h2>Identity</h2>{_table(('', ''), rows)}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int] = ()) -> str:
    right = set(numbers)

    def cells(values: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if i in right else ''}>{escape(str(value))}</{tag}>"
            for i, value in enumerate(values)
        )

    top = f"<tr>{cells(head, 'th')}</tr>" if any(head) else ""
    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table>{top}{body}</table>"


def _signed(value: float, digits: int = 2) -> str:
    return f"{round(value, digits) + 0.0:+.{digits}f}"  # never -0.00


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
