"""Slices that are answered with their neighbours: a lesion seldom ends where a slice does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

#: Slices in one call, those that are answered and those that count for them.
BATCH = 64

#: Neighbours farther away than so many standard deviations count for nothing.
_CUT = 3.0


@dataclass(frozen=True)
class Call:
    """One call for slices that are units.

    Attributes:
        wanted: int64 (B,), those that are answered.
        given: int64 (N,), those and their neighbours, which the graph is given.
        membership: float32 (B, N), how much each given slice counts for each wanted one; rows sum to 1.
    """

    wanted: npt.NDArray[np.int64]
    given: npt.NDArray[np.int64]
    membership: Floats


def weights(places: npt.NDArray[np.int64], sd: float) -> Floats:
    """How much the slice of each column counts for that of each row.

    Args:
        places: (N,) of slices of one volume, in slices.
        sd: of a Gaussian, in slices; 0: each slice stands by itself.

    Returns:
        float32 (N, N), whose rows sum to 1.
    """
    if sd == 0:
        return np.eye(len(places), dtype=np.float32)
    apart = np.abs(places[:, np.newaxis] - places) / sd
    found = np.where(apart <= _CUT, np.exp(-0.5 * apart**2), 0.0)
    return np.asarray(found / found.sum(axis=1, keepdims=True), dtype=np.float32)


def calls(places: Sequence[tuple[str, int]], sd: float) -> Iterator[Call]:
    """The calls that answer all slices, with at most `BATCH` in each, neighbours and all.

    Args:
        places: of each slice its volume, and its place in it, rising.
        sd: see `weights`.
    """
    volumes: dict[str, list[int]] = {}
    for row, (volume, _) in enumerate(places):
        volumes.setdefault(volume if sd else "", []).append(row)
    reach = math.floor(_CUT * sd)
    step = BATCH - 2 * reach
    for rows in volumes.values():
        own, at = np.array(rows), np.array([places[row][1] for row in rows])
        for begin in range(0, len(rows), step):
            first, end = max(0, begin - reach), begin + step
            near = slice(first, end + reach)
            yield Call(own[begin:end], own[near], weights(at[near], sd)[begin - first : end - first])


def smoothed(rows: Floats, places: Sequence[tuple[str, int]], sd: float) -> Floats:
    """Logits (N, K) of slices with those of their neighbours, as a graph gives them that pools by the mean.

    With `sd` 0 they stay as they are, whatever the units.
    """
    if sd == 0:
        return rows
    found = np.empty_like(rows)
    for call in calls(places, sd):
        found[call.wanted] = call.membership @ rows[call.given]
    return found
