"""From logits to probabilities and to a decision, fixed on validation patients alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from sklearn.isotonic import IsotonicRegression

from pipeline import temperature
from pipeline.calibrator import Calibration, Knots
from pipeline.clinical.metrics import Labels
from pipeline.clinical.resampling import Floats
from pipeline.clinical.thresholds import choose_threshold
from pipeline.errors import ContractError, SplitError, TrainingError
from pipeline.files import read_json, sha256_file
from pipeline.targets import Targets
from pipeline.validation_config import Calibrate

#: Temperatures stay within these; perfectly separated validation units would drive the best one to 0.
TEMPERATURES = (0.05, 20.0)
#: Of its logarithm.
_PRECISION = 1e-6


@dataclass(frozen=True)
class Fitted:
    """What was fixed; of each class where the task is multilabel.

    Attributes:
        temperature: 1 with knots.
        knots: None: the calibrator is the temperature.
        threshold: None: the most probable class.
    """

    temperature: float | list[float]
    knots: list[Knots] | None
    threshold: float | list[float] | None


def fit(labels: Labels, logits: npt.NDArray[np.floating], settings: Calibrate, targets: Targets) -> Fitted:
    """Calibrator and threshold from the (U, K) labels and pooled logits of the validation units.

    Of a multilabel task each class has its own; a multiclass task has one temperature, and no threshold.

    Raises:
        TrainingError: a logit that is not finite.
        SplitError: a class that no unit has, or that all have.
    """
    _check(labels, logits, targets)
    values = logits.astype(np.float64)
    if targets.kind == "multiclass":
        return Fitted(fit_softmax_temperature(labels, values), None, None)
    columns = list(zip(labels.T, values.T, strict=True))
    knots = [fit_isotonic(*each) for each in columns] if settings.calibrator == "isotonic" else None
    temperatures = [1.0 if knots else fit_temperature(*each) for each in columns]
    one = targets.kind == "binary"
    own = temperatures[0] if one else temperatures
    # Nothing is known yet of what the threshold belongs to; the calibrator alone makes probabilities.
    calibrator = Calibration(temperature=own, knots=knots, threshold=None, rule="", model_sha256="", split_sha256="")
    probabilities = targets.calibrated(values, calibrator)
    thresholds = [choose_threshold(*each, settings.threshold) for each in zip(labels.T, probabilities.T, strict=True)]
    return Fitted(own, knots, thresholds[0] if one else thresholds)


def read(path: Path, model: Path, split: Path) -> Calibration:
    """The calibration that the stage wrote, if it was made for the model and split that are there.

    Raises:
        ContractError: it was not, is damaged, or was changed since.
    """
    fixed = unchanged(path)
    for name, recorded, file in (("model", fixed.model_sha256, model), ("split", fixed.split_sha256, split)):
        there = sha256_file(file)
        if there != recorded:
            raise ContractError(
                f"the {name} that {path} was made for (SHA-256 {recorded[:12]}...)",
                f"{file} with {there[:12]}...",
                "Run `dvc repro calibrate`: a threshold holds only for its own model and validation patients.",
            )
    return fixed


def unchanged(path: Path) -> Calibration:
    """The calibration in the file that the stage wrote, with its own hash.

    Raises:
        ContractError: it is damaged, was changed since, or has no hash by which that could be told.
    """
    try:
        fixed = Calibration.model_validate(read_json(path))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise _unfit(path, f"{where}: {problem['msg']}" if where else problem["msg"]) from error
    except ValueError as error:
        raise _unfit(path, "no JSON") from error
    if fixed.calibration_sha256 is None:
        raise _unfit(path, "no calibration_sha256: whether it was changed by hand cannot be told")
    return fixed


def _unfit(path: Path, found: str) -> ContractError:
    return ContractError(f"a calibration in {path}", found, "Run `dvc repro calibrate`.")


def _check(labels: Labels, logits: npt.NDArray[np.floating], targets: Targets) -> None:
    if not np.isfinite(logits).all():
        raise TrainingError(
            "finite logits of the fine-tuned model on validation patients",
            f"{np.count_nonzero(~np.isfinite(logits))} of {logits.size} that are not",
            "Lower the learning rates in the finetune section of params.yaml and run again.",
        )
    for name, positives in zip(targets.named, labels.sum(axis=0), strict=True):
        if positives in (0, len(labels)):
            raise SplitError(
                "positive and negative units on the validation side",
                f"{positives} positive of {len(labels)}{'' if targets.kind == 'binary' else f', class {name!r}'}",
                "Give validation a larger share in the split section of params.yaml.",
            )


def fit_isotonic(labels: Labels, logits: Floats) -> Knots:
    """The rising line through (U,) logits of least squared error (Zadrozny & Elkan 2002, KDD), as its knots.

    Probabilities stay 1 / (U + 2) away from 0 and 1, by Laplace's rule of succession: so many units cannot say more.
    """
    edge = 1 / (len(labels) + 2)
    line = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip").fit(logits, labels)
    return Knots(logits=line.X_thresholds_.tolist(), probabilities=line.y_thresholds_.tolist())


def fit_temperature(labels: Labels, logits: Floats) -> float:
    """The temperature of (U,) logits of least negative log-likelihood, in `TEMPERATURES`."""
    return temperature.fit(temperature.binary, labels, logits, TEMPERATURES, _PRECISION)


def fit_softmax_temperature(labels: Labels, logits: Floats) -> float:
    """The same of a softmax over (U, K) logits, with labels of one class each."""
    return temperature.fit(temperature.multiclass, labels, logits, TEMPERATURES, _PRECISION)
