"""Candidates of every origin."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.files import sha256_file
from pipeline.training_config import Candidate
from pipeline.transfer.candidates import of_candidate
from tests import own_release


def test_another_projects_release_is_a_candidate(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    release = own_release.make(tmp_path / "b", own_release.params(root, data=own_release.DATA), "task-b")
    monkeypatch.chdir(tmp_path)
    pinned = sha256_file(release / "trunk.safetensors")
    candidate = Candidate.model_validate({"name": None, "weights": "file", "file": release, "sha256": pinned})
    network = of_candidate(candidate, own_release.SIZE, ["resnet18"])
    tensors = load_file(release / "trunk.safetensors")
    assert all(torch.equal(value, tensors[key]) for key, value in network.trunk.state_dict().items())
    assert network.label == "resnet18 (2)"
    assert (network.facts["weights"], network.facts["origin"]) == ("release", "task-b 0.1.0")
