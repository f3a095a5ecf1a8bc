"""The fine-tuned model: a one-channel trunk and a new head, with blocks that can be frozen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from pipeline.contract import Pooling
from pipeline.files import write_atomic, write_json
from pipeline.transfer import layers
from pipeline.transfer.backbone import empty_trunk, feature_count
from pipeline.transfer.head import Head


class TransferModel(nn.Module):
    """Slices to rows (see `Head`).

    Args:
        trunk: (N, 1, H, W) in 0..1 to pooled features (N, F).
        features: F.
        outputs: K.
        pooling: of the slices of a unit.
        dropout: probability, before the last layer, in training only.

    A frozen block neither learns nor updates its BatchNorm statistics: it stays in evaluation mode even when
    the model trains.
    """

    def __init__(
        self, trunk: nn.Module, features: int, outputs: int = 1, pooling: Pooling = "mean", dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = Head(features, outputs, pooling, dropout)
        self._frozen: list[nn.Module] = []

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """`slices`: float (N, 1, H, W) in 0..1; returns (N, K), or (N, K + 1) with attention."""
        rows: torch.Tensor = self.head(self.trunk(slices))
        return rows

    def freeze(self, learning: float | str) -> int:
        """Let the top of the trunk learn, and freeze the rest.

        Args:
            learning: the share of the trunk's blocks that learns, or the name of the lowest of them.

        Returns:
            How many blocks, from the stem up, are frozen.

        Raises:
            ConfigError: no block of that name.
        """
        ordered = layers.blocks(self.trunk)
        frozen = layers.place(self.trunk, learning)
        self.requires_grad_(True)
        for block in ordered[:frozen]:
            for parameter in block.parameters:
                parameter.requires_grad_(False)
        self._frozen = [module for block in ordered[:frozen] for module in block.modules]
        self.train(self.training)
        return frozen

    def train(self, mode: bool = True) -> TransferModel:
        """As in PyTorch, but frozen blocks stay in evaluation mode."""
        super().train(mode)
        for block in self._frozen:
            block.eval()
        return self


def from_backbone(
    folder: Path, size: int, dropout: float, *, pretrained: bool, outputs: int = 1, pooling: Pooling = "mean"
) -> TransferModel:
    """A model with a new head on the backbone stage's network, with its weights or (the control) random ones."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    trunk = empty_trunk(card["name"], card["options"])
    if pretrained:
        trunk.load_state_dict(load_file(folder / "backbone.safetensors"))
    return TransferModel(trunk, feature_count(trunk, size), outputs, pooling, dropout)


def save_model(model: TransferModel, folder: Path, backbone: Path, facts: dict[str, Any]) -> None:
    """Write `model.safetensors` and a card that `load` can rebuild it from."""
    card = json.loads((backbone / "card.json").read_text(encoding="utf-8"))
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_atomic(folder / "model.safetensors", lambda handle: handle.write(save(tensors)))
    known = {"name": card["name"], "options": card["options"], "pooling": model.head.pooling}
    write_json(folder / "card.json", {**known, **facts})


def load(folder: Path) -> TransferModel:
    """The model of a finetune or scratch folder, in evaluation mode."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    state = load_file(folder / "model.safetensors")
    outputs, features = state["head.logits.weight"].shape
    model = TransferModel(empty_trunk(card["name"], card["options"]), features, outputs, card["pooling"])
    model.load_state_dict(state)
    return model.eval()
