"""The labelled patients of a commit and of now: how many are new, and how many are lost."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from prefect import get_run_logger

from flows.snapshot import Checkout, Data, Snapshot
from pipeline.errors import DataError

LABELS, WITHDRAWN = "data/ingested/labels.csv", "data/withdrawn.csv"
#: What helps where patients lost their labels.
REMEDY = (
    "Give ingest the whole file of labels again (data.labels in params.yaml), and see in data/ingested/rejected.csv "
    "whether it refuses their scans now."
)


@dataclass(frozen=True)
class Change:
    """Patients: those with a label now, those of them who had none before, and those who have none any more."""

    labelled: int
    new: int
    lost: int


def labelled(data: Data) -> frozenset[str]:
    """The patients with a label."""
    return frozenset(row["patient"] for row in data.rows(LABELS))


def withdrawn(data: Data) -> frozenset[str]:
    """The patients whose data may not be used any more."""
    return frozenset(row["patient"] for row in data.rows(WITHDRAWN)) if data.has(WITHDRAWN) else frozenset()


def changed(workspace: Path) -> Change:
    """What `ingest` changed against the commit of a clone; warns where patients lost their labels.

    Withdrawn patients are not lost. Where the commit has no labels within reach, all patients are new.
    """
    now = Checkout(workspace)
    try:
        known = labelled(Snapshot(workspace, "HEAD"))
    except DataError:
        known = frozenset()
    patients = labelled(now)
    change = Change(len(patients), len(patients - known), len(known - patients - withdrawn(now)))
    if change.lost:
        said = "The labels shrank: %d of the %d patients of the commit have none now and were not withdrawn. %s"
        get_run_logger().warning(said, change.lost, len(known), REMEDY)
    return change
