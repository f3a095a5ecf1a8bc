import numpy as np
import pytest

from pipeline.clinical.learning import control_had_less, curve
from pipeline.errors import ContractError
from tests.training_curves import history

PHASES = [("head", 3, 0.0), ("top", 2, 0.5), ("all", 1, 1.0)]


def course(phases, frozen=("head",), allowed=4):
    rows = history(phases)
    return curve("finetuned", rows, np.zeros((len(rows), 6, 1), np.float32), (6, 1), frozen, allowed)


def test_the_rows_before_the_trunk_learns_are_those_of_the_leading_frozen_phases():
    assert course(PHASES).frozen_rows == [1, 2, 3]
    assert course(PHASES, frozen=()).frozen_rows == []
    assert course([*PHASES, ("late", 2, 0.0)], frozen=("head", "late")).frozen_rows == [1, 2, 3]


def test_the_budget_is_what_the_last_row_says():
    assert course(PHASES).budget == {
        "epochs": 6,
        "slices": 6000,
        "passes": 2000,
        "trunk_epochs": 3,
        "allowed_trunk_epochs": 4,
    }


def test_what_runs_through_a_frozen_trunk_is_no_work_on_it():
    finetuned = course([("head", 3, 1.0), ("all", 2, 1.0)])
    assert not control_had_less(finetuned, course([("all", 2, 1.0)], ()))
    assert control_had_less(finetuned, course([("all", 1, 1.0)], ()))


@pytest.mark.parametrize(("epochs", "allowed", "less"), [(2, 4, False), (1, 4, True), (2, 3, True), (9, 9, False)])
def test_a_control_with_less_trunk_work_or_fewer_epochs_is_seen(epochs, allowed, less):
    assert control_had_less(course(PHASES), course([("all", epochs, 1.0)], (), allowed)) is less


@pytest.mark.parametrize("shape", [(5, 6, 1), (7, 5, 1), (7, 6, 2), (7, 6)])
def test_a_curve_of_another_training_is_refused(shape):
    with pytest.raises(ContractError, match=r"7 rows of history.csv .*, 6 validation units and 1 outputs; found"):
        curve("scratch", history(PHASES), np.zeros(shape, np.float32), (6, 1), (), 4)


def test_a_history_that_does_not_begin_before_the_first_step_is_refused():
    rows = history(PHASES)[1:]
    with pytest.raises(ContractError, match="the first row: head"):
        curve("scratch", rows, np.zeros((6, 6, 1), np.float32), (6, 1), (), 4)


def test_the_last_epoch_that_was_the_one_to_keep_is_what_remains():
    rows = [row | {"kept": str(int(place in (1, 3)))} for place, row in enumerate(history(PHASES))]
    assert curve("scratch", rows, np.zeros((7, 6, 1), np.float32), (6, 1), (), 4).kept == 3
