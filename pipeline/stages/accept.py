"""Stage `accept`: reports/metrics.json -> reports/acceptance.json, and a stop when a criterion is missed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.clinical import acceptance, ledger
from pipeline.config import Params
from pipeline.files import read_json, write_json
from pipeline.progress import say
from pipeline.stages import runner

METRICS = Path("reports/metrics.json")
LEDGER = Path("reports/ledger.csv")
OUT = Path("reports/acceptance.json")


def accept(params: Params) -> None:
    """Judge every criterion, write down how each went, and only then fail.

    Raises:
        AcceptanceError: a criterion is missed and not waived; acceptance.json is there all the same.
        LedgerError: the ledger of the test set is damaged.
    """
    metrics = read_json(METRICS)
    test_set = _counted_anew(metrics.get("test_set") or {})
    figures = {**metrics, "test_set": test_set} if test_set else metrics
    results = [*acceptance.evaluate(params.accept, figures), *acceptance.permission(params.data)]
    accepted = all(result.passed or result.waived for result in results)
    record = {"accepted": accepted, "criteria": [result.record() for result in results], "test_set": test_set}
    write_json(OUT, record)
    for result in results:
        say(_line(result))
    acceptance.require(results)


def _counted_anew(stated: Mapping[str, Any]) -> Mapping[str, Any]:
    """Section `test_set` by the ledger of now; as `validate` counted where the ledger has no such opening."""
    names = [field.name for field in fields(ledger.Key)]
    if not all(isinstance(stated.get(name), str) for name in names):
        return stated
    found = ledger.counted(ledger.place(Path(), LEDGER), ledger.Key(*(stated[name] for name in names)))
    return stated if found is None else found.figures()


def _line(result: acceptance.Result) -> str:
    """One criterion for the log."""
    criterion, waiver = f"{result.metric} {result.bound}", result.waiver
    if result.passed:
        unneeded = "; its waiver is not needed" if waiver else ""
        return f"pass: {criterion}, is {result.value}{unneeded}"
    if waiver is None:
        return f"FAIL ({result.reason}): {criterion}"
    return f"FAIL, waived by {waiver.by} ({result.reason}): {criterion}; {waiver.reason}"


if __name__ == "__main__":
    runner.run("accept", accept)
