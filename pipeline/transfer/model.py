"""The fine-tuned model: a one-channel trunk and a new head, with blocks that can be frozen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

from pipeline.files import write_atomic, write_json
from pipeline.transfer import layers
from pipeline.transfer.backbone import empty_trunk, feature_count


class TransferModel(nn.Module):
    """Slices to logits.

    Args:
        trunk: (N, 1, H, W) in 0..1 to pooled features (N, F).
        features: F.
        dropout: probability, before the last layer, in training only.

    A frozen block neither learns nor updates its BatchNorm statistics: it stays in evaluation mode even when
    the model trains.
    """

    def __init__(self, trunk: nn.Module, features: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, 1))
        nn.init.zeros_(self.head[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.head[1].bias)  # type: ignore[arg-type]
        self._frozen: list[nn.Module] = []

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """`slices`: float (N, 1, H, W) in 0..1; returns logits (N, 1)."""
        logits: torch.Tensor = self.head(self.trunk(slices))
        return logits

    def freeze(self, trained_share: float) -> int:
        """Let the top `trained_share` of the trunk's blocks learn, and freeze the rest.

        Returns:
            How many blocks learn.
        """
        ordered = layers.blocks(self.trunk)
        frozen = ordered[: layers.place(self.trunk, trained_share)]
        self._frozen = [module for block in frozen for module in block.modules]
        self.requires_grad_(True)
        for block in frozen:
            for parameter in block.parameters:
                parameter.requires_grad_(False)
        self.train(self.training)
        return len(ordered) - len(frozen)

    def train(self, mode: bool = True) -> TransferModel:
        """As in PyTorch, but frozen blocks stay in evaluation mode."""
        super().train(mode)
        for block in self._frozen:
            block.eval()
        return self


def from_backbone(folder: Path, size: int, dropout: float, *, pretrained: bool) -> TransferModel:
    """A model with a new head on the backbone stage's network, with its weights or (the control) random ones."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    trunk = empty_trunk(card["name"], card["options"])
    if pretrained:
        trunk.load_state_dict(load_file(folder / "backbone.safetensors"))
    return TransferModel(trunk, feature_count(trunk, size), dropout)


def save_model(model: TransferModel, folder: Path, backbone: Path, facts: dict[str, Any]) -> None:
    """Write `model.safetensors` and a card that `load` can rebuild it from."""
    card = json.loads((backbone / "card.json").read_text(encoding="utf-8"))
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    write_atomic(folder / "model.safetensors", lambda handle: handle.write(save(tensors)))
    write_json(folder / "card.json", {"name": card["name"], "options": card["options"], **facts})


def load(folder: Path) -> TransferModel:
    """The model of a finetune or scratch folder, in evaluation mode."""
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    state = load_file(folder / "model.safetensors")
    model = TransferModel(empty_trunk(card["name"], card["options"]), state["head.1.weight"].shape[1])
    model.load_state_dict(state)
    return model.eval()
