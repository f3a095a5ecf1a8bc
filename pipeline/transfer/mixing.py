"""Mixing pairs of units and their targets, in the slices or in the features of slices."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pipeline.transfer.batches import Batch


@dataclass(frozen=True)
class Mixing:
    """How the units of one batch are mixed.

    Attributes:
        partner: int64 (B,), the unit that each unit is mixed with.
        partner_row: int64 (N,), a row of that unit for each row.
        share: float (B,), what is left of the unit itself, from a half to 1.
        owner: int64 (N,), the unit of each row.
    """

    partner: torch.Tensor
    partner_row: torch.Tensor
    share: torch.Tensor
    owner: torch.Tensor

    def values(self, rows: torch.Tensor) -> torch.Tensor:
        """Slices (N, C, H, W) or features (N, F), mixed."""
        share = self.share.to(rows.dtype)[self.owner].view(-1, *[1] * (rows.ndim - 1))
        return share * rows + (1 - share) * rows[self.partner_row]

    def targets(self, targets: torch.Tensor) -> torch.Tensor:
        """Targets (B, K), mixed likewise."""
        share = self.share.to(targets.dtype)[:, None]
        return share * targets + (1 - share) * targets[self.partner]


def draw(batch: Batch, alpha: float, generator: torch.Generator) -> Mixing:
    """Partners, and shares from Beta(alpha, alpha) (Zhang et al. 2018, ICLR), of which the larger side is kept.

    Bags differ in size, so each row is mixed with any row of the partner's.

    Args:
        batch: on any device.
        alpha: above 0.
        generator: on the CPU.
    """
    owner, count = batch.owner.cpu(), len(batch.targets)
    partner = torch.randperm(count, generator=generator)
    sizes = torch.bincount(owner, minlength=count)
    order = torch.argsort(owner, stable=True)
    first = torch.cumsum(sizes, 0) - sizes
    theirs = partner[owner]
    within = (torch.rand(len(owner), generator=generator) * sizes[theirs]).long().clamp(max=sizes[theirs] - 1)
    gammas = torch._standard_gamma(torch.full((2, count), alpha), generator=generator)
    share = gammas[0] / gammas.sum(0).clamp(min=1e-12)
    share = torch.maximum(share, 1 - share)
    on = batch.owner.device
    return Mixing(partner.to(on), order[first[theirs] + within].to(on), share.to(on), batch.owner)
