"""The head that the demo samples: volumes, sides and layers of a real one."""

from __future__ import annotations

import socket

import numpy as np
import pytest

from pipeline.demo import anatomy
from pipeline.demo.anatomy import Head, fractions, rotation


def test_the_template_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the demo tried to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    anatomy.atlas.cache_clear()
    assert set(anatomy.atlas().brain) == {"csf", "gm", "wm"}


def test_tissues_have_the_volumes_of_a_head(sampled) -> None:
    litre = {name: float(share.sum()) * 2.0 * 2.0 * 7.0 / 1e6 for name, share in sampled.tissue.items()}
    assert 0.5 < litre["gm"] < 1.1
    assert 0.35 < litre["wm"] < 0.85
    assert 0.15 < litre["csf"] < 0.8
    assert 0.2 < litre["skull"] < 1.5
    assert 0.2 < litre["scalp"] < 1.5


def test_shares_of_a_voxel_add_up_to_one_at_most(sampled) -> None:
    whole = sum(sampled.tissue.values())
    assert min(float(share.min()) for share in sampled.tissue.values()) >= 0
    assert float(whole.max()) < 1.02


def test_the_cerebellum_lies_low_and_at_the_back(sampled) -> None:
    brain = sampled.tissue["gm"] + sampled.tissue["wm"]
    rows = np.arange(brain.shape[1]) - (brain.shape[1] - 1) / 2
    low = brain[2:4].sum(axis=(0, 2))
    assert float((rows * low).sum() / low.sum()) > 8
    assert brain[-1].sum() < brain[10].sum() / 2


def test_skull_and_scalp_surround_the_brain(sampled) -> None:
    line = {name: share[12, 55] for name, share in sampled.tissue.items()}
    places = {name: int(np.flatnonzero(values > 0.5)[0]) for name, values in line.items() if name != "csf"}
    assert places["scalp"] < places["skull"] < places["gm"]


def test_a_turned_head_is_turned_and_a_larger_one_larger(sampled) -> None:
    def brain(**changes: object) -> anatomy.Array:
        still = {"scale": (1.0, 1.0, 1.0), "rotation_deg": (0.0, 0.0, 0.0), "shift_mm": (0.0, 0.0, 0.0)}
        head = Head(**(still | changes), warp_mm=0.0, skull_mm=5.0, scalp_mm=4.0)
        tissue = fractions(np.random.default_rng(0), sampled.grid, head)
        return tissue["gm"] + tissue["wm"]

    middle = np.arange(110) - 54.5
    shifted = brain(shift_mm=(10.0, 0.0, 0.0))[10].sum(axis=0)
    assert float((middle * shifted).sum() / shifted.sum()) * 2.0 == pytest.approx(10, abs=1.5)
    assert brain(scale=(1.1, 1.1, 1.1)).sum() > 1.2 * brain().sum()
    assert (
        np.abs(brain(rotation_deg=(0.0, 0.0, 90.0))[10] - np.rot90(brain()[10])).mean()
        < np.abs(brain(rotation_deg=(0.0, 0.0, 90.0))[10] - brain()[10]).mean()
    )


def test_rotation_keeps_lengths_and_right_hands() -> None:
    turned = rotation((10.0, -20.0, 30.0))
    assert np.allclose(turned @ turned.T, np.eye(3))
    assert np.linalg.det(turned) == pytest.approx(1)
