"""A logistic probe on frozen features: what transfer gives before any fine-tuning (T5)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from pipeline.files import write_atomic

Array = npt.NDArray[np.float32]
#: Folds of the cross-validation that chooses the regularisation, patients kept whole.
FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """A linear classifier of unit features, standardisation folded in.

    Attributes:
        weight: float32 (F,).
        bias: float32 (1,).
    """

    weight: Array
    bias: Array

    def logits(self, features: Array) -> Array:
        """Unit features (U, F) to logits (U,)."""
        return np.asarray(features @ self.weight + self.bias, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write `probe.safetensors`."""
        content = save({"weight": self.weight, "bias": self.bias})
        write_atomic(folder / "probe.safetensors", lambda handle: handle.write(content))


def load(folder: Path) -> Probe:
    """The probe that the features stage wrote."""
    state = load_file(folder / "probe.safetensors")
    return Probe(state["weight"], state["bias"])


def fit(
    features: Array, labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_], choices: list[float], seed: int
) -> tuple[Probe, dict[str, float]]:
    """Choose the regularisation by patient-grouped cross-validation and fit on everything given.

    Args:
        features: (U, F) of training units.
        labels: (U,) of 0 and 1.
        patients: (U,) groups that stay together.
        choices: inverse regularisations to try.
        seed: of the folds.

    Returns:
        The probe, and the chosen `c` with its cross-validated AUROC.
    """
    folds = min(FOLDS, _smallest_class(labels, patients))
    scores = {choice: _cross_validate(features, labels, patients, choice, folds, seed) for choice in choices}
    best = max(choices, key=lambda choice: (scores[choice], -choice))
    scaler, regression = _pipeline(best).fit(features, labels).named_steps.values()
    weight = regression.coef_[0] / scaler.scale_
    bias = regression.intercept_ - weight @ scaler.mean_
    return Probe(weight.astype(np.float32), bias.astype(np.float32)), {"c": best, "cv_auroc": scores[best]}


def _smallest_class(labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_]) -> int:
    """Patients that hold the rarer label, at least 2: no more folds than that can hold both classes."""
    return max(2, min(len(set(patients[labels == value])) for value in (0, 1)))


def _pipeline(choice: float) -> Pipeline:
    return make_pipeline(StandardScaler(), LogisticRegression(C=choice, max_iter=2000))


def _cross_validate(
    features: Array, labels: npt.NDArray[np.int64], patients: npt.NDArray[np.str_], choice: float, folds: int, seed: int
) -> float:
    """Mean AUROC over the folds that hold both classes on both sides."""
    scores = []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        splits = list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(features, labels, patients))
    for train, test in splits:
        if len(set(labels[train])) == 2 and len(set(labels[test])) == 2:
            model = _pipeline(choice).fit(features[train], labels[train])
            scores.append(roc_auc_score(labels[test], model.decision_function(features[test])))
    return float(np.mean(scores)) if scores else float("nan")
