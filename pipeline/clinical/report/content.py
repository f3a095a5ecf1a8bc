"""Everything that the report says, as numbers and words; `page` turns it into HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.clinical.acceptance import Result
from pipeline.clinical.evaluation import Evaluation
from pipeline.clinical.indicators import Indicators
from pipeline.clinical.report.charts import Epoch
from pipeline.clinical.report.examples import Example
from pipeline.clinical.report.table_one import Group
from pipeline.clinical.split import SIDES
from pipeline.config import Params
from pipeline.training_config import START


@dataclass(frozen=True)
class Content:
    """What one report says.

    Attributes:
        params: of the run.
        found: on the test patients.
        learned: from the courses of the trainings, on the validation patients.
        figures: the content of reports/metrics.json.
        tables: rows of reports/plots/*.csv, by the file's name without its ending.
        results: the criteria of params.yaml against the figures.
        advice: what the advisor said of the weights, layers and phases to choose.
        backbone: models/backbone/card.json.
        ladder: models/export/ladder.json.
        histories: epochs of fine-tuning and of the scratch network.
        examples: slices with their saliency.
        groups: patients by side.
        ages: of each side the median and quartiles of the patients' ages; empty where none is known.
        rejected: reason code, its sentence and count, most frequent first.
        series: how many series were accepted.
        software: libraries and their versions.
        machine: the kind of it, where the figures were computed.
        trainings: of fine-tuning and of the scratch network how long it took, and on what machine.
    """

    params: Params
    found: Evaluation
    learned: Indicators
    figures: Mapping[str, Any]
    tables: Mapping[str, Sequence[Mapping[str, str]]]
    results: Sequence[Result]
    advice: Sequence[str]
    backbone: Mapping[str, Any]
    ladder: Mapping[str, Any]
    histories: Mapping[str, Sequence[Epoch]]
    examples: Sequence[Example]
    groups: Sequence[Group]
    ages: Sequence[str]
    rejected: Sequence[tuple[str, str, int]]
    series: int
    software: Sequence[tuple[str, str]]
    machine: str
    trainings: Mapping[str, str]


def epochs(history: Sequence[Mapping[str, str]]) -> list[Epoch]:
    """The rows of a history.csv but for the one before any epoch; an empty cell is NaN."""
    return [
        Epoch(row["phase"], float(row["train_loss"] or "nan"), float(row["val_auroc"] or "nan"))
        for row in history
        if row["phase"] != START
    ]


def rejections(rejected: Sequence[Mapping[str, str]]) -> list[tuple[str, str, int]]:
    """Reason codes of data/ingested/rejected.csv with their sentences and counts, most frequent first."""
    counts = Counter((row["reason"], row["message"]) for row in rejected)
    return sorted(((*reason, count) for reason, count in counts.items()), key=lambda item: (-item[2], item[0]))


def weights(backbone: Mapping[str, Any]) -> str:
    """Which pre-trained weights the training began with.

    Args:
        backbone: models/backbone/card.json.
    """
    kind, origin = backbone["weights"], backbone["origin"]
    said = f"{backbone['name']}, {kind}: {origin.removeprefix(f'{kind}:').strip()}."
    trained = backbone["trained"]
    if trained is not None:
        said += f" Top-1 {100 * trained['top1']:.1f} % of {trained['top1_images']} validation images."
    for origin in backbone.get("origins", []):
        said += f" Learnt before: {origin['task']} from {origin['data']}."
    return f"{said} Licence: {backbone['licence']}."


def limits(content: Content) -> list[str]:
    """What a reader must not conclude from the figures."""
    test, source = content.found.figures["test"], content.params.data.source
    said = ["Research use only. This is not a medical device, and no patient may be treated on its word."]
    if "simulat" in source.lower():
        said.append(
            "The scans are simulated. The figures show that the pipeline works, and say nothing about how the model "
            "would do on patients."
        )
    said.append(_sites(content))
    said.append(
        f"There are {test['patients']} test patients. The intervals cover the chance of having drawn these, not a "
        "change of scanner, protocol or population."
    )
    share = "share of positives" if content.found.targets.kind == "binary" else "shares of the classes"
    said.append(f"The {share} among the test units need not be that of a clinic, where predictive values differ.")
    said.append(
        "Faces were not removed: from a head scan a face can be rendered. The volumes, and pictures made from them, "
        "are personal data although no name stands in them."
    )
    said.append(
        "Saliency shows where the output reacts to the input. It is no evidence of cause, nor that the network sees "
        "what a reader sees."
    )
    return said


def _sites(content: Content) -> str:
    """Whether the test says anything about sites that the model has not seen."""
    train, test = SIDES.index("train"), SIDES.index("test")
    sites = [group for group in content.groups if group.heading == "Site" and group.patients[test]]
    if not sites:
        return "The labels name no sites, so nothing is known about how the model does elsewhere."
    if not any(group.patients[train] for group in sites):
        return (
            f"All test patients come from sites that no training patient is from: {', '.join(g.name for g in sites)}."
        )
    return "Test patients come from sites that training patients are from, too; at other sites the model may do worse."
