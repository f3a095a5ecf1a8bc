import numpy as np
import pytest

from pipeline.clinical.resampling import Estimate, undefined
from pipeline.clinical.verdict import sentence, transfer_verdict


@pytest.mark.parametrize(
    ("low", "high", "verdict", "words"),
    [
        (0.01, 0.2, "positive", "Transfer helped"),
        (-0.1, 0.2, "neutral", "No clear effect"),
        (0.0, 0.2, "neutral", "No clear effect"),
        (-0.3, -0.01, "negative", "Transfer harmed"),
    ],
)
def test_the_interval_decides(low, high, verdict, words):
    difference = Estimate((low + high) / 2, low, high, 50)
    assert transfer_verdict(difference) == verdict
    text = sentence(difference, 0.95)
    assert text.startswith(words)
    assert f"{abs(difference.value):.3f}" in text
    assert f"{high:+.3f}".replace("-", "\N{MINUS SIGN}") in text


def test_no_verdict_without_an_interval():
    assert transfer_verdict(undefined("only one class among the units", 9)) is None
    assert "only one class" in sentence(undefined("only one class among the units", 9), 0.95)
    assert transfer_verdict(Estimate(0.2, np.nan, np.nan, 9, "too few")) is None
