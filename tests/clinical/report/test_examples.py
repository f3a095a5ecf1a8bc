import numpy as np

from pipeline.clinical.report.examples import choose
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


def test_of_several_classes_each_is_shown_rightly_and_wrongly_called():
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.3, 0.7]])
    targets = Targets("multiclass", ("low", "high"))
    chosen = choose(targets, labels, probabilities, probabilities >= 0.5, None)
    assert [(outcome.name, outcome.place, unit) for outcome, unit in chosen] == [
        ("low, rightly called", 0, 0),
        ("high, rightly called", 1, 2),
        ("high, rightly called", 1, 3),
        ("high, wrongly called", 1, 1),
    ]
