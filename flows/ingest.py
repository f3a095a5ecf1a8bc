"""The flow `ingest_new_studies`: read what came, and say when enough new labelled patients are there to retrain."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.events import emit_event
from prefect.variables import Variable
from pydantic import PositiveInt

from flows import labels, programs, repro, workspace
from flows.stages import Minutes, die_with_worker, run_stages
from pipeline import config, params
from pipeline.files import read_csv

#: Emitted when enough new labelled patients are there; the deployment `retrain` waits for it.
PATIENTS_NEW = "mri-transfer.patients.new"
#: Which commit's patients were last compared with, and how many new ones were told of.
TOLD = "mri_transfer_patients_told"

INGESTED = Path("data/ingested")


@flow(name="ingest-new-studies", description="Run `sources` and `ingest`; tell when enough new patients are labelled.")
def ingest_new_studies(
    repository: Path | None = None,
    enough_patients: PositiveInt = 20,
    timeout_minutes: dict[str, Minutes] | None = None,
) -> None:
    """Read the scans that came since the last run; those that were read before are not read again.

    What is read goes to DVC's cache, where the next `retrain` finds it. New are labelled patients that the commit which
    is checked out does not have. Each is told of once, or a model that fails would start training over and over.

    Args:
        repository: the project's folder; None for the current one.
        enough_patients: new labelled patients at which the event `mri-transfer.patients.new` is emitted.
        timeout_minutes: that a stage may take, by its name; a day for those not named.

    Raises:
        StageError: a stage failed.
        ConfigError: as `retrain`.
    """
    die_with_worker()
    folder = (repository or Path()).resolve()
    with workspace.clone(folder) as here:
        params.check(config.load(here / "params.yaml"), here)
        for _ in run_stages(here, repro.order(here, last="ingest"), minutes=timeout_minutes):
            pass
        change = labels.changed(here)
        _show(here, change)
        commit = programs.git(here, "rev-parse", "HEAD")
    _tell(commit, change.new, enough_patients)


def _show(here: Path, change: labels.Change) -> None:
    """Counts as a table; no pseudonym is among them."""
    volumes = len(read_csv(here / INGESTED / "index.csv"))
    refused = Counter(row["reason"] for row in read_csv(here / INGESTED / "rejected.csv"))
    patients = {
        "labelled patients": change.labelled,
        "of them new": change.new,
        "patients without label now": change.lost,
    }
    counts = {"volumes": volumes, **patients}
    rows = [{"what": what, "count": count} for what, count in counts.items()]
    rows += [{"what": f"refused: {reason}", "count": count} for reason, count in sorted(refused.items())]
    create_table_artifact(rows, key="ingested", description="What the scans' folder holds")


def _tell(commit: str, new: int, enough: int) -> None:
    """Emit the event if enough patients are new that it was not emitted for since this commit."""
    told: Any = Variable.get(TOLD)
    before = told["new"] if told and told["commit"] == commit else 0
    get_run_logger().info("%d labelled patients are new, %d of them told of before", new, before)
    if new - before < enough:
        return
    resource = {"prefect.resource.id": "mri-transfer.patients", "prefect.resource.name": "labelled patients"}
    emit_event(PATIENTS_NEW, resource, payload={"new": new, "since": commit})
    Variable.set(TOLD, {"commit": commit, "new": new}, overwrite=True)
