"""From volumes to slices: the same anatomy gives the same picture, however it was stored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipeline.contract import Transform
from pipeline.errors import DataError
from pipeline.imaging.prepare import prepare, regions
from pipeline.imaging.volume import Volume

TRANSFORM = Transform(size=64, window_percentiles=(0.5, 99.5), head_margin_mm=6.0)
#: Voxels of an axial volume as displayed: 5 mm between slices, 1 mm pixels.
AXIAL = np.diag([1.0, 1.0, 5.0, 1.0])


def phantom(spacing: tuple[float, float] = (1.0, 1.0), extent_mm: float = 160.0, slices: int = 12) -> Volume:
    """A head of 100 by 130 mm with a bright patch at the back left, in weak noise; slice k is a little brighter."""
    row_mm, column_mm = spacing
    y = (np.arange(round(extent_mm / row_mm)) + 0.5) * row_mm - extent_mm / 2
    x = (np.arange(round(extent_mm / column_mm)) + 0.5) * column_mm - extent_mm / 2
    head = np.hypot(y[:, None] / 65, x / 50) < 1
    patch = np.hypot(y[:, None] - 35, x - 15) < 12
    shade = 1 + 0.3 * np.sin(y[:, None] / 9) * np.cos(x / 7)
    one = np.where(patch, 900.0, 400 * shade) * head
    voxels = one * (1 + 0.02 * np.arange(slices))[:, None, None]
    affine = np.diag([column_mm, row_mm, 5.0, 1.0])
    affine[:3, 3] = [x[0], y[0], -40.0]
    return Volume(voxels.astype(np.float32), affine)


def stored(volume: Volume, swap: bool, flip_rows: bool, flip_columns: bool) -> Volume:
    """The same anatomy with its array turned and its affine to match."""
    voxels, affine = volume.voxels, volume.affine_lps.copy()
    if swap:
        voxels, affine = voxels.transpose(0, 2, 1), affine[:, [1, 0, 2, 3]]
    for flip, axis, column in ((flip_rows, 1, 1), (flip_columns, 2, 0)):
        if flip:
            affine[:3, 3] += affine[:3, column] * (voxels.shape[axis] - 1)
            affine[:3, column] *= -1
            voxels = np.flip(voxels, axis)
    return Volume(voxels, affine)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("flip_rows", [False, True])
@pytest.mark.parametrize("flip_columns", [False, True])
def test_storage_order_changes_nothing(swap: bool, flip_rows: bool, flip_columns: bool) -> None:
    volume = phantom((0.9, 1.1))
    turned = stored(volume, swap, flip_rows, flip_columns)
    assert (prepare(turned, TRANSFORM) == prepare(volume, TRANSFORM)).all()


def test_axial_slices_show_the_back_below_and_the_left_at_the_right() -> None:
    brightest = np.argwhere(prepare(phantom(), TRANSFORM)[5] > 190).mean(axis=0)
    assert brightest[0] > 32
    assert brightest[1] > 32


@pytest.mark.parametrize(
    ("column", "row", "normal"),
    [((0, 1, 0), (0, 0, -1), (-1, 0, 0)), ((1, 0, 0), (0, 0, -1), (0, 1, 0)), ((1, 0, 0), (0, 1, 0), (0, 0, 1))],
    ids=["sagittal", "coronal", "axial"],
)
def test_each_plane_is_displayed_as_radiologists_do(column, row, normal) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array([column, row, normal], dtype=float).T * [1.0, 1.0, 5.0]
    as_displayed = Volume(phantom().voxels, affine)
    turned = stored(as_displayed, True, True, False)
    assert (prepare(turned, TRANSFORM) == prepare(as_displayed, TRANSFORM)).all()
    assert (prepare(as_displayed, TRANSFORM) == prepare(replace(as_displayed, affine_lps=AXIAL), TRANSFORM)).all()


def test_slightly_oblique_slices_are_displayed_by_the_nearest_plane() -> None:
    angle = np.deg2rad(14)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    volume = phantom()
    affine = volume.affine_lps.copy()
    affine[:3, :3] = turn @ affine[:3, :3]
    assert (prepare(replace(volume, affine_lps=affine), TRANSFORM) == prepare(volume, TRANSFORM)).all()


def test_the_order_of_slices_is_kept_in_either_direction() -> None:
    volume = phantom()
    forward = prepare(volume, TRANSFORM)
    levels = forward[:, 20:44, 20:44].mean(axis=(1, 2))
    assert (np.diff(levels) > 0).all()
    backward = replace(volume, affine_lps=volume.affine_lps @ np.diag([1, 1, -1, 1]))
    assert (prepare(backward, TRANSFORM) == forward).all()


@pytest.mark.parametrize("spacing", [(0.5, 1.0), (1.0, 2.0), (0.8, 0.8)])
def test_unequal_and_other_pixels_give_the_same_picture(spacing: tuple[float, float]) -> None:
    expected = prepare(phantom(), TRANSFORM).astype(int)
    picture = prepare(phantom(spacing), TRANSFORM).astype(int)
    assert np.abs(picture - expected).mean() < 6
    head = picture[6] > 60
    height, width = np.ptp(np.flatnonzero(head.any(axis=1))) + 1, np.ptp(np.flatnonzero(head.any(axis=0))) + 1
    assert height / width == pytest.approx(130 / 100, rel=0.06)


@pytest.mark.parametrize(("factor", "shift"), [(3.7, 0.0), (0.01, 0.0), (2.0, 500.0), (1.0, -300.0)])
def test_the_scale_of_intensities_changes_nothing(factor: float, shift: float) -> None:
    volume = phantom()
    scaled = replace(volume, voxels=(volume.voxels * factor + shift).astype(np.float32))
    difference = prepare(scaled, TRANSFORM).astype(int) - prepare(volume, TRANSFORM).astype(int)
    assert np.abs(difference).max() <= 1


def test_the_head_fills_the_square_but_for_the_margin() -> None:
    head = prepare(phantom(extent_mm=220.0), TRANSFORM).any(axis=0)
    rows = np.flatnonzero(head.any(axis=1))
    margin = 64 * TRANSFORM.head_margin_mm / (130 + 2 * TRANSFORM.head_margin_mm)
    assert rows[0] == pytest.approx(margin, abs=1.5)
    assert 63 - rows[-1] == pytest.approx(margin, abs=1.5)


def test_air_around_the_head_does_not_count() -> None:
    tight, wide = (prepare(phantom(extent_mm=extent), TRANSFORM).astype(int) for extent in (140.0, 260.0))
    assert np.abs(tight - wide).mean() < 1


def test_noise_and_spikes_in_the_air_do_not_widen_the_picture() -> None:
    volume = phantom(extent_mm=220.0)
    rng = np.random.default_rng(0)
    noise = np.hypot(*(rng.normal(0, 12, size=(2, *volume.voxels.shape))))
    noisy = np.hypot(volume.voxels, noise).astype(np.float32)
    noisy[3, 4:6, 4:6] = 5000
    difference = prepare(replace(volume, voxels=noisy), TRANSFORM).astype(int) - prepare(volume, TRANSFORM)
    assert np.abs(difference).mean() < 12


def test_a_fine_pattern_is_averaged_not_aliased() -> None:
    volume = phantom((0.5, 0.5))
    size = volume.voxels.shape[1]
    checks = np.indices((size, size)).sum(axis=0) % 2
    head = volume.voxels[0] > 0
    voxels = np.broadcast_to(np.where(head, 100 + 800 * checks, 0), volume.voxels.shape).astype(np.float32)
    inside = prepare(replace(volume, voxels=voxels), TRANSFORM)[:, 24:40, 24:40]
    assert inside.std() < 4
    assert 110 < inside.mean() < 145


def test_it_gives_bytes_of_the_asked_size_and_always_the_same() -> None:
    pictures = [prepare(phantom(), Transform(size=96, window_percentiles=(1, 99), head_margin_mm=0)) for _ in range(2)]
    assert pictures[0].shape == (12, 96, 96)
    assert pictures[0].dtype == np.uint8
    assert pictures[0].max() == 255
    assert (pictures[0] == pictures[1]).all()


@pytest.mark.parametrize(
    ("value", "found"), [(0.0, "one value"), (7.0, "one value"), (np.nan, "NaN"), (np.inf, "infinite")]
)
def test_an_empty_volume_is_an_error(value: float, found: str) -> None:
    voxels = np.full((9, 40, 40), value, dtype=np.float32)
    with pytest.raises(DataError, match=found):
        prepare(Volume(voxels, AXIAL), TRANSFORM)


def test_one_bad_voxel_is_an_error() -> None:
    volume = phantom()
    volume.voxels[3, 20, 20] = np.nan
    with pytest.raises(DataError, match="NaN"):
        prepare(volume, TRANSFORM)


def test_a_head_without_contrast_is_an_error() -> None:
    voxels = np.zeros((9, 40, 40), dtype=np.float32)
    voxels[:, 10:30, 10:30] = 5
    with pytest.raises(DataError, match="one value in nearly all of it"):
        prepare(Volume(voxels, AXIAL), TRANSFORM)


def test_odd_sizes_and_a_head_at_the_border_work() -> None:
    rng = np.random.default_rng(1)
    voxels = rng.uniform(100, 900, (5, 41, 37)).astype(np.float32)
    picture = prepare(Volume(voxels, AXIAL), TRANSFORM)
    assert picture.shape == (5, 64, 64)
    assert (picture[:, 30] > 0).any()


def drawn_patch(volume: Volume) -> Volume:
    """The phantom's bright patch, as somebody would draw it."""
    voxels = (volume.voxels > 800 * (1 + 0.02 * np.arange(len(volume.voxels)))[:, None, None]).astype(np.float32)
    return Volume(voxels, volume.affine_lps)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("reversed_slices", [False, True])
