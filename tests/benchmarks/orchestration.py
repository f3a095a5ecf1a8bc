"""What Prefect adds to `dvc repro -s`, stage after stage: `python -m tests.benchmarks.orchestration [--rounds 7]`.

A project of twelve stages that do nothing, on this machine's disk. In turn, round by round: the stages by a plain loop
of `dvc repro -s`; the flow `retrain` in the same folder, as a program; and the same through deployment, work pool and
worker, from the moment it is asked for. Printed are medians over the rounds, and what each adds to the loop, a stage.
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
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.states import Scheduled

from tests import prefect_server
from tests.waiting import within

ROOT = Path(__file__).resolve().parent.parent.parent
STAGES = [f"stage{number:02}" for number in range(12)]
WAYS = ("dvc repro -s, in a loop", "retrain, as a program", "retrain, by a worker")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
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
        ways: dict[str, Callable[[], None]] = {
            WAYS[0]: lambda: _loop(project, environment),
            WAYS[1]: lambda: _program(project, environment),
            WAYS[2]: lambda: _worker(project, api),
        }
        for changed in (False, True):
            title = "every stage runs, and copies a file" if changed else "nothing changed"
            _table(title, _measured(ways, project, rounds, changed))


def _project(folder: Path) -> Path:
    """Twelve stages in a row, all up to date."""
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


def _measured(ways: dict[str, Callable[[], None]], project: Path, rounds: int, changed: bool) -> dict[str, list[float]]:
    """Seconds of each way in each round, in turn; the first round is not counted."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, run in ways.items():
            if changed:
                (project / "seed.txt").write_text(f"{way} {turn} {time.time()}")
            begin = time.monotonic()
            run()
            if turn:
                seconds[way].append(time.monotonic() - begin)
    return seconds


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


def _table(title: str, seconds: dict[str, list[float]]) -> None:
    base = seconds[WAYS[0]]
    print(f"\n{title}: {len(STAGES)} stages, {len(base)} rounds\n")
    print("| | run, s (median, range) | added a stage, s (median) |\n|---|---|---|")
    for way, found in seconds.items():
        added = statistics.median((mine - theirs) / len(STAGES) for mine, theirs in zip(found, base, strict=True))
        print(f"| {way} | {statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f}) | {added:.2f} |")


if __name__ == "__main__":
    main()
