"""Promotion, rollback and evaluation as flows against a real server: git, DVC and releases are real, too."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter

from flows import promotion, versions
from pipeline.errors import ConfigError
from pipeline.files import write_csv
from pipeline.inference.signature import SUMS, check_sums
from tests.flows import releases
from tests.flows.releases import NAME, Released
from tests.waiting import within

pytestmark = pytest.mark.acceptance

#: Runs flows over a project, one after the other, and prints of each how it ended, and what boxes find then.
PROGRAM = """
import json, sys, time
from pathlib import Path
from flows import promotion
from pipeline.files import sha256_file

project, link, steps = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
for flow, given in steps:
    begin = time.monotonic()
    state = getattr(promotion, flow)(project, return_state=True, **given)
    took = time.monotonic() - begin
    found = sha256_file(link / "SHA256SUMS") if link.exists() else None
    run = str(state.state_details.flow_run_id)
    print(json.dumps(["ended", run, state.name, state.message, found, took]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a flow ended, in what words, with which rows in its artifact, what boxes find then, and after what time.

    Attributes:
        production: the hash of what they find; None where there is nothing.
    """

    state: str
    message: str
    rows: list[dict[str, str]]
    production: str | None
    seconds: float

    @property
    def verdicts(self) -> dict[str, str]:
        """Of each check."""
        return {row["check"]: row["verdict"] for row in self.rows}


#: Flows by their names, each with or without parameters.
Run = Callable[..., list[Ended]]


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Released:
    """Three releases: the second is better than the others. Nothing is in production."""
    project = releases.make(root, tmp_path_factory.mktemp("released"), tmp_path_factory.getbasetemp() / "graphs")
    for number, quality in enumerate(("good", "better", "good"), start=1):
        project.release(f"1.{number}.0", quality)
    return project


@pytest.fixture
def project(built: Released, tmp_path: Path) -> Released:
    return built.copy(tmp_path)


@pytest.fixture
def run(prefect_environment: dict[str, str], client: SyncPrefectClient, project: Released) -> Run:
    def _run(*steps: str | tuple[str, dict[str, Any]]) -> list[Ended]:
        asked = [(step, {}) if isinstance(step, str) else step for step in steps]
        link = project.store / NAME / "production"
        command = [sys.executable, "-c", PROGRAM, str(project.folder), str(link), json.dumps(asked)]
        done = subprocess.run(command, env=prefect_environment, stdout=subprocess.PIPE, text=True, check=True)
        ended = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["ended"')]
        assert len(ended) == len(steps)
        return [Ended(state, message or "", _rows(UUID(flow)), *rest) for _, flow, state, message, *rest in ended]

    def _rows(flow: UUID) -> list[dict[str, str]]:
        of_this_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow]))
        found = client.read_artifacts(artifact_filter=of_this_run)
        return [row for each in found if each.key in ("promotion", "production") for row in json.loads(each.data)]

    return _run


def _promote(version: str, **given: Any) -> tuple[str, dict[str, Any]]:
    return "promote", {"version": version, **given}


def test_better_one_is_promoted_a_worse_one_is_not_and_rollback_restores_the_hash(
    project: Released, run: Run, client: SyncPrefectClient
) -> None:
    first, second, worse, back, further = run(_promote("1.1.0"), _promote("1.2.0"), "promote", "rollback", "rollback")
    assert (first.state, first.verdicts) == (
        "Completed",
        {"acceptance": "pass", "signature": "pass", "not worse": "pass"},
    )
    assert first.rows[2]["found"] == "there is none yet: nothing to compare with"
    assert second.state == "Completed"
    assert second.verdicts == dict.fromkeys(
        ["acceptance", "signature", "labels", "question", "patients", "not worse"], "pass"
    )
    assert worse.state == "Failed"
    assert worse.verdicts == {**second.verdicts, "not worse": "FAIL"}
    assert "1.3.0 to be fit for production (not worse: AUROC minus that of production above -0.05" in worse.message
    assert "Production stays as it is" in worse.message
    assert back.state == "Completed"
    assert back.seconds < 60
    hashes = [each.production for each in (first, second, worse, back)]
    assert hashes == [hashes[0], hashes[1], hashes[1], hashes[0]]
    assert hashes[0] != hashes[1]
    assert further.state == "Failed"
    assert "that was in production before; found none" in further.message
    check_sums(project.store / NAME / "production")
    current = versions.production(project.folder, NAME)
    assert current is not None
    assert current.tag == f"{NAME}@v1.1.0"
    moves = project("git", "tag", "--list", f"{NAME}#*").split()
    assert moves == [f"{NAME}#production{move}" for move in ("!#3", "!#5", "#1", "#2", "#4")]
    said = project("git", "tag", "--list", "--format=%(contents)", f"{NAME}#production#2")
    assert "signature: pass, promote.public_key names no key to check by; asked: nobody's signature" in said
    assert "; asked: AUROC minus that of production above -0.05" in said
    resource = f"mri-transfer.model.{NAME}"
    told = {(f"{NAME}@v1.1.0", hashes[0]), (f"{NAME}@v1.2.0", hashes[1])}
    assert within(60, lambda: _moves(client, resource) == told), _moves(client, resource)


def test_what_is_not_committed_is_not_asked_by(project: Released) -> None:
    project.change("margin: 0.05", "margin: 0.4")
    for flow in (promotion.promote, promotion.rollback, promotion.evaluate_production):
        with pytest.raises(ConfigError, match=r"params.yaml in .* as it was committed; found a change. Commit it"):
            flow.fn(project.folder)


def _moves(client: SyncPrefectClient, resource: str) -> set[tuple[str, str]]:
    """Versions and hashes that events tell of."""
    asked = EventFilter(
        event=EventNameFilter(name=["mri-transfer.promoted", "mri-transfer.rolled-back"]),
        resource=EventResourceFilter(id=[resource]),
    )
    return {
        (each.payload["version"], each.payload["sha256sums"]) for each in client.read_events(asked, limit=50).events
    }


def test_someone_may_answer_for_what_is_worse_and_it_stands_in_the_tag(project: Released, run: Run) -> None:
    waiver = {"by": "Dr Example", "reason": "the scanner is gone"}
    *_, waived = run(_promote("1.2.0"), _promote("1.3.0", waiver=waiver))
    assert (waived.state, waived.verdicts["not worse"]) == ("Completed", "waived")
    said = project("git", "tag", "--list", "--format=%(contents)", f"{NAME}#production#2")
    assert "waived by Dr Example: the scanner is gone" in said


def test_production_is_evaluated_on_whom_it_did_not_learn_from(run: Run) -> None:
    none, _, evaluated = run("evaluate_production", _promote("1.2.0"), "evaluate_production")
    assert none.state == "Failed"
    assert "expected a version of mri-transfer-demo in production; found none" in none.message
    figures = {row["figure"]: row["now"] for row in evaluated.rows}
    assert (evaluated.state, figures["patients"]) == ("Completed", str(releases.PATIENTS - releases.TAUGHT))
    assert float(figures["AUROC"].split()[0]) > 0.9
    text = json.dumps(evaluated.rows)
    assert not any(releases.patient(number) in text for number in range(releases.PATIENTS))


def test_labels_that_shrank_stop_promotion_and_evaluation(project: Released, run: Run) -> None:
    made, last = project.material / "77", project.material / "1130"
    releases.ingested(made / "ingested", releases.PATIENTS - 5)
    for name in ("release", "split.csv", "acceptance.json"):
        (made / name).symlink_to(last / name)
    project.run(77, "Five patients lost their labels")
    _, *stopped = run(_promote("1.1.0"), "promote", "evaluate_production")
    for each in stopped:
        assert each.state == "Failed"
        assert f"of the {releases.PATIENTS} patients that {NAME}@v1.1.0 had" in each.message
        assert "the labels shrank: 5 have none in" in each.message
    gone = [{"patient": releases.patient(number)} for number in range(releases.PATIENTS - 5, releases.PATIENTS)]
    write_csv(project.folder / "data/withdrawn.csv", ["patient"], gone)
    project.commit("They were withdrawn")
    [evaluated] = run("evaluate_production")
    assert evaluated.state == "Completed"


def test_killed_move_is_healed_and_what_was_changed_in_the_store_is_not_put_back(project: Released, run: Run) -> None:
    first, second = run(_promote("1.1.0"), _promote("1.2.0"))
    # Killed after the tag and before the link.
    link = project.store / NAME / "production"
    link.unlink()
    link.symlink_to("v1.1.0")
    assert project.production == first.production
    with open(project.store / NAME / "v1.1.0/model.onnx", "ab") as graph:
        graph.write(b"x")
    healed, back = run("evaluate_production", "rollback")
    assert (healed.production, back.production) == (second.production, second.production)
    assert back.state == "Failed"
    assert f"expected model.onnx with the SHA-256 of {SUMS}; found another content" in back.message
