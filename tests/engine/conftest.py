"""A small network with the forward contract of the fine-tuned model."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import nn


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.trunk = timm.create_model("test_efficientnet", in_chans=1, num_classes=1)
        nn.init.normal_(self.trunk.classifier.weight, std=5.0)

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return self.trunk(slices)


@pytest.fixture(scope="session")
def network() -> nn.Module:
    return Network().eval()
