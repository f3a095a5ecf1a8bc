"""What training minimises, and by what the epoch is chosen that it keeps."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score
from torch.nn import functional

from pipeline import temperature
from pipeline.contract import TaskKind
from pipeline.errors import SplitError

#: Logits may be some fifty times too sure, or too timid: a head that has just begun says next to nothing.
_TEMPERATURES = (math.exp(-4.0), math.exp(4.0))
_PRECISION = 1e-4


class Objective:
    """Cross-entropy of units, for hard and for mixed targets.

    Args:
        kind: binary and multilabel: each output by itself; multiclass: a softmax over all.
        weights: (K,), how much a positive unit of each class counts; None: like any other.
        smoothing: share of a target that is spread over the classes (Szegedy et al. 2016, CVPR).
    """

    def __init__(self, kind: TaskKind, weights: npt.NDArray[np.float32] | None, smoothing: float) -> None:
        self.kind, self.smoothing = kind, smoothing
        self.weights = None if weights is None else torch.from_numpy(weights)

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """float (B, K) logits and targets to the mean over units (and over the outputs that stand by themselves)."""
        weights = None if self.weights is None else self.weights.to(logits.device)
        if self.kind == "multiclass":
            spread = targets * (1 - self.smoothing) + self.smoothing / targets.shape[1]
            return functional.cross_entropy(logits, spread, weight=weights)
        spread = targets * (1 - self.smoothing) + self.smoothing / 2
        return functional.binary_cross_entropy_with_logits(logits, spread, pos_weight=weights)

    def unweighted(self, bias: torch.Tensor) -> torch.Tensor:
        """The head's bias (K,), or logits (U, K), without the shift that weights taught it.

        A loss in which positives count w times raises the logit by log w; taking it off gives back probabilities of
        the classes as frequent as they are (King & Zeng 2001, Polit Anal 9:137).
        """
        return bias if self.weights is None else bias - self.weights.log().to(bias.device)


def balanced(kind: TaskKind, targets: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Weights (K,) by which all classes count alike in the loss, from the (U, K) training targets.

    Raises:
        SplitError: a class without a training unit, or with nothing else.
    """
    positive = targets.sum(0)
    negative = len(targets) - positive
    if (positive == 0).any() or (negative == 0).any():
        place = int(np.flatnonzero((positive == 0) | (negative == 0))[0])
        raise SplitError(
            "training units with and without every class",
            f"{int(positive[place])} of {len(targets)} with class {place + 1} of {targets.shape[1]}",
            "Give training a larger share in `split`, or set finetune.class_weights: false.",
        )
    weights = len(targets) / (len(positive) * positive) if kind == "multiclass" else negative / positive
    return np.asarray(weights, dtype=np.float32)


def auroc(kind: TaskKind, targets: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]) -> float:
    """Mean over the classes of one-vs-rest AUROC, of (U, K) each; classes without both sides are left out.

    Of several classes the log-probability ranks: a logit means nothing without the others.

    Raises:
        SplitError: no class has both sides.
    """
    if kind == "multiclass":
        logits = log_softmax(logits, axis=1)
    each = [
        roc_auc_score(targets[:, place], logits[:, place])
        for place in range(targets.shape[1])
        if 0 < targets[:, place].sum() < len(targets)
    ]
    if not each:
        raise SplitError(
            "validation units with and without a class",
            f"{len(targets)} that are all alike",
            "Give validation a larger share in the split section of params.yaml.",
        )
    return float(np.mean(each))


def unit_losses(
    kind: TaskKind, targets: npt.NDArray[np.float32], logits: npt.NDArray[np.float32]
) -> npt.NDArray[np.float64]:
    """Cross-entropy (U,) of each unit's (U, K) logits at their best temperature: what calibration cannot mend.

    By them epochs are compared (Berta et al. 2025, arXiv:2501.19195): AUROC of a few dozen units moves in large steps,
    and the cross-entropy of logits as they are prefers early epochs, which are not yet too sure. Outputs that stand by
    themselves have a temperature each, as the calibrator gives them.
    """
    found = logits.astype(np.float64)
    if kind == "multiclass":
        return _at_best(temperature.multiclass, targets, found)
    pairs = zip(targets.T, found.T, strict=True)
    return np.asarray(np.mean([_at_best(temperature.binary, *pair) for pair in pairs], axis=0))


def _at_best(
    losses: temperature.Losses, targets: npt.NDArray[np.float32], logits: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """The losses (U,) at the temperature of their least mean."""
    return losses(targets, logits / temperature.fit(losses, targets, logits, _TEMPERATURES, _PRECISION))


def clearly_worse(losses: npt.NDArray[np.float64], least: npt.NDArray[np.float64]) -> bool:
    """Whether the losses (U,) of an epoch are on average above those of the best by more than a standard error.

    The rule of one standard error (Breiman et al. 1984, Classification and Regression Trees, section 3.4.3), paired.
    """
    worse = losses - least
    return bool(worse.mean() > worse.std() / math.sqrt(max(1, len(worse) - 1)))
