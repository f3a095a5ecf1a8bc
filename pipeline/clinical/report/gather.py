"""From a project's files to what the report says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.clinical import acceptance
from pipeline.clinical.evaluation import Evaluation
from pipeline.clinical.indicators import Indicators
from pipeline.clinical.report import content, environment, table_one
from pipeline.clinical.report.examples import Example
from pipeline.config import Params
from pipeline.files import read_csv, read_json

INGESTED, SPLIT = Path("data/ingested"), Path("data/split.csv")
#: Model -> stage that trains it.
TRAININGS = {"finetuned": "finetune", "scratch": "scratch"}
MODELS, PLOTS = Path("models"), Path("reports/plots")


def gather(
    params: Params,
    found: Evaluation,
    learned: Indicators,
    figures: Mapping[str, Any],
    shown: Sequence[Example],
    advice: Sequence[str],
) -> content.Content:
    """The report's content, from the current folder.

    Args:
        params: of the run.
        found: on the test patients.
        learned: from the courses of the trainings.
        figures: the content of reports/metrics.json.
        shown: slices with their saliency.
        advice: what the advisor said.
    """
    index, parted = read_csv(INGESTED / "index.csv"), read_csv(SPLIT)
    return content.Content(
        params=params,
        found=found,
        learned=learned,
        figures=figures,
        tables={path.stem: read_csv(path) for path in sorted(PLOTS.glob("*.csv"))},
        results=[*acceptance.evaluate(params.accept, figures), *acceptance.permission(params.data)],
        advice=advice,
        backbone=read_json(MODELS / "backbone/card.json"),
        ladder=read_json(MODELS / "export/ladder.json"),
        histories={name: content.epochs(read_csv(MODELS / name / "history.csv")) for name in ("finetuned", "scratch")},
        examples=shown,
        groups=table_one.groups(parted, index, params.data.targets),
        ages=table_one.ages(parted, index),
        rejected=content.rejections(read_csv(INGESTED / "rejected.csv")),
        series=len(index),
        software=environment.software(),
        machine=environment.machine(),
        trainings={name: environment.training(name, stage) for name, stage in TRAININGS.items()},
    )
