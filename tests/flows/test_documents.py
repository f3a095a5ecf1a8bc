"""What docs/prefect.md and the files of Prefect say, held against each other and against Prefect's own schemas."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from prefect.events.schemas.automations import AutomationCore
from prefect.settings import get_current_settings

from flows import ingest


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