def test_what_is_drawn_lies_where_the_picture_shows_it(swap: bool, reversed_slices: bool) -> None:
    volume = phantom((0.9, 1.1))
    drawn = stored(drawn_patch(volume), swap, True, False)
    if reversed_slices:
        affine = drawn.affine_lps.copy()
        affine[:3, 3] += affine[:3, 2] * (len(drawn.voxels) - 1)
        affine[:3, 2] *= -1
        drawn = Volume(drawn.voxels[::-1], affine)
    lesion, head = regions(volume, drawn, TRANSFORM)
    picture = prepare(volume, TRANSFORM)
    bright = picture > 0.5 * (picture[:, 30:34, 28:32].mean(axis=(1, 2)) + picture.max(axis=(1, 2)))[:, None, None]
    assert (lesion != bright).mean() < 0.01
    assert lesion.sum() == pytest.approx(bright.sum(), rel=0.1)
    assert head[lesion].all()
    assert (head == (picture > 40)).mean() > 0.95


def test_what_is_drawn_elsewhere_is_refused() -> None:
    volume = phantom()
    affine = volume.affine_lps.copy()
    affine[0, 3] += 1000
    with pytest.raises(DataError, match="what is drawn inside its volume; found all of it elsewhere"):
        regions(volume, Volume(drawn_patch(volume).voxels, affine), TRANSFORM)
    empty = Volume(np.zeros_like(volume.voxels), affine)
    assert not regions(volume, empty, TRANSFORM)[0].any()
