"""The numbers behind the drawings, for those who do not see them, and the figures of calibration."""

from __future__ import annotations

from typing import Any

from pipeline.clinical.report.charts import MODELS
from pipeline.clinical.report.content import Content
from pipeline.clinical.report.figures import at, interval, number, shown

#: Figures of the section `calibration` that are there only sometimes: key, name, what it means.
_CALIBRATION = (
    ("brier_reliability", "of it, miscalibration", "0 when the probabilities are right"),
    ("brier_resolution", "of it, resolution", "how far the probabilities tell units apart; more is better"),
    ("brier_uncertainty", "of it, uncertainty", "of the prevalence alone, with no model"),
    ("brier_within", "of it, within groups", "what is lost as neighbouring probabilities are grouped"),
    ("ece", "Calibration error (ECE)", "mean distance from the diagonal, bins of equal mass"),
    ("slope", "Calibration slope", "1 is right; below 1 the probabilities are too extreme"),
    ("intercept", "Calibration intercept", "0 is right; above 0 they are too low on the whole"),
)


def numbers(content: Content) -> dict[str, list[Any]]:
    """Rows of the tables beside the drawings of the section `How well it tells`."""
    bins = content.found.bins
    return {
        "roc_numbers": [(name, shown(content.figures[model]["auroc"])) for model, name in MODELS.items()],
        "precision_numbers": [
            (name, shown(at(content.figures, f"{model}.average_precision"))) for model, name in MODELS.items()
        ],
        "reliability_numbers": [
            (number(b.predicted), number(b.observed), interval({"low": b.low, "high": b.high}), str(b.n)) for b in bins
        ],
        "calibration_rows": calibration(content),
    }


def calibration(content: Content) -> list[tuple[str, str, str]]:
    """Name, value and meaning of each figure that was measured."""
    section = content.figures["calibration"]
    rows = [("Brier score", shown(section["brier"], 3), "mean squared error of the probabilities; 0 is perfect")]
    for key, name, meaning in _CALIBRATION:
        if key in section:
            rows.append((name, shown(section[key], 3), meaning))
    temperature = section.get("temperature")
    if isinstance(temperature, (int, float)):
        rows.append(("Temperature", number(temperature), "what logits were divided by, fixed on validation patients"))
    return rows
