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

from pipeline.contract import TaskKind
from pipeline.errors import TrainingError
from pipeline.files import write_atomic

Array = npt.NDArray[np.float32]
Names = npt.NDArray[np.str_]
#: Folds of the cross-validation that chooses the regularisation, patients kept whole.
FOLDS = 5


@dataclass(frozen=True)
class Probe:
    """A linear classifier of unit features, standardisation folded in.

    Attributes:
        weight: float32 (F, K).
        bias: float32 (K,).
    """

    weight: Array
    bias: Array

    def logits(self, features: Array) -> Array:
        """Unit features (U, F) to logits, float32 (U, K): of a sigmoid, of a softmax where the task is multiclass."""
        return np.asarray(features @ self.weight + self.bias, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write `probe.safetensors`."""
        content = save({"weight": np.ascontiguousarray(self.weight), "bias": np.ascontiguousarray(self.bias)})
        write_atomic(folder / "probe.safetensors", lambda handle: handle.write(content))


def load(folder: Path) -> Probe:
    """The probe that the features stage wrote."""
    state = load_file(folder / "probe.safetensors")
    return Probe(state["weight"], state["bias"])


def fit(
    features: Array, targets: Array, kind: TaskKind, patients: Names, choices: list[float], seed: int
) -> tuple[Probe, dict[str, float]]:
    """Choose the regularisation by patient-grouped cross-validation and fit on everything given.

    Args:
        features: (U, F) of training units.
        targets: (U, K) of 0 and 1, as `Targets.encode` gives them.
        kind: binary (K = 1), multiclass (a softmax) or multilabel (one against the rest, K times).
        patients: (U,) groups that stay together.
        choices: inverse regularisations to try.
        seed: of the folds.

    Returns:
        The probe, and the chosen `c` with its cross-validated AUROC: NaN where no fold holds both sides of a class,
        and `c` is then the strongest regularisation.

    Raises:
        TrainingError: a class that no training unit has, or that all have.
    """
    _require_both_sides(targets, kind)
    folds = _splits(targets, kind, patients, seed)
    scores = {choice: _cross_validate(features, targets, kind, folds, choice) for choice in choices}
    best = max(choices, key=lambda choice: (np.nan_to_num(scores[choice], nan=-1.0), -choice))
    return _fit(features, targets, kind, best), {"c": best, "cv_auroc": scores[best]}


def auroc(targets: Array, logits: Array, kind: TaskKind) -> float:
    """AUROC, with several classes the mean over one against the rest of each that some units have and others not.

    Args:
        targets: (U, K) of 0 and 1.
        logits: (U, K).
        kind: softmax comes before the comparison in a multiclass task.

    Returns:
        NaN where no class has units on both sides.
    """
    scores = logits.astype(np.float64)
    if kind == "multiclass":
        scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
    found = [
        roc_auc_score(wanted, given)
        for wanted, given in zip(targets.T, scores.T, strict=True)
        if 0 < wanted.sum() < len(wanted)
    ]
    return float(np.mean(found)) if found else float("nan")


def rarest(targets: Array, kind: TaskKind, patients: Names) -> int:
    """Patients on the smaller side of the rarest class: what there is to learn from."""
    sides = [targets, 1 - targets] if kind != "multiclass" else [targets]
    return min(len(set(patients[column > 0])) for side in sides for column in side.T)


def _require_both_sides(targets: Array, kind: TaskKind) -> None:
    """A class that training cannot show is an error here, not a constant that a reader takes for a finding."""
    held = targets.sum(0)
    missing = [place for place, count in enumerate(held) if count in (0, len(targets))]
    if missing:
        raise TrainingError(
            "training units with and without each class",
            f"{len(targets)} units, of which {int(held[missing[0]])} have class {missing[0]} of the {kind} task",
            "Give more patients to split.train, or take the class out of data.classes.",
        )


def _splits(targets: Array, kind: TaskKind, patients: Names, seed: int) -> list[tuple[npt.NDArray[np.int64], ...]]:
    """Folds with whole patients, no more than patients of the rarest class; none where even two cannot be made."""
    count = min(FOLDS, max(2, rarest(targets, kind, patients)))
    # One stratum a unit: its rarest class, and one for those that have none.
    held = np.argmax(targets / np.maximum(targets.sum(0), 1), axis=1) + 1
    strata = np.where(targets.any(axis=1), held, 0)
    if len(set(patients)) < count or np.bincount(strata).max() < count:
        return []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        return list(StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(strata, strata, patients))


def _cross_validate(
    features: Array, targets: Array, kind: TaskKind, folds: list[tuple[npt.NDArray[np.int64], ...]], choice: float
) -> float:
    """Mean AUROC over the folds, of the classes that have both sides in both parts of a fold."""
    scores = []
    for train, test in folds:
        known = [k for k, held in enumerate(targets[train].sum(0)) if 0 < held < len(train)]
        # Without a class the rest of a multiclass task is still one; two classes are needed.
        if not known or (kind == "multiclass" and len(known) < 2):
            continue
        fitted = _fit(features[train], targets[train][:, known], kind, choice)
        scores.append(auroc(targets[test][:, known], fitted.logits(features[test]), kind))
    defined = [score for score in scores if not np.isnan(score)]
    return float(np.mean(defined)) if defined else float("nan")


def _fit(features: Array, targets: Array, kind: TaskKind, choice: float) -> Probe:
    """Logistic regression on standardised features; the standardisation then goes into the weights."""
    values = features.astype(np.float64)
    mean, spread = values.mean(0), values.std(0)
    spread[spread < 1e-12] = 1.0  # a feature that never changes
    values = (values - mean) / spread
    columns = [targets.argmax(1)] if kind == "multiclass" else list(targets.T.astype(np.int64))
    fitted = [LogisticRegression(C=choice, max_iter=2000).fit(values, column) for column in columns]
    weight = np.concatenate([model.coef_ for model in fitted])
    bias = np.concatenate([model.intercept_ for model in fitted])
    if kind == "multiclass" and targets.shape[1] == 2:  # scikit-learn gives one row for two classes
        weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
    weight = weight / spread
    return Probe((weight.T).astype(np.float32), (bias - weight @ mean).astype(np.float32))
