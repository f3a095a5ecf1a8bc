"""All quantities of a stream against a reference: the evidence of each, and the alarms."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import DataError
from pipeline.monitoring.evidence import Course, bets_on_category, bets_on_number, course, p_values
from pipeline.monitoring.quantities import MONITORS, Quantity, quantities
from pipeline.monitoring.reference import Reference, scored
from pipeline.monitoring.schema import Observed

#: Studies between two false alarms, of all monitors together, at least and on average; false alarms come in groups, as
#: quantities go together, and 2,000 studies shall see one at most.
STUDIES_PER_FALSE_ALARM = 5000


@dataclass(frozen=True)
class Watched:
    """A quantity, and what became of it.

    Attributes:
        quantity: what was watched.
        limit: of its evidence.
        course: its evidence after each study, and its alarms.
    """

    quantity: Quantity
    limit: float
    course: Course


def watch(
    reference: Reference, studies: Sequence[Observed], classes: Sequence[str], release_sha256: str
) -> list[Watched]:
    """Every quantity of a stream of studies, in their order.

    The limits share the rate of false alarms: equally between monitors, and within each between its quantities
    (Bonferroni). What is said after a study does not change by those after it.

    Args:
        reference: of the release.
        studies: N.
        classes: what each of the K probabilities speaks of.
        release_sha256: from which ties between equal values are broken, the same way each time.

    Raises:
        DataError: an embedding, or probabilities, of another network.
    """
    odd = {len(study.probabilities) for study in studies} - {len(classes)}
    if odd:
        raise DataError(
            f"probabilities of {len(classes)} {'class' if len(classes) == 1 else 'classes'}, as the release gives them",
            f"some of {max(odd)}",
            "Name the reports of a box that runs this release.",
        )
    stream = scored(studies, reference.shape) if studies else reference.studies.at([])
    every = quantities(reference, stream, classes)
    counts = {monitor: sum(one.monitor == monitor for one in every) for monitor in MONITORS}
    share = STUDIES_PER_FALSE_ALARM * len(MONITORS)
    return [_watched(one, float(share * counts[one.monitor]), release_sha256) for one in every]


def _watched(quantity: Quantity, limit: float, release_sha256: str) -> Watched:
    rng = np.random.default_rng([int(release_sha256[:16], 16), zlib.crc32(quantity.name.encode())])
    ranks = p_values(quantity.reference.tolist(), quantity.stream.tolist(), rng)
    factors = bets_on_number(ranks) if quantity.usual is None else bets_on_category(ranks, quantity.usual)
    return Watched(quantity, limit, course(factors, limit))
