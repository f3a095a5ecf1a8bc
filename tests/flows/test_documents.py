"""What docs/prefect.md and the files of Prefect say, held against each other and against Prefect's own schemas."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import get_current_settings

from flows import ingest, stages


def test_automation_of_the_guide_is_one_that_prefect_takes(root: Path) -> None:
    [text] = re.findall(r"```yaml\n(.*?)```", (root / "docs/prefect.md").read_text(), re.DOTALL)
    automation = AutomationCore.model_validate(yaml.safe_load(text))
    assert [action.type for action in automation.actions] == ["call-webhook", "send-notification"]


def test_events_that_start_deployments_are_those_that_are_emitted_and_documented(root: Path) -> None:
    deployments = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    expected = {
        deployment["name"]: trigger["expect"]
        for deployment in deployments
        for trigger in deployment.get("triggers", [])
    }
    assert expected == {"retrain": [ingest.PATIENTS_NEW], "ingest-new-studies": ["mri-transfer.study.complete"]}
    guide = (root / "docs/prefect.md").read_text()
    assert all(f"`{event}`" in guide for events in expected.values() for event in events)


def test_every_deployment_is_in_the_guide(root: Path) -> None:
    guide = (root / "docs/prefect.md").read_text()
    for deployment in yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]:
        assert f"`{deployment['name']}`" in guide


def test_nothing_is_sent_and_heartbeats_are_as_the_automation_expects(root: Path) -> None:
    """Settings as they are for a command typed in the checkout: pytest runs there."""
    settings = get_current_settings()
    assert settings.server.analytics_enabled is False
    within = yaml.safe_load((root / "automations.yaml").read_text())["automations"][0]["trigger"]["within"]
    assert within == 3 * (settings.flows.heartbeat_frequency or 0)


def test_every_deployment_ends_with_its_worker(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks for that before anything else."""

    def asked() -> None:
        raise InterruptedError

    for deployment in yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]:
        place, _, name = deployment["entrypoint"].partition(":")
        module = importlib.import_module(place.removesuffix(".py").replace("/", "."))
        monkeypatch.setattr(module, "die_with_worker", asked)
        with pytest.raises(InterruptedError):
            getattr(module, name).fn(**{key: Path(value) for key, value in deployment.get("parameters", {}).items()})


def test_nothing_is_counted_even_before_prefect_is_imported() -> None:
    program = "import flows, os, sys; print(os.environ['DO_NOT_TRACK'], 'prefect' in sys.modules)"
    asked = {name: value for name, value in os.environ.items() if name != "DO_NOT_TRACK"}
    for environment, said in ((asked, "1 False"), ({**asked, "DO_NOT_TRACK": "0"}, "0 False")):
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.stdout.strip() == said, done.stderr


def test_stages_that_hold_the_gpu_are_those_that_the_guide_names(root: Path) -> None:
    [said] = re.findall(
        r"beside each other\. (.*) hold the\s+global concurrency limit",
        (root / "docs/prefect.md").read_text(),
        re.DOTALL,
    )
    assert set(re.findall(r"`(\w+)`", said)) == stages.ON_GPU
    known = yaml.safe_load((root / "dvc.yaml").read_text())["stages"]
    assert set(known) >= stages.ON_GPU
