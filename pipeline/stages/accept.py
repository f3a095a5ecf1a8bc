"""Stage `accept`: reports/metrics.json -> reports/acceptance.json, and a stop when a criterion is missed."""

from __future__ import annotations

from dataclasses import asdict
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
        AcceptanceError: a criterion is missed; acceptance.json is there all the same.
    """
    results = [*acceptance.evaluate(params.accept, read_json(METRICS)), *acceptance.permission(params.data)]
    accepted = all(result.passed for result in results)
    write_json(OUT, {"accepted": accepted, "criteria": [asdict(result) for result in results]})
    for result in results:
        word = "pass" if result.passed else f"FAIL ({result.reason})"
        say(f"{word}: {result.metric} {result.bound}" + (f", is {result.value}" if result.passed else ""))
    acceptance.require(results)


if __name__ == "__main__":
    runner.run("accept", accept)
