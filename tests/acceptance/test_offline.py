"""No network: the whole DAG runs without one, the embedded backbone asks for none, and DVC keeps what a hub sent."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
from safetensors.torch import save

from pipeline import contract
from pipeline.files import read_json
from tests import embedded_backbone
from tests.model_hub import ModelHub

pytestmark = pytest.mark.acceptance

HUB_FILE = "timm/resnet18.a1_in1k/model.safetensors"
CONNECT = "import socket; socket.create_connection(('{host}', {port}), timeout=5).close()"


@pytest.fixture
def offline(built: Any, cut: list[str]) -> Any:
    """The project that was built without a network."""
    if not cut:
        if os.environ.get("CI"):
            pytest.fail("unshare is not installed or not allowed, and in CI no test may skip for it")
        pytest.skip("unshare is not installed or not allowed")
    return built


def test_nothing_can_be_reached_where_it_was_built(offline: Any, cut: list[str]) -> None:
    with ModelHub().serving() as somebody:
        connect = CONNECT.format(host="127.0.0.1", port=somebody.server_port)
        offline.run("python", "-c", connect)
        assert "unreachable" in offline.run(*cut, "python", "-c", connect, status=1)
    assert "unreachable" in offline.run(*cut, "python", "-c", CONNECT.format(host="192.0.2.1", port=443), status=1)


def test_it_ended_in_a_release_that_names_its_backbone(offline: Any) -> None:
    embedded = read_json(offline.folder / "models/embedded/card.json")
    release = offline.folder / "models/release"
    manifest = contract.load(release)
    assert manifest.backbone.weights == "embedded"
    assert manifest.backbone.sha256 == embedded["sha256"]
    assert manifest.backbone.trained is not None
    assert manifest.backbone.trained["top1"] == embedded["top1"]
    assert read_json(offline.folder / "reports/metrics.json")["backbone"]["data"] == embedded["data"]
    report = (offline.folder / "reports/report.html").read_text()
    origin = report[report.index('<h2 id="h-origin">') :]
    assert f"embedded: {embedded['data']}" in origin[: origin.index("</section>")]
    assert f"| Its weights | embedded: {embedded['data']} |" in (release / "model_card.md").read_text()


def test_the_backbone_stage_asks_no_one(built: Any, program: Callable[[str], str], tmp_path: Path) -> None:
    """With a network there: of all its processes' calls, none is to an address of the internet."""
    project, log = built.copy(tmp_path), tmp_path / "calls"
    trace = [program("strace"), "-f", "-qq", "-o", str(log), "-e", "trace=connect,sendto,sendmsg,sendmmsg"]
    project.run(*trace, sys.executable, "-m", "pipeline.stages.backbone")
    assert [line for line in log.read_text().splitlines() if "AF_INET" in line] == []
    project.run(*trace, sys.executable, "-c", f"try: {CONNECT.format(host='127.0.0.1', port=1)}\nexcept OSError: pass")
    assert "AF_INET" in log.read_text()  # so it is seen where there is one


def test_what_a_hub_sent_is_kept_by_dvc(clone: Any, tmp_path: Path) -> None:
    project = clone.copy(tmp_path)
    options = json.dumps(embedded_backbone.OPTIONS)
    project.set("backbone.weights=hub", f"backbone.name={embedded_backbone.NAME}", f"backbone.options={options}")
    source, home = project.folder / "models/backbone/source.safetensors", tmp_path / "hub"
    with ModelHub().serving() as hub:
        network = timm.create_model(embedded_backbone.NAME, pretrained=False, **embedded_backbone.OPTIONS)
        hub.files[HUB_FILE] = save({key: value.contiguous() for key, value in network.state_dict().items()})
        project.environment |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
        assert "with weights: hub, hub:timm/resnet18" in project.run("dvc", "repro", "backbone")
        sent = hub.files[HUB_FILE]
    shutil.rmtree(project.folder / "models/backbone")
    shutil.rmtree(home)
    said = project.run("dvc", "repro", "backbone")
    assert "Running stage 'backbone'" not in said
    assert source.read_bytes() == sent
    project.set("prepare.size=48")  # now the stage itself must run, and there is no hub
    said = project.run("dvc", "repro", "backbone", status=255)
    assert "WeightsError: expected model.safetensors or pytorch_model.bin of timm/resnet18.a1_in1k" in said
    assert "Set backbone.weights: file" in said
    assert "try again with a network" in said
