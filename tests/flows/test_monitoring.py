"""The flow `monitor`, run as a program against a real server."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from flows import monitoring
from pipeline.errors import ConfigError
from pipeline.files import read_json, sha256_file, write_json
from pipeline.monitoring import reports, simulate
from pipeline.monitoring.reference import read
from tests.inference.conftest import graph as graph
from tests.inference.conftest import make_release as make_release
from tests.inference.conftest import network as network

pytestmark = pytest.mark.acceptance

PROGRAM = "import sys; from pathlib import Path; from flows.monitoring import monitor; "
PROGRAM += "print(monitor(*map(Path, sys.argv[1:])))"


@pytest.fixture(scope="session")
def release(make_release: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("monitored") / "release", drawn=True)


@pytest.fixture
def api(prefect_environment: dict[str, str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=prefect_environment["PREFECT_API_URL"], trust_env=False) as client:
        yield client


def _run(environment: dict[str, str], *places: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, places)], env=environment, capture_output=True, text=True, check=False
    )


def _events(api: httpx.Client, sha256: str, wanted: int) -> list[dict[str, Any]]:
    """Events of drift of a release; a server writes them down a moment after they were sent."""
    resource = {"id": [f"mri-transfer.release.{sha256[:12]}"]}
    asked = {"filter": {"event": {"name": ["mri-transfer.drift"]}, "resource": resource}}
    deadline = time.monotonic() + 30
    found: list[dict[str, Any]] = []
    while len(found) < wanted and time.monotonic() < deadline:
        found = api.post("/events/filter", json=asked).raise_for_status().json()["events"]
        time.sleep(0.3)
    return found


def _report(release: Path, folder: Path, studies: int, seed: int, shift: Any, skipped: int = 0) -> None:
    """Write down what is simulated from `skipped` on."""
    known, sha256 = read(release / "reference.npz"), sha256_file(release / "SHA256SUMS")
    for report in list(simulate.stream(known, sha256, studies, seed, shift, after=100))[skipped:]:
        reports.append(folder, report)


def test_an_alarm_is_an_event_once_and_the_table_an_artifact(
    release: Path, tmp_path: Path, api: httpx.Client, prefect_environment: dict[str, str]
) -> None:
    box, out = tmp_path / "box", tmp_path / "out"
    sha256 = sha256_file(release / "SHA256SUMS")
    _report(release, box, 90, 0, "vendor")
    quiet = _run(prefect_environment, release, box, out)
    assert (quiet.returncode, quiet.stdout.strip()) == (0, "False"), quiet.stderr
    _report(release, box, 200, 0, "vendor", skipped=90)
    for _ in range(2):
        loud = _run(prefect_environment, release, box, out)
        assert (loud.returncode, loud.stdout.strip()) == (0, "True"), loud.stderr
    (event,) = _events(api, sha256, 1)
    assert "vendor" in event["payload"]["monitors"]
    assert event["payload"]["studies"] == 200
    assert event["resource"]["prefect.resource.name"] == "mri-transfer-demo 0.1.0"
    artifacts = api.post("/artifacts/filter", json={"artifacts": {"key": {"any_": ["drift"]}}, "sort": "CREATED_DESC"})
    texts = [artifact["data"] for artifact in artifacts.raise_for_status().json()]
    assert [text.startswith("# Drift: ") for text in texts] == [True, True, False]
    assert read_json(out / "drift.json")["alarm"]
    with pytest.raises(ConfigError, match="found that of .*box. Give each box an `out` of its own"):
        monitoring.monitor.fn(release, tmp_path / "another", out)
    # The same reports, first looked at under another release: its alarms are not those of this one.
    write_json(out / "drift.json", {**read_json(out / "drift.json"), "release": {"sha256": "0" * 64}})
    _run(prefect_environment, release, box, out)
    assert len(_events(api, sha256, 2)) == 2


def test_what_cannot_be_used_fails_the_flow(release: Path, tmp_path: Path, prefect_environment: dict[str, str]) -> None:
    done = _run(prefect_environment, release, tmp_path / "nowhere", tmp_path / "out")
    assert done.returncode == 1
    assert "DataError: expected a folder of reports" in done.stderr
