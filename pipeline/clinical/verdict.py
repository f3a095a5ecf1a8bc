"""Did transfer help? Fine-tuned against the same network trained from random weights."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pipeline.clinical.resampling import Estimate

Verdict = Literal["positive", "neutral", "negative"]


def transfer_verdict(difference: Estimate) -> Verdict | None:
    """The verdict from the AUROC of fine-tuned minus from-scratch on the same test units (`paired.compare`).

    Positive when the whole interval is above 0, negative when it is below, neutral between; None when it is undefined.
    """
    if not np.isfinite([difference.low, difference.high]).all():
        return None
    if difference.low > 0:
        return "positive"
    return "negative" if difference.high < 0 else "neutral"


def sentence(difference: Estimate, confidence: float) -> str:
    """The verdict for a reader, with its numbers."""
    verdict = transfer_verdict(difference)
    if verdict is None:
        return f"Whether transfer helped cannot be said: {difference.reason}."
    size = f"{abs(difference.value):.3f}"
    interval = f"{confidence:.0%} interval {difference.low:+.3f} to {difference.high:+.3f}".replace(
        "-", "\N{MINUS SIGN}"
    )
    baseline = "the same network trained from random weights"
    if verdict == "positive":
        return f"Transfer helped: the fine-tuned network's AUROC is {size} above that of {baseline} ({interval})."
    if verdict == "negative":
        return f"Transfer harmed: the fine-tuned network's AUROC is {size} below that of {baseline} ({interval})."
    side = "above" if difference.value >= 0 else "below"
    return (
        f"No clear effect of transfer: the fine-tuned network's AUROC is {size} {side} that of {baseline}, and the "
        f"{interval} includes 0."
    )
