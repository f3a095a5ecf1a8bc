"""The contrasts that the signal equations give, against what a radiologist expects and numbers worked out by hand."""

from __future__ import annotations

import math

import pytest

from pipeline.demo.signal import Tissue, inversion_recovery, sequence, spin_echo, tissues

FIELDS = (1.5, 3.0)


def test_spin_echo_is_the_textbook_equation() -> None:
    tissue = Tissue(t1_ms=1000, t2_ms=100, proton_density=0.5)
    assert spin_echo(tissue, 1000, 100) == pytest.approx(0.5 * (1 - 1 / math.e) / math.e)


def test_inversion_recovery_is_inverted_before_the_null_and_recovers() -> None:
    tissue = Tissue(t1_ms=1000, t2_ms=1e9, proton_density=1.0)
    assert inversion_recovery(tissue, 1e6, 0, 0) == pytest.approx(-1)
    assert inversion_recovery(tissue, 1e6, 0, 1000 * math.log(2)) == pytest.approx(0, abs=1e-9)
    assert inversion_recovery(tissue, 1e6, 0, 1e5) == pytest.approx(1)


@pytest.mark.parametrize("field", FIELDS)
def test_flair_nulls_fluid_and_shows_lesions_bright(field: float) -> None:
    flair, table = sequence("FLAIR", field), tissues(field)
    white = flair.signal(table["wm"])
    assert abs(flair.signal(table["csf"])) < 0.35 * white
    assert flair.signal(table["gm"]) > white
    assert flair.signal(table["lesion"]) > 1.3 * flair.signal(table["gm"])


@pytest.mark.parametrize("field", FIELDS)
def test_t1_darkens_what_t2_brightens(field: float) -> None:
    t1, t2, table = sequence("T1", field), sequence("T2", field), tissues(field)
    order = ("csf", "lesion", "gm", "wm")
    t1_signal = [t1.signal(table[name]) for name in order]
    t2_signal = [t2.signal(table[name]) for name in order]
    assert t1_signal == sorted(t1_signal)
    assert t2_signal == sorted(t2_signal, reverse=True)


def test_a_lesion_of_half_contrast_lies_half_way() -> None:
    table = tissues(3.0)
    half = table["wm"].towards(table["lesion"], 0.5)
    assert half.t2_ms == pytest.approx((table["wm"].t2_ms + table["lesion"].t2_ms) / 2)
    assert table["wm"].towards(table["lesion"], 1.0) == table["lesion"]


def test_an_unknown_sequence_is_refused() -> None:
    with pytest.raises(KeyError):
        sequence("DWI", 3.0)
