"""``edgeml bench MODEL --delegates``: the fastest delegate whose outputs are right."""

from __future__ import annotations

import argparse
from typing import Any

from edgeml.cli._energy import energy_of_delegates, millijoules, sentence
from edgeml.cli._output import human_bytes, print_json, print_table
from edgeml.errors import ConfigError

SCHEMA = 1


def compare(args: argparse.Namespace) -> int:
    """Measure a model on delegates, print the table, remember the winner."""
    from edgeml.cli.bench import describe_machine, random_inputs
    from edgeml.runtime import load, measure

    if args.threads is not None and len(args.threads) > 1:
        raise ConfigError("--threads: one count together with --delegates, such as --threads 1")
    threads = args.threads[0] if args.threads else None
    inputs = None
    if args.shape:
        with load(args.model, "cpu", threads) as session:
            inputs = random_inputs(session.inputs, dict(args.shape))
    delegates = None if args.delegates == "all" else args.delegates
    found = measure(args.model, delegates, inputs=inputs, threads=threads, seconds=args.seconds)
    joules, energy = energy_of_delegates(args.model, found, inputs)
    if args.json:
        report = found.to_dict()
        for row, each in zip(report["rows"], joules, strict=True):
            row["joules_per_call"] = each
        print_json(
            {
                "type": "bench-delegates", "schema": SCHEMA, "machine": describe_machine(),
                "energy": energy, **report,
            }
        )  # fmt: skip
        return 0
    print(f"{found.model}, {found.threads} threads; {describe_machine()}\n")
    print_table(
        (
            "DELEGATE",
            "MEDIAN MS",
            "QUARTILES",
            "SPEEDUP",
            "LOAD MS",
            "MEMORY",
            "OUTPUTS OFF BY",
            "ON CPU",
            "MJ A CALL",
        ),
        [(*_cells(row), millijoules(each)) for row, each in zip(found.rows, joules, strict=True)],
    )
    for row in found.rows:
        if row.problem is not None:
            print(f"\n{_label(row)}: {row.problem}")
    print(f"\n{sentence(energy)}")
    kept = "; delegate=auto takes it from now on" if found.remembered else ""
    print(f"\nthe fastest whose outputs are right: {found.winner}{kept}")
    return 0


def _cells(row: Any) -> tuple[str, ...]:
    spread = "-" if row.spread_ms is None else "{:.3f} to {:.3f}".format(*row.spread_ms)
    return (
        _label(row),
        _number(row.median_ms, ".3f"),
        spread,
        _number(row.speedup, ".2f"),
        _number(row.load_ms, ".0f"),
        "-" if row.memory is None else human_bytes(row.memory),
        "-" if row.error is None else f"{row.error:.2g} of {row.tolerance:.2g} allowed",
        "-" if row.on_cpu is None else f"{row.on_cpu} nodes",
    )


def _label(row: Any) -> str:
    options = ", ".join(f"{name}={value}" for name, value in row.delegate.options.items())
    return f"{row.delegate} ({options})" if options else str(row.delegate)


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
