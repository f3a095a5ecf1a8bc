"""When a training counts as having reached a level, and what the table makes of several rounds."""

from __future__ import annotations

import pytest

from tests.benchmarks.training import Trace, table

PLAIN = Trace([10.0, 20.0, 30.0, 40.0], [0.6, 0.9, 0.7, 0.8], [True] * 4)
OURS = Trace([2.0, 3.0, 9.0, 15.0, 21.0], [0.5, 0.7, 0.85, 0.84, 0.9], [False, False, True, True, True])


def test_a_level_is_reached_where_the_next_epoch_holds_it() -> None:
    assert PLAIN.until(0.8) == 40  # the second epoch was lucky
    assert OURS.until(0.8) == 9
    assert OURS.until(0.95) == float("inf")


def test_an_epoch_is_one_in_which_the_trunk_learns() -> None:
    assert PLAIN.epoch == 10
    assert OURS.epoch == 6


def test_ratios_are_of_the_same_round(capsys: pytest.CaptureFixture[str]) -> None:
    """A round on a busy machine takes twice as long for all, and changes no ratio."""
    busy = {
        name: Trace([2 * s for s in each.seconds], each.auroc, each.trunk)
        for name, each in {"plain": PLAIN, "ours": OURS}.items()
    }
    table([{"plain": PLAIN, "ours": OURS}, busy])
    plain, ours = capsys.readouterr().out.splitlines()[1:]
    assert plain.split() == ["plain", "15.00", "1.00x", "60.0", "1.00x"]
    assert ours.split() == ["ours", "9.00", "1.67x", "13.5", "4.44x"]
