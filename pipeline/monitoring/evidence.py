"""Evidence that a stream is no longer exchangeable with its reference, at a rate of false alarms that is kept.

Each new value is ranked among the reference and all values before it. Under exchangeability these conformal p-values
are independent and uniform, exactly, however few the reference is (Vovk, Gammerman and Shafer, Algorithmic Learning in
a Random World, 2005, chapter 8; ties are broken at random). Bets on them multiply; the Shiryaev-Roberts sum of all
bets that began at some study has the expectation n after n studies. So the expected number of times that it reaches a
limit L, and begins anew, is n / L at most, for every n (Shin, Ramdas and Rinaldo, E-detectors, 2022; Vovk et al.,
Retrain or not retrain, 2021).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri

Floats = npt.NDArray[np.float64]

#: Bets of a number: it rose or fell by so many standard deviations, as its normal scores tell.
SHIFTS = (0.4, 0.8, 1.6)
#: Bets of a category: its odds are so many times those before, or so many times less; and its share among all studies
#: has gone so far of the way to all or none.
ODDS = (3.0, 12.0)
WAYS = (0.0, 0.35, 0.7)
#: P-values nearer to 0 and 1 than this are as near.
_CERTAIN = 1e-12


@dataclass(frozen=True)
class Crossing:
    """An alarm: after which study of the stream, counted from 1, and with which the change probably began."""

    study: int
    since: int


@dataclass(frozen=True)
class Course:
    """What became of one stream.

    Attributes:
        evidence: (N,) the Shiryaev-Roberts sum after each study; at the limit and above it is an alarm.
        crossings: the alarms, in order.
    """

    evidence: Floats
    crossings: tuple[Crossing, ...]


def p_values(reference: Sequence[float], stream: Sequence[float], rng: np.random.Generator) -> Floats:
    """Smoothed conformal p-values (N,) of a stream: small where a value is larger than those before it."""
    seen = sorted(reference)
    ranks = np.empty(len(stream))
    ties = rng.random(len(stream))
    for place, value in enumerate(stream):
        insort(seen, value)
        larger = len(seen) - bisect_right(seen, value)
        equal = len(seen) - larger - bisect_left(seen, value)
        ranks[place] = (larger + ties[place] * equal) / len(seen)
    return ranks


def bets_on_number(ranks: Floats) -> Floats:
    """(N, B) factors by which bets on a shift of a number grow: likelihood ratios of normal scores.

    Args:
        ranks: (N,) p-values.
    """
    shifts = np.array([*SHIFTS, *(-shift for shift in SHIFTS)])
    scores = -ndtri(np.clip(ranks, _CERTAIN, 1 - _CERTAIN))
    return np.asarray(np.exp(np.outer(scores, shifts) - shifts**2 / 2))


def bets_on_category(ranks: Floats, usual: float) -> Floats:
    """(N, B) factors of bets on the share of a category, of which each is a step.

    P-values of the category lie below its share among all before, the others above. That share may not be looked at:
    bets may know nothing but earlier p-values. So steps are at the usual share, and where a new share would move it.

    Args:
        ranks: (N,) p-values of 1 (of the category) and 0.
        usual: share among studies that are not ranked; of 0 every study of the category is as rare as a number can be.
    """
    if usual == 0:
        return bets_on_number(ranks)
    steps = [(usual + (1 - usual) * way, odds) for way in WAYS for odds in ODDS]
    steps += [(usual * (1 - way), 1 / odds) for way in WAYS for odds in ODDS]
    share, odds = np.array(steps).T
    expected = odds * share / (1 - share + odds * share)
    with np.errstate(divide="ignore", invalid="ignore"):  # of a share of 1, which no p-value is above
        return np.asarray(np.where(ranks[:, np.newaxis] < share, expected / share, (1 - expected) / (1 - share)))


def course(factors: Floats, limit: float) -> Course:
    """The Shiryaev-Roberts sums of bets, averaged, and where they reach the limit; there they begin anew.

    Args:
        factors: (N, B), each of expectation 1 given those before it.
        limit: expected number of studies between two false alarms, at least.
    """
    count, bets = factors.shape
    sums, since = np.zeros(bets), np.zeros(bets, dtype=np.int64)
    product = np.ones(bets)
    evidence = np.empty(count)
    crossings: list[Crossing] = []
    for study in range(count):
        # The likeliest start of a change is where the product of a bet was last at its least, as of a CUSUM.
        since[product <= 1] = study + 1
        product = np.maximum(product, 1) * factors[study]
        sums = (sums + 1) * factors[study]
        evidence[study] = sums.mean()
        if evidence[study] >= limit:
            crossings.append(Crossing(study + 1, int(since[sums.argmax()])))
            sums, product = np.zeros(bets), np.ones(bets)
    return Course(evidence, tuple(crossings))
