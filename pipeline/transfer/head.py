"""The new head: from features of slices to logits, and how much each slice of a bag counts."""

from __future__ import annotations

import torch
from torch import nn

from pipeline.contract import Pooling

#: Width of the attention's two branches.
_WIDTH = 64


class Head(nn.Module):
    """Features of slices to rows of logits, with an attention score in a last column where pooling asks for one.

    A bag's logits are pooled from its rows (`pool`). For mean and attention that is the same as pooling the features
    first, because the last layer is linear and the weights of a bag sum to 1; so bags of any size can be computed in
    parts.

    Args:
        features: F.
        outputs: K.
        pooling: of bags.
        dropout: probability, in training only.
    """

    def __init__(self, features: int, outputs: int, pooling: Pooling, dropout: float = 0.0) -> None:
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(features, outputs)
        nn.init.zeros_(self.logits.weight)
        nn.init.zeros_(self.logits.bias)
        self.attention = GatedAttention(features) if pooling == "attention" else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float (N, F) to (N, K), or (N, K + 1) with attention."""
        features = self.dropout(features)
        rows: torch.Tensor = self.logits(features)
        return rows if self.attention is None else torch.cat([rows, self.attention(features)], dim=1)


class GatedAttention(nn.Module):
    """w . (tanh(V h) * sigmoid(U h)) (Ilse, Tomczak & Welling 2018, ICML); it starts as the mean."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.content = nn.Linear(features, _WIDTH)
        self.gate = nn.Linear(features, _WIDTH)
        self.score = nn.Linear(_WIDTH, 1, bias=False)
        nn.init.zeros_(self.score.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float (N, F) to scores (N, 1)."""
        score: torch.Tensor = self.score(torch.tanh(self.content(features)) * torch.sigmoid(self.gate(features)))
        return score


def pool(rows: torch.Tensor, owner: torch.Tensor, count: int, pooling: Pooling) -> torch.Tensor:
    """Rows of slices to logits of their bags.

    Args:
        rows: float (N, K), or (N, K + 1) with attention.
        owner: int64 (N,), the bag of each row; every bag has one.
        count: B, how many bags.

    Returns:
        (B, K).
    """
    if pooling == "max":
        lowest = rows.new_full((count, rows.shape[1]), -torch.inf)
        return lowest.scatter_reduce(0, owner[:, None].expand_as(rows), rows, "amax")
    if pooling == "mean":
        # A GPU would have to be waited for by bincount.
        return _sums(rows, owner, count) / _sums(torch.ones_like(rows[:, :1]), owner, count)
    scores, logits = rows[:, -1], rows[:, :-1]
    highest = scores.new_full((count,), -torch.inf).scatter_reduce(0, owner, scores.detach(), "amax")
    weight = torch.exp(scores - highest[owner])[:, None]
    return _sums(weight * logits, owner, count) / _sums(weight, owner, count)


def _sums(rows: torch.Tensor, owner: torch.Tensor, count: int) -> torch.Tensor:
    return rows.new_zeros(count, rows.shape[1]).index_add(0, owner, rows)
