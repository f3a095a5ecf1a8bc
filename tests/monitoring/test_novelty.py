"""A study that is like none of the reference's is told from those that are."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.monitoring import reference
from pipeline.monitoring.novelty import BEYOND, novelty
from pipeline.monitoring.reference import Reference
from tests.observed import FEATURES, studies


@pytest.fixture(scope="module")
def known() -> Reference:
    return reference.make("ab" * 32, "tests", studies(100, 0), studies(60, 1))


def test_studies_like_those_of_the_reference_are_seldom_novel(known: Reference) -> None:
    found = [novelty(known, study) for study in studies(600, 2)]
    # At most 1 in 61 is expected to be the farthest, and fewer to be so by as much.
    assert sum(each.novel for each in found) <= 10
    assert sum(each.ratio > 1 for each in found) <= 25


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"embedding": tuple(40.0 * np.ones(FEATURES))}, "axis 1|distance along|distance from"),
        ({"seen": (0.9, 0.2)}, "mean of the prepared slices"),
        ({"seen": (0.3, 0.01)}, "contrast of the prepared slices"),
        ({"intensity": (0.1, 0.2, 0.3, 0.4, 900_000.0)}, "brightness|midtone"),
    ],
)
def test_a_study_of_another_kind_is_novel_and_it_is_said_by_what(
    known: Reference, changed: dict[str, object], name: str
) -> None:
    (study,) = studies(1, 3, **changed)
    found = novelty(known, study)
    assert found.novel
    assert found.ratio > BEYOND
    assert any(word in found.name for word in name.split("|"))


def test_the_order_of_the_reference_does_not_count(known: Reference) -> None:
    (study,) = studies(1, 4)
    turned = Reference(known.onnx_sha256, known.backend, known.shape, known.studies.at(range(59, -1, -1)))
    assert novelty(turned, study) == novelty(known, study)
