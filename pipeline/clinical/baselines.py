"""What the scratch model and the probe would call positive, each at a threshold of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pipeline.clinical.proportions import Calls
from pipeline.clinical.thresholds import choose_threshold
from pipeline.errors import SplitError
from pipeline.targets import Targets, calls
from pipeline.validation_config import ThresholdRule

#: Of which logit the sigmoid still tells from 1, and from its neighbours.
_FARTHEST = 20.0


def called(
    labels: npt.NDArray[np.int64],
    on_validation: npt.NDArray[np.floating],
    on_test: npt.NDArray[np.floating],
    rule: ThresholdRule,
    targets: Targets,
) -> Calls | None:
    """Which of the T test units a baseline calls positive, (T, K); None where a score is not finite, or no
    threshold does what the rule asks.

    Its thresholds are chosen on the V validation units by the rule that the fine-tuned model's is chosen by, so that
    neither has seen the test side; a multiclass task has none.

    Args:
        labels: (V, K) of 0 and 1.
        on_validation: (V, K) scores.
        on_test: (T, K) scores.
    """
    if not np.isfinite(on_validation).all() or not np.isfinite(on_test).all():
        return None
    if targets.kind == "multiclass":
        return calls(on_test.astype(np.float64), None)
    # Divided, so that far logits do not all become 1: the rules go by their order alone.
    scale = max(1.0, float(np.abs(on_validation).max(initial=0)) / _FARTHEST)
    known, asked = (np.asarray(expit(scores / scale), dtype=np.float64) for scores in (on_validation, on_test))
    columns = zip(labels.T, known.T, strict=True)
    try:
        thresholds = [choose_threshold(own, chances, rule) for own, chances in columns]
    except SplitError:
        return None
    return calls(asked, thresholds)
