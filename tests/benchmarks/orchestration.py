"""What Prefect adds to `dvc repro -s`, stage after stage: `python -m tests.benchmarks.orchestration [--rounds 3]`.

A project of fifteen stages that do nothing, as many as the demo has, on this machine's disk. In turn, round by round:
the stages by a plain loop of `dvc repro -s`; the flow `retrain` in the same folder, as a program; and the same through
deployment, work pool and worker, from the moment it is asked for. Printed are medians over the rounds, what each adds
to the loop, a stage, and how long it takes until the first stage begins, which is part of that.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterStartTime
from prefect.states import Scheduled

from tests import prefect_server
from tests.waiting import within

ROOT = Path(__file__).resolve().parent.parent.parent
STAGES = [f"stage{number:02}" for number in range(15)]
WAYS = ("dvc repro -s, in a loop", "retrain, as a program", "retrain, by a worker")


class Taken(NamedTuple):
    """Seconds of a run: the whole, and until the first task of Prefect began (0 without Prefect)."""

    whole: float
    first: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        home = Path(folder) / "prefect"
        home.mkdir()
        environment = running.enter_context(prefect_server.server(home))
        environment["DVC_NO_ANALYTICS"] = "1"
        project = _project(Path(folder) / "project")
        prefect_server.deploy(environment)
        running.enter_context(prefect_server.worker(home, environment))
        api = running.enter_context(SyncPrefectClient(environment["PREFECT_API_URL"]))
        ways: dict[str, Callable[[], object]] = {
            WAYS[0]: lambda: _loop(project, environment),
            WAYS[1]: lambda: _program(project, environment),
            WAYS[2]: lambda: _worker(project, api),
        }
        _measured(ways, project, api, 1, True)  # files and modules are read for the first time
        for changed in (False, True):
            title = "every stage runs, and copies a file" if changed else "nothing changed"
            _table(title, _measured(ways, project, api, rounds, changed))


def _project(folder: Path) -> Path:
    """The stages in a row, all up to date."""
    folder.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "seed.txt").write_text("0")
    stages = [
        f"  {stage}: {{cmd: 'cp {before}.txt {stage}.txt', deps: [{before}.txt], outs: [{stage}.txt]}}"
        for before, stage in zip(["seed", *STAGES], STAGES, strict=False)
    ]
    (folder / "dvc.yaml").write_text("\n".join(["stages:", *stages]) + "\n")
    return folder


def _measured(
    ways: dict[str, Callable[[], object]], project: Path, api: SyncPrefectClient, rounds: int, changed: bool
) -> dict[str, list[Taken]]:
    """What each way took in each round, in turn."""
    found: dict[str, list[Taken]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way, run in ways.items():
            if changed:
                (project / "seed.txt").write_text(f"{way} {turn} {time.time()}")
            asked, begin = datetime.now(UTC), time.monotonic()
            run()
            whole = time.monotonic() - begin
            since = TaskRunFilter(start_time=TaskRunFilterStartTime.model_validate({"after_": asked}))
            starts = [
                task.start_time.timestamp() for task in api.read_task_runs(task_run_filter=since) if task.start_time
            ]
            found[way].append(Taken(whole, min(starts, default=asked.timestamp()) - asked.timestamp()))
    return found


def _loop(project: Path, environment: dict[str, str]) -> None:
    for stage in STAGES:
        command = [sys.executable, "-m", "dvc", "--wait-for-lock", "repro", "--single-item", stage]
        subprocess.run(command, cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)


def _program(project: Path, environment: dict[str, str]) -> None:
    code = f"from flows.retrain import retrain; retrain(repository={str(project)!r}, in_place=True)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True, stderr=subprocess.DEVNULL)


def _worker(project: Path, api: SyncPrefectClient) -> None:
    deployment = api.read_deployment_by_name("retrain/retrain").id
    parameters = {"repository": str(project), "in_place": True}
    run = api.create_flow_run_from_deployment(deployment, parameters=parameters, state=Scheduled()).id
    assert within(300, lambda: bool((state := api.read_flow_run(run).state) and state.is_final()))
    state = api.read_flow_run(run).state
    assert state is not None
    assert state.is_completed(), state.message


def _table(title: str, found: dict[str, list[Taken]]) -> None:
    base = found[WAYS[0]]
    print(f"\n{title}: {len(STAGES)} stages, {len(base)} rounds\n")
    print("| | run, s (median, range) | added a stage, s (median) | until the first stage, s (median) |")
    print("|---|---|---|---|")
    for way, taken in found.items():
        wholes = [each.whole for each in taken]
        added = statistics.median(
            (mine.whole - plain.whole) / len(STAGES) for mine, plain in zip(taken, base, strict=True)
        )
        first = statistics.median(each.first for each in taken)
        median = statistics.median(wholes)
        print(
            f"| {way} | {median:.1f} ({min(wholes):.1f} to {max(wholes):.1f}) | {added:.2f} | {first:.1f} |", flush=True
        )


if __name__ == "__main__":
    main()
