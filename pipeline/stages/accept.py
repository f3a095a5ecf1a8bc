"""Stage `accept`: reports/metrics.json -> reports/acceptance.json, and a stop when a criterion is missed."""

from __future__ import annotations

from pathlib import Path

from pipeline.clinical import acceptance
from pipeline.config import Params
from pipeline.files import read_json, write_json
from pipeline.progress import say
from pipeline.stages import runner

METRICS = Path("reports/metrics.json")
OUT = Path("reports/acceptance.json")


def accept(params: Params) -> None:
    """Judge every criterion, write down how each went, and only then fail.

    Raises:
        AcceptanceError: a criterion is missed and not waived; acceptance.json is there all the same.
    """
    results = [*acceptance.evaluate(params.accept, read_json(METRICS)), *acceptance.permission(params.data)]
    accepted = all(result.passed or result.waived for result in results)
    write_json(OUT, {"accepted": accepted, "criteria": [result.record() for result in results]})
    for result in results:
        say(_line(result))
    acceptance.require(results)


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
