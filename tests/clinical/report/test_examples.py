import numpy as np
import pytest

from pipeline.clinical.report.examples import choose, outcomes
from pipeline.targets import BINARY, Targets

LABELS = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])[:, None]
PROBABILITIES = np.array([0.95, 0.9, 0.8, 0.3, 0.2, 0.85, 0.6, 0.4, 0.1, 0.05])[:, None]


def test_errors_are_shown_at_their_plainest_and_the_rest_at_its_middle():
    chosen = [
        (outcome.name, unit)
        for outcome, unit in choose(BINARY, LABELS, PROBABILITIES, PROBABILITIES >= 0.5, 0.5, each=1)
    ]
    assert chosen == [
        ("True positive", 1),
        ("False negative", 4),
        ("False positive", 5),
        ("True negative", 8),
        ("Borderline", 6),
    ]


def test_every_choice_stands_in_its_cell():
    for outcome, unit in choose(BINARY, LABELS, PROBABILITIES, PROBABILITIES >= 0.5, None, each=2):
        assert LABELS[unit] == outcome.actual
        assert (PROBABILITIES[unit] >= 0.5) == outcome.called


def test_an_empty_cell_gives_no_example():
    chosen = choose(BINARY, np.array([[1], [0]]), np.array([[0.9], [0.1]]), np.array([[True], [False]]), None)
    assert [outcome.name for outcome, _ in chosen] == ["True positive", "True negative"]


THREE = ("low", "mid", "high")


def chosen_of(kind, labels, probabilities, called, threshold=None, each=2):
    found = choose(Targets(kind, THREE), np.array(labels), np.array(probabilities), np.array(called), threshold, each)
    return [(outcome.name, outcome.place, unit) for outcome, unit in found]


def test_of_one_class_of_many_a_miss_is_a_unit_whose_class_is_not_the_most_probable():
    labels = np.eye(3, dtype=int)[[0, 0, 0, 1, 2, 2]]
    probabilities = np.array(
        [
            [0.90, 0.05, 0.05],
            [0.45, 0.50, 0.05],  # of low, which is more probable than a threshold might ask, but not the most
            [0.10, 0.20, 0.70],
            [0.30, 0.40, 0.30],
            [0.33, 0.33, 0.34],
            [0.00, 0.10, 0.90],
        ]
    )
    called = np.eye(3, dtype=bool)[probabilities.argmax(axis=1)]
    assert chosen_of("multiclass", labels, probabilities, called) == [
        ("low, rightly called", 0, 0),
        ("low, missed", 0, 2),
        ("low, missed", 0, 1),
        ("mid, rightly called", 1, 3),
        ("high, rightly called", 2, 4),
        ("high, rightly called", 2, 5),
        ("Borderline", 2, 4),  # 0.01 above the runner-up
        ("Borderline", 1, 1),  # 0.05, for the class that was called
    ]


def test_of_many_classes_at_once_each_has_its_own_threshold():
    labels = [[1, 0, 1], [1, 1, 0], [0, 0, 0], [0, 1, 0]]
    probabilities = np.array([[0.2, 0.1, 0.9], [0.6, 0.3, 0.65], [0.4, 0.95, 0.1], [0.1, 0.45, 0.9]])
    threshold = [0.5, 0.4, 0.7]
    found = chosen_of("multilabel", labels, probabilities, probabilities >= threshold, threshold, each=1)
    assert found == [
        ("low, rightly called", 0, 1),
        ("low, missed", 0, 0),
        ("mid, rightly called", 1, 3),
        ("mid, missed", 1, 1),
        ("mid, wrongly called", 1, 2),
        ("high, rightly called", 2, 0),
        ("high, wrongly called", 2, 3),
        ("Borderline", 2, 1),
    ]


@pytest.mark.parametrize("kind", ["multiclass", "multilabel"])
def test_every_choice_of_several_classes_stands_in_its_cell(kind):
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet((1, 1, 1), 60)
    labels = np.eye(3, dtype=int)[rng.integers(0, 3, 60)]
    called = np.eye(3, dtype=bool)[probabilities.argmax(axis=1)] if kind == "multiclass" else probabilities >= 0.4
    found = choose(Targets(kind, THREE), labels, probabilities, called, [0.4] * 3)
    assert {outcome.name for outcome, _ in found} == {outcome.name for outcome in outcomes(Targets(kind, THREE))}
    for outcome, unit in found:
        if outcome.actual is not None:
            assert labels[unit, outcome.place] == outcome.actual
            assert called[unit, outcome.place] == outcome.called


def test_what_is_no_number_is_no_borderline():
    probabilities = np.array([[np.nan, np.nan, np.nan], [0.2, 0.5, 0.3]])
    called = np.array([[False] * 3, [False, True, False]])
    for kind in ("multiclass", "multilabel"):
        found = chosen_of(kind, np.eye(3, dtype=int)[[0, 1]], probabilities, called, [0.5] * 3)
        assert ("Borderline", 1, 1) in found
        assert not any(name == "Borderline" and unit == 0 for name, _, unit in found)


def test_an_example_says_what_the_unit_is_and_was_called(several):
    for shown in several.examples:
        unit = several.found.units.ids.index(shown.unit)
        for words, classes in (("is", several.found.units.labels[unit]), ("called", several.found.called[unit])):
            names = [name for name, own in zip(several.found.targets.named, classes, strict=True) if own]
            assert f"{words} {' and '.join(names) or 'none of them'}" in shown.truth
        assert shown.probability == several.found.probabilities[unit, shown.outcome.place]
