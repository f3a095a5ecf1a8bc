"""Slices that are answered with their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.inference.neighbours import BATCH, calls, smoothed, weights

RNG = np.random.default_rng(11)


def test_weights_fall_with_the_distance_between_slices_and_not_with_their_number() -> None:
    found = weights(np.array([0, 1, 2, 6]), 1.0)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-6)
    assert found[0, 0] > found[0, 1] > found[0, 2] > 0
    assert found[0, 1] / found[0, 0] == pytest.approx(np.exp(-0.5))
    assert found[3].tolist() == [0, 0, 0, 1]  # four slices away counts for nothing


def test_without_a_width_every_slice_stands_by_itself() -> None:
    rows = RNG.normal(size=(5, 2)).astype(np.float32)
    assert weights(np.arange(5), 0.0).tolist() == np.eye(5).tolist()
    assert smoothed(rows, [], 0.0) is rows


@pytest.mark.parametrize("sd", [0.0, 0.3, 1.0, 5.0])
@pytest.mark.parametrize("count", [1, 3, BATCH, 3 * BATCH + 5])
def test_calls_give_what_one_call_of_all_would_and_are_no_larger_than_a_batch(sd: float, count: int) -> None:
    rows = RNG.normal(size=(count, 2)).astype(np.float32)
    places = [("a", place) for place in range(count)]
    made = list(calls(places, sd))
    assert np.concatenate([call.wanted for call in made]).tolist() == list(range(count))
    assert max(len(call.given) for call in made) <= BATCH
    assert all(call.membership.shape == (len(call.wanted), len(call.given)) for call in made)
    expected = weights(np.arange(count), sd) @ rows
    np.testing.assert_allclose(smoothed(rows, places, sd), expected, rtol=1e-5, atol=1e-6)


def test_a_slice_has_no_neighbours_in_another_volume() -> None:
    rows = RNG.normal(size=(6, 1)).astype(np.float32)
    mixed = [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]
    found = smoothed(rows, mixed, 1.5)
    for own in ([0, 2, 4], [1, 3, 5]):
        np.testing.assert_allclose(found[own], weights(np.arange(3), 1.5) @ rows[own], rtol=1e-6)
