"""Head and window: faster formulas give what the plain ones give, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import DataError
from pipeline.imaging import intensity

PERCENTILES = (0.0, 0.5, 37.5, 50.0, 99.5, 99.9, 100.0)


@pytest.mark.parametrize("count", [1, 2, 3, 17, 200, 1001, 4999])
@pytest.mark.parametrize("distinct", [2, 300, None])
def test_percentiles_of_sorted_values_are_those_of_numpy(count: int, distinct: int | None) -> None:
    rng = np.random.default_rng([1, count])
    values = rng.normal(0, 1e4, count) if distinct is None else rng.integers(0, distinct, count)
    values = values.astype(np.float32)
    ordered = np.sort(values)
    together = [intensity._percentile(ordered, each, np.float64) for each in PERCENTILES]
    assert together == np.percentile(values, PERCENTILES).tolist()
    for each in PERCENTILES:
        found = intensity._percentile(ordered, each, np.float32)
        assert (found, found.dtype) == (np.percentile(values, each), np.float32)


@pytest.mark.parametrize("share", [0.0, 0.005, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(3, 31, 40), (2, 1, 9), (4, 8, 1)])
def test_a_mask_is_filled_from_its_first_to_its_last_pixel(shape: tuple[int, int, int], share: float) -> None:
    mask = np.random.default_rng([2, *shape]).random(shape) < share
    expected = np.ones_like(mask)
    for axis in (1, 2):
        since = np.maximum.accumulate(mask, axis=axis)
        until = np.flip(np.maximum.accumulate(np.flip(mask, axis), axis=axis), axis)
        expected &= since & until
    assert (intensity._filled(mask) == expected).all()


def test_pieces_are_kept_from_a_share_of_all_that_is_bright() -> None:
    bright = np.zeros((3, 40, 40), bool)
    bright[:, 5:30, 5:30] = True  # 1875
    bright[0, 33:37, 33:38] = True  # 20, below 2 %
    bright[1, 0:2, 0:20] = True  # 40, above
    kept = bright.copy()
    kept[0, 33:37, 33:38] = False
    assert (intensity._large_pieces(bright) == kept).all()


def test_of_scattered_signal_one_piece_is_kept() -> None:
    bright = np.zeros((2, 40, 40), bool)
    bright[:, ::2, ::2] = True
    bright[0, 10, 10:13] = True
    kept = intensity._large_pieces(bright)
    assert kept[0, 10, 10:13].all()
    assert not kept[:, 20:].any()


@pytest.mark.parametrize("shape", [(4, 1, 9), (4, 9, 1)])
def test_slices_of_one_row_are_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match="2 by 2"):
        intensity.head_mask(np.arange(36, dtype=np.float32).reshape(shape))
