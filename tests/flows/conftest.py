"""A toy project under DVC, and a Prefect server of its own."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from tests import prefect_server

#: A stage like those of the product: it reads params.yaml and runs under the same runner.
STEP = """
import sys, time
from pathlib import Path
from pipeline.clinical import ledger
from pipeline.errors import SplitError, StorageError
from pipeline.files import write_json
from pipeline.progress import say
from pipeline.stages import runner

name = sys.argv[1]

def step(params):
    with Path("runs.txt").open("a") as runs:
        runs.write(name + "\\n")
    say(f"{name} counts patients")
    trouble = Path(f"{name}.trouble")
    word = trouble.read_text() if trouble.exists() else ""
    if word == "fail":
        raise SplitError("two sites", "one", "Give another.")
    if word == "full":
        trouble.unlink()
        raise StorageError("room", "none", "Free some.")
    if word == "look":
        ledger.record(Path("reports/ledger.csv"), ledger.Key("split", name, "calibration"), 20)
        raise SplitError("two sites", "one", "Give another.")
    if word == "crash":
        sys.exit("segments of bone")
    if word == "sleep":
        import os
        Path("sleeping").write_text(str(os.getpid()))
        time.sleep(300)
    if name == "validate":
        figure = {"value": 0.9, "low": 0.8, "high": 0.95}
        write_json(Path("reports/metrics.json"), {
            "finetuned": {"auroc": figure}, "probe": {"auroc": figure}, "scratch": {"auroc": figure},
            "operating_point": {"threshold": 0.5, "sensitivity": figure, "specificity": figure},
            "calibration": {"brier": {"value": 0.1, "low": 0.05, "high": 0.15}},
            "test": {"patients": 30, "units": 31, "positives": 12},
            "transfer": {"verdict": "positive", "difference": 0.1, "low": 0.05, "high": 0.2}})
        Path("reports/report.html").write_text("a report")
        passed = {"bound": "at least 0.5", "value": 0.9, "passed": True, "reason": None, "waived": False}
        write_json(Path("reports/acceptance.json"), {"criteria": [
            {**passed, "metric": "finetuned.auroc.value"},
            {**passed, "metric": "calibration.brier.value", "passed": False, "reason": "0.1"}]})
        write_json(Path("models/backbone/card.json"), {"name": "resnet18", "licence": "a|b", "origins": []})
    Path(f"{name}.txt").write_text(f"{name} {params.seed} {params.release.version if name == 'release' else ''}")

runner.run(name, step)
"""

# `exec`, so that the stage is a child of DVC itself under every shell.
DAG = """
stages:
  split: {cmd: exec python step.py split, deps: [demo.txt], outs: [split.txt]}
  finetune: {cmd: exec python step.py finetune, deps: [split.txt], outs: [finetune.txt]}
  validate:
    cmd: exec python step.py validate
    deps: [finetune.txt]
    outs: [validate.txt]
    metrics: [reports/metrics.json: {cache: false}]
"""
UPSTREAM = "stages:\n  demo: {wdir: ../.., cmd: exec python step.py demo, outs: [demo.txt]}\n"
UNRELATED = "stages:\n  other: {cmd: exit 1, outs: [other.txt]}\n"


@pytest.fixture
def toy(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four stages: `demo`, which stands in another dvc.yaml, then `split`, `finetune` and `validate`."""
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    project = tmp_path / "toy"
    project.mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=project, check=True)
    shutil.copytree(root / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    for name, text in {
        "step.py": STEP,
        "dvc.yaml": DAG,
        "data/demo/dvc.yaml": UPSTREAM,
        "elsewhere/dvc.yaml": UNRELATED,
        "params.yaml": (root / "params.yaml").read_text(),
    }.items():
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return project


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which `prefect` finds a real server on a free loopback port, with an empty database."""
    with prefect_server.server(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment


@pytest.fixture
def client(prefect_environment: dict[str, str]) -> Iterator[SyncPrefectClient]:
    """Of that server, which is then the one of this process, too."""
    place = {
        PREFECT_API_URL: prefect_environment["PREFECT_API_URL"],
        PREFECT_HOME: prefect_environment["PREFECT_HOME"],
    }
    with temporary_settings(place), get_client(sync_client=True) as client:
        yield client
