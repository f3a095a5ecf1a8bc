"""Freezing and saliency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import ConfigError
from pipeline.transfer.layers import blocks
from pipeline.transfer.model import TransferModel, from_backbone
from pipeline.transfer.saliency import saliency


def test_frozen_blocks_stay_in_evaluation_mode_when_the_model_trains(backbone_folder: Path) -> None:
    model = from_backbone(backbone_folder, 32, 0.0, pretrained=True)
    found = blocks(model.trunk)
    assert model.freeze(0.5) == len(found) // 2
    model.train()
    modes = [block.modules[0].training for block in found]
    assert modes == sorted(modes)
    assert modes[0] is False
    assert modes[-1] is True
    assert [block.parameters[0].requires_grad for block in found] == modes
    assert model.freeze(0.0) == len(found)
    assert all(parameter.requires_grad for parameter in model.head.parameters())


def test_a_phase_may_name_the_lowest_block_that_learns(backbone_folder: Path) -> None:
    model = from_backbone(backbone_folder, 32, 0.0, pretrained=True)
    names = [block.name for block in blocks(model.trunk)]
    assert model.freeze("layer4") == names.index("layer4.0")
    learning = {name for name, parameter in model.trunk.named_parameters() if parameter.requires_grad}
    assert learning
    assert all(name.startswith("layer4.") for name in learning)
    with pytest.raises(ConfigError, match=r"expected the name of a block of the backbone; found 'layer5'.*layer4"):
        model.freeze("layer5")


def test_a_new_head_has_as_many_outputs_as_classes_and_leaves_the_trunk(backbone_folder: Path) -> None:
    model = from_backbone(backbone_folder, 32, 0.0, pretrained=True, outputs=5).eval()
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
    for key, value in load_file(backbone_folder / "backbone.safetensors").items():
        assert torch.equal(model.trunk.state_dict()[key], value), key


def test_the_control_has_other_weights(backbone_folder: Path) -> None:
    torch.manual_seed(9)
    ours, control = (from_backbone(backbone_folder, 32, 0.0, pretrained=flag) for flag in (True, False))
    key = "trunk.layer1.0.conv1.weight"
    assert not torch.equal(ours.state_dict()[key], control.state_dict()[key])


def test_saliency_is_where_the_blob_is() -> None:
    class Spot(torch.nn.Module):
        def forward(self, slices: torch.Tensor) -> torch.Tensor:
            return self.pool(torch.relu(slices - 0.5)).flatten(1)

        def __init__(self) -> None:
            super().__init__()
            self.pool = torch.nn.Sequential(torch.nn.AvgPool2d(4), torch.nn.AdaptiveAvgPool2d(1))

    model = TransferModel(Spot(), 1, outputs=2)
    model.head.logits.weight.data = torch.tensor([[1.0], [-1.0]])
    slices = np.zeros((2, 32, 32), np.uint8)
    slices[0, 4:8, 20:24] = 255
    heat = saliency(model, slices, np.zeros(len(slices), np.int64))
    assert np.unravel_index(heat[0].argmax(), (32, 32))[0] in range(2, 10)
    assert heat[0].max() == 1
    assert heat[1].max() == 0
    assert saliency(model, slices[:1], np.ones(1, np.int64)).max() == 0, "the blob speaks against the other class"
