"""P-values that are uniform, sums whose expectation is known, and shifts that are found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from pipeline.monitoring.evidence import bets_on_category, bets_on_number, course, p_values


@pytest.mark.parametrize("reference", [2, 12, 84])
@pytest.mark.parametrize("draw", ["numbers", "categories"])
def test_p_values_are_uniform_and_independent_whatever_the_reference(reference: int, draw: str) -> None:
    found = []
    for seed in range(400):
        rng = np.random.default_rng([seed, reference])
        drawn = rng.normal(size=reference + 40)
        if draw == "categories":
            drawn = (drawn > 0.5).astype(float)
        found.append(p_values(drawn[:reference].tolist(), drawn[reference:].tolist(), rng))
    ranks = np.array(found)
    assert kstest(ranks.ravel(), "uniform").pvalue > 1e-3
    # Over repetitions, not along one stream: with a fixed small reference neighbours would go together.
    together = np.corrcoef(ranks.T)[~np.eye(40, dtype=bool)]
    assert np.abs(together).max() < 5 / np.sqrt(400)
    assert together.mean() == pytest.approx(0, abs=0.01)


def test_p_values_rank_among_reference_and_stream() -> None:
    rng = np.random.default_rng(0)
    (first, second, third) = p_values([1.0, 2.0, 3.0], [4.0, 5.0, 0.0], rng)
    assert 0 <= first <= 1 / 4
    assert 0 <= second <= 1 / 5
    assert 5 / 6 <= third <= 1


def test_every_bet_is_fair() -> None:
    middles = (np.arange(200_000) + 0.5) / 200_000
    assert bets_on_number(middles).mean(axis=0) == pytest.approx(1, abs=1e-3)
    for usual in (0.0, 0.01, 0.4, 0.97, 1.0):
        assert bets_on_category(middles, usual).mean(axis=0) == pytest.approx(1, abs=1e-3)


def test_the_sum_is_that_of_all_bets_by_their_start() -> None:
    factors = bets_on_number(np.random.default_rng(1).random(30))
    every = [sum(factors[start : end + 1].prod(axis=0) for start in range(end + 1)).mean() for end in range(30)]
    assert course(factors, 1e9).evidence == pytest.approx(every)


def test_without_a_shift_a_limit_is_reached_no_more_often_than_it_says() -> None:
    """100 limits' worth of studies: 100 crossings at most are expected."""
    limit, crossings = 200.0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = rng.normal(size=20 + 1000)
        crossings += len(
            course(bets_on_number(p_values(drawn[:20].tolist(), drawn[20:].tolist(), rng)), limit).crossings
        )
    assert crossings <= 100
    assert crossings > 5  # nor is it so seldom that nothing is tested


def test_a_late_shift_is_found_and_dated() -> None:
    rng = np.random.default_rng(3)
    reference, before, after = rng.normal(size=84), rng.normal(size=500), rng.normal(1.2, size=60)
    ranks = p_values(reference.tolist(), [*before, *after], rng)
    (crossing, *_) = course(bets_on_number(ranks), 40_000).crossings
    assert 500 < crossing.study <= 560
    assert abs(crossing.since - 501) <= 10


def test_what_is_said_after_a_study_does_not_change_by_later_ones() -> None:
    drawn = np.random.default_rng(5).normal(size=300).tolist()
    long, short = (
        course(bets_on_number(p_values(drawn[:50], drawn[50:end], np.random.default_rng(7))), 30.0)
        for end in (300, 200)
    )
    assert long.evidence[:150].tolist() == short.evidence.tolist()
    assert [one for one in long.crossings if one.study <= 150] == list(short.crossings)
    assert short.crossings
