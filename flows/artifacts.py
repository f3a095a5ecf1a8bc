"""What a run shows in Prefect: figures against production, acceptance, the weights' origin, the report.

All of it is counted or measured over patients; none of it names one.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.runtime import flow_run

from pipeline import summary
from pipeline.files import read_json

#: What the card of models/backbone says of the weights that training started from.
_ORIGIN = ("name", "weights", "origin", "sha256", "verified", "licence", "restriction")


def publish(workspace: Path, production: Mapping[str, Any] | None, reports: Path) -> None:
    """Write the artifacts of a run whose stage `validate` ended; what later stages did not come to write is left out.

    Args:
        workspace: where the stages ran.
        production: the content of `metrics.json` of the version in production; None where there is none.
        reports: a folder outside the workspace in which the report stays, by the run's id, until `pipeline.erase`
            empties it.
    """
    create_markdown_artifact(summary.markdown(workspace), key="result", description="Headline figures")
    ours = read_json(workspace / "reports/metrics.json")
    create_table_artifact(_against(ours, production), key="metrics", description="This run and the one in production")
    acceptance = workspace / "reports/acceptance.json"
    if acceptance.is_file():
        rows = [_criterion(each) for each in read_json(acceptance)["criteria"]]
        create_table_artifact(rows, key="acceptance", description="Criteria of params.yaml")
    card = workspace / "models/backbone/card.json"
    if card.is_file():
        create_markdown_artifact(_weights(read_json(card)), key="weights", description="What training started from")
    _report(workspace / "reports/report.html", reports / f"{flow_run.id}.html")


def _against(ours: Mapping[str, Any], production: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """A row for each headline figure of either."""
    mine, theirs = dict(summary.figures(ours)), dict(summary.figures(production)) if production else {}
    return [
        {"figure": figure, "this run": mine.get(figure, ""), "production": theirs.get(figure, "none")}
        for figure in mine | theirs
    ]


def _criterion(result: Mapping[str, Any]) -> dict[str, Any]:
    verdict = "met" if result["passed"] else f"MISSED: {result['reason']}"
    if result["waived"]:
        verdict = f"missed, waived by {result['waiver']['by']}: {result['waiver']['reason']}"
    return {"figure": result["metric"], "asked": result["bound"], "came": result["value"], "verdict": verdict}


def _weights(card: Mapping[str, Any]) -> str:
    """Where the backbone's weights come from, with every training behind them."""
    rows = [f"| {key} | {_cell(card[key])} |" for key in _ORIGIN if card.get(key) is not None]
    before = [
        f"- learnt before: {each['task']} from {each['data']}; licence: {each['licence']}" for each in card["origins"]
    ]
    return "\n".join(["| weights | |", "|---|---|", *rows, "", *before])


def _cell(value: object) -> str:
    """Text that a Markdown table holds in one cell."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _report(report: Path, kept: Path) -> None:
    """Keep the report, and link to it; a workspace that is a clone goes when the run ends."""
    if not report.is_file():
        return
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(report, kept)
    create_link_artifact(kept.as_uri(), link_text=f"report.html ({kept})", key="report", description="The full report")
