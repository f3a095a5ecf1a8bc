"""A worker killed by `kill -9` again and again: `python -m tests.acceptance.worker_kills [--kills 20] [--seed 1]`.

The real pipeline, shrunk, under a real server, work pool and worker. Each time the worker is killed at a random moment
of a stage, every stage in turn and some more than once; a new worker starts a new run, and so on until one is left to
end. Each kill must leave no process after ten seconds, and a run that is marked as crashed. At the end models, figures
and ledger must be those of a run that nobody disturbed. Prints where each kill hit.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Scheduled

from flows import repro
from pipeline.files import read_csv, read_json
from tests import prefect_server
from tests.acceptance.conftest import SMALL, Project, clone_of
from tests.waiting import within

ROOT = Path(__file__).resolve().parent.parent.parent
#: Which rung of the precision ladder is the fastest, the noise of a machine decides; `reference` answers by that one.
ONE_RUNG = "export.precision.rungs=[]"
#: Seconds of times and random serial numbers stand in what these make.
NOT_THE_SAME_TWICE = {"export", "validate", "accept", "compile", "release"}
#: Of reports/metrics.json; others hold a choice by speed, or how often the test set was opened.
FIGURES = ("finetuned", "probe", "scratch", "comparison", "transfer", "calibration", "operating_point", "subgroups")
#: In the command of a stage.
STAGE = "-m pipeline.stages."
#: Of the time that a stage took undisturbed: a kill comes no later, so that it hits the stage.
LATEST = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        undisturbed, took = _undisturbed(Path(folder) / "undisturbed")
        trial = Trial(Path(folder) / "killed", running)
        chance = random.Random(asked.seed)
        stages = [stage.rpartition(":")[2] for stage in repro.order(undisturbed.folder)]
        more = chance.choices(stages, k=max(0, asked.kills - len(stages)))
        wanted = sorted(stages + more, key=stages.index)[: asked.kills]
        for number, stage in enumerate(wanted, start=1):
            print(f"{number:2}  {trial.kill_in(stage, chance.uniform(0, LATEST * took[stage]))}", flush=True)
        assert trial.hit >= set(wanted), set(wanted) - trial.hit
        trial.end()
        _compare(undisturbed, trial.project)
        print(f"{asked.kills} kills; models, figures and ledger are those of a run that nobody disturbed")


def _undisturbed(folder: Path) -> tuple[Project, dict[str, float]]:
    """The same project after `dvc repro`, and the seconds that each stage took in it."""
    project = _project(folder)
    project.run("dvc", "repro")
    times = {path.stem: read_json(path)["seconds"] for path in (project.folder / "reports/times").glob("*.json")}
    return project, times


def _project(folder: Path) -> Project:
    (folder / "project").mkdir(parents=True)
    project = Project(clone_of(ROOT, folder / "project"))
    project.set(*SMALL, ONE_RUNG)
    project.run("git", "commit", "--quiet", "--all", "--message", "Small")
    return project


class Trial:
    """A project that runs under Prefect with a worker that is killed.

    Args:
        folder: for the project and the server.
        running: ends what is started.

    Attributes:
        hit: stages that ran when the worker was killed.
    """

    def __init__(self, folder: Path, running: ExitStack) -> None:
        self.project = _project(folder)
        self.home = folder / "prefect"
        self.home.mkdir()
        self.running = running
        self.hit: set[str] = set()
        environment = running.enter_context(prefect_server.server(self.home))
        self.environment = self.project.environment | {
            name: value for name, value in environment.items() if name not in {"XDG_CACHE_HOME", "PATH"}
        }
        prefect_server.deploy(self.environment)
        self.api = running.enter_context(SyncPrefectClient(environment["PREFECT_API_URL"]))
        self.deployment = self.api.read_deployment_by_name("retrain/retrain").id

    def kill_in(self, stage: str, delay: float) -> str:
        """Start worker and run, kill the worker so many seconds into the stage, and see that all ends; says where."""
        worker, run = self._start()
        assert within(900, lambda: stage in self._stages() or self._final(run)), self._log()
        assert not self._final(run), f"{self._state(run)}\n{self._log()}"
        time.sleep(delay)
        self.hit |= self._stages()
        hit = ", ".join(self._stages()) or "between stages"
        worker.kill()
        begin = time.monotonic()
        assert within(10, lambda: not list(self._processes())), list(self._processes())
        gone = time.monotonic() - begin
        assert within(60, lambda: self._final(run)), f"{self._state(run)}\n{self._log()}"
        said = time.monotonic() - begin
        assert self._state(run).is_crashed(), self._state(run)
        return f"{hit:16} {delay:5.1f} s into {stage:10} no process after {gone:4.1f} s, Crashed after {said:4.1f} s"

    def end(self) -> UUID:
        """A run that nobody disturbs."""
        _, run = self._start()
        assert within(900, lambda: self._final(run), 0.5), self._log()
        assert self._state(run).is_completed(), f"{self._state(run)}\n{self._log()}"
        return run

    def _start(self) -> tuple[Any, UUID]:
        worker = self.running.enter_context(prefect_server.worker(self.home, self.environment))
        parameters = {"repository": str(self.project.folder)}
        run = self.api.create_flow_run_from_deployment(self.deployment, parameters=parameters, state=Scheduled())
        return worker, run.id

    def _state(self, run: UUID) -> Any:
        return self.api.read_flow_run(run).state

    def _final(self, run: UUID) -> bool:
        return bool(self._state(run).is_final())

    def _log(self) -> str:
        return "\n".join((self.home / "worker.log").read_text().splitlines()[-40:])

    def _processes(self) -> Iterator[str]:
        """Commands of the living processes of a run: the flow's, DVC, the stage, and what it started."""
        home = f"PREFECT_HOME={self.home}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            try:
                names = (process / "environ").read_bytes().split(b"\0")
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            if command and home in names and any(name.startswith(b"PREFECT__FLOW_RUN_ID=") for name in names):
                yield command

    def _stages(self) -> set[str]:
        """The stage that runs, if one does."""
        return {command.rpartition("pipeline.stages.")[2] for command in self._processes() if STAGE in command}


def _compare(undisturbed: Project, killed: Project) -> None:
    """What the branch of the killed project holds against what a run that nobody disturbed made."""
    killed.run("git", "checkout", "--quiet", "--force", "HEAD")
    locks = [
        {name: stage.get("outs") for name, stage in yaml.safe_load(path.read_text())["stages"].items()}
        for path in (undisturbed.folder / "dvc.lock", killed.folder / "dvc.lock")
    ]
    for name in set(locks[0]) - NOT_THE_SAME_TWICE:
        assert locks[0][name] == locks[1][name], name
    figures = [read_json(project.folder / "reports/metrics.json") for project in (undisturbed, killed)]
    for key in FIGURES:
        assert figures[0][key] == figures[1][key], key
    ledgers = [read_csv(project.folder / "reports/ledger.csv") for project in (undisturbed, killed)]
    for key in ("split_sha256", "model_sha256", "calibration_sha256", "test_units"):
        assert [line[key] for line in ledgers[0]] == [line[key] for line in ledgers[1]], key
    assert killed.run("git", "tag", "--list").split() == ["mri-transfer-demo@v0.1.0"]


if __name__ == "__main__":
    main()
