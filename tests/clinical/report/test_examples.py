import numpy as np

from pipeline.clinical.report.examples import choose

LABELS = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
PROBABILITIES = np.array([0.95, 0.9, 0.8, 0.3, 0.2, 0.85, 0.6, 0.4, 0.1, 0.05])


def test_errors_are_shown_at_their_plainest_and_the_rest_at_its_middle():
    chosen = [(outcome.name, unit) for outcome, unit in choose(LABELS, PROBABILITIES, 0.5, each=1)]
    assert chosen == [("True positive", 1), ("False negative", 4), ("False positive", 5), ("True negative", 8)]


def test_every_choice_stands_in_its_cell():
    for outcome, unit in choose(LABELS, PROBABILITIES, 0.5, each=2):
        assert LABELS[unit] == outcome.actual
        assert (PROBABILITIES[unit] >= 0.5) == outcome.called


def test_an_empty_cell_gives_no_example():
    chosen = choose(np.array([1, 0]), np.array([0.9, 0.1]), 0.5)
    assert [outcome.name for outcome, _ in chosen] == ["True positive", "True negative"]
