"""The flow `ingest_new_studies`: what came, and when it says so."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient

from tests.flows import runs, versioned
from tests.waiting import within

pytestmark = pytest.mark.acceptance

#: As `ingest` does: tables of what lies in a folder outside the project.
STEP = """
import sys
from pathlib import Path
from pipeline.files import write_csv

patients = Path(sys.argv[1]).read_text().split()
write_csv(Path("data/ingested/index.csv"), ["series", "patient"], [{"series": p, "patient": p} for p in patients])
write_csv(Path("data/ingested/labels.csv"), ["series", "patient"], [{"series": p, "patient": p} for p in patients])
write_csv(Path("data/ingested/rejected.csv"), ["source", "reason"], [{"source": "R-1", "reason": "not_mr"}])
"""
DAG = """
stages:
  ingest: {{cmd: exec python step.py {scans}, deps: [step.py, {scans}], outs: [data/ingested]}}
  split: {{cmd: exit 1, deps: [data/ingested], outs: [data/split.csv]}}
"""


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    (tmp_path / "scans.txt").write_text("P-1 P-2 P-3")
    return tmp_path / "scans.txt"


@pytest.fixture
def project(root: Path, tmp_path: Path, scans: Path) -> versioned.Project:
    """Three labelled patients were there when it was last committed."""
    project = versioned.make(root, tmp_path / "project", STEP, DAG.format(scans=scans))
    project("dvc", "repro", "ingest")
    project.commit("Ingested")
    return project


def test_new_labelled_patients_are_told_of_once_and_when_they_are_enough(
    project: versioned.Project, scans: Path, prefect_environment: dict[str, str], client: SyncPrefectClient
) -> None:
    commit = project("git", "rev-parse", "HEAD")
    told = []
    for patients in (5, 7, 7, 11):
        scans.write_text(" ".join(f"P-{number}" for number in range(1, patients + 1)))
        assert (
            runs.call(
                "flows.ingest:ingest_new_studies",
                prefect_environment,
                repository=str(project.folder),
                enough_patients=4,
            )
            == 0
        )
        counts = {
            row["what"]: row["count"] for row in json.loads(runs.artifacts(client, runs.last(client))["ingested"][1])
        }
        assert counts == {
            "volumes": patients, "labelled patients": patients, "of them new": patients - 3,
            "patients without label now": 0, "refused: not_mr": 1,
        }  # fmt: skip
        told = {5: [], 7: [4], 11: [4, 8]}[patients]
        assert within(30, lambda told=told: _told(prefect_environment, commit) == told), told
    # It leaves the repository as it was; `retrain` is what commits.
    assert project("git", "rev-parse", "HEAD") == commit
    assert project("git", "status", "--porcelain", "--untracked-files=no") == ""


def test_patients_who_lost_their_label_are_counted_and_said(
    project: versioned.Project, scans: Path, prefect_environment: dict[str, str], client: SyncPrefectClient
) -> None:
    project.write("data/withdrawn.csv", "patient\nP-3\n")
    project.commit("Withdrawn")
    scans.write_text("P-1")
    assert runs.call("flows.ingest:ingest_new_studies", prefect_environment, repository=str(project.folder)) == 0
    rows = json.loads(runs.artifacts(client, runs.last(client))["ingested"][1])
    assert {"what": "patients without label now", "count": 1} in rows
    assert within(30, lambda: _says_so(client))


def test_retrain_says_it_of_them_too(
    project: versioned.Project, scans: Path, prefect_environment: dict[str, str], client: SyncPrefectClient
) -> None:
    scans.write_text("P-1 P-3")
    assert runs.call("flows.retrain:retrain", prefect_environment, repository=str(project.folder)) != 0  # `split` fails
    assert within(30, lambda: _says_so(client))


def _says_so(client: SyncPrefectClient) -> bool:
    """Whether the last run's log says that one patient lost the label."""
    said = "The labels shrank: 1 of the 3 patients of the commit have none now and were not withdrawn. Give ingest"
    return any(said in line for line in runs.log(client, runs.last(client)))


def _told(environment: dict[str, str], commit: str) -> list[int]:
    """How many new patients each event of this commit tells of, the oldest first."""
    asked = {"filter": {"event": {"name": ["mri-transfer.patients.new"]}, "order": "ASC"}}
    request = urllib.request.Request(
        f"{environment['PREFECT_API_URL']}/events/filter",
        data=json.dumps(asked).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        events: list[dict[str, Any]] = json.load(answer)["events"]
    return [event["payload"]["new"] for event in events if event["payload"].get("since") == commit]
