"""Whether one study is unlike every study of the release's reference: then its answer would be a guess.

Each study's place in each number (brightness, contrast, distances of the embedding) is measured from the median in
median absolute deviations; a study is as far out as its farthest number. Medians and deviations are of the reference
and the new study together, so that no study has a place of its own in the rule: of N + 1 exchangeable studies each is
the farthest with the same chance, and a study like the others is called novel with a probability of at most 1/(N + 1)
(conformal prediction: Vovk, Gammerman and Shafer 2005, chapter 2). That it must be farther by `BEYOND` makes it rarer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.monitoring.quantities import numbers
from pipeline.monitoring.reference import Reference, scored
from pipeline.monitoring.schema import Observed

#: How many times farther out than the farthest study of the reference.
BEYOND = 1.5
_LEAST = 1e-6


@dataclass(frozen=True)
class Novelty:
    """How a study lies to the N of the reference.

    Attributes:
        novel: whether it is farther out than all of them, by `BEYOND`.
        ratio: how far out it is, over the farthest of them.
        name: the number in which it is farthest, in words.
    """

    novel: bool
    ratio: float
    name: str


def novelty(reference: Reference, study: Observed) -> Novelty:
    """Compare a study with the reference.

    Raises:
        DataError: an embedding of another network.
    """
    own = list(numbers(reference.studies))
    new = [values for *_, values in numbers(scored([study], reference.shape))]
    pool = np.array([[*values, *value] for (*_, values), value in zip(own, new, strict=True)])
    apart = np.abs(pool - np.median(pool, axis=1, keepdims=True))
    # A number that hardly differs between studies says little; it does not divide by nothing.
    out = apart / np.maximum(np.median(apart, axis=1, keepdims=True), _LEAST)
    farthest = out.max(axis=0)
    ratio = float(farthest[-1] / max(farthest[:-1].max(), _LEAST))
    return Novelty(ratio > BEYOND, ratio, own[int(out[:, -1].argmax())][1])
