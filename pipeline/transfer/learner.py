"""The part of a model that learns in one phase, its average, and what it says of units."""

from __future__ import annotations

import copy

import ignite.distributed as idist
import numpy as np
import numpy.typing as npt
import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.transfer.batches import AT_ONCE, Bags, Loader, units_a_batch
from pipeline.transfer.head import Head, pool
from pipeline.transfer.mixing import Mixing
from pipeline.transfer.model import TransferModel

#: Slices a validation batch, about.
_VALIDATION_SLICES = 160


class Learner(nn.Module):
    """What runs in a step: the trunk, or what of it follows the recorded part, and the head; shared with the model."""

    def __init__(self, body: nn.Module, head: Head) -> None:
        super().__init__()
        self.body, self.head = body, head

    def forward(self, values: torch.Tensor, mixing: Mixing | None = None) -> torch.Tensor:
        """Slices or recorded activations to rows; with `mixing` the features of slices are mixed."""
        features = self.body(values)
        rows: torch.Tensor = self.head(features if mixing is None else mixing.values(features))
        return rows


class Average:
    """A moving average of a learner's tensors (Polyak & Juditsky 1992), short at first; timm's."""

    def __init__(self, learner: Learner, decay: float) -> None:
        self.found = ModelEmaV3(learner, decay=decay, use_warmup=True)
        self.steps = 0

    def update(self, learner: Learner) -> None:
        """After an optimizer's step."""
        self.steps += 1
        self.found.update(learner, step=self.steps)

    @property
    def learner(self) -> Learner:
        """The averaged one."""
        averaged = self.found.module
        assert isinstance(averaged, Learner)
        return averaged


def state_with(model: TransferModel, learner: Learner, learnt: Learner) -> dict[str, torch.Tensor]:
    """A copy on the CPU of the model's tensors, those that `learner` shares with it taken from `learnt`.

    Args:
        model: whose trunk and head `learner` runs.
        learner: of this phase.
        learnt: the same, or its average.
    """
    whole = model.state_dict(keep_vars=True)
    place = {id(tensor): key for key, tensor in whole.items()}
    state = {key: tensor.detach().cpu().clone() for key, tensor in whole.items()}
    if learnt is not learner:
        averaged = learnt.state_dict()
        for key, tensor in learner.state_dict(keep_vars=True).items():
            state[place[id(tensor)]] = averaged[key].detach().cpu().clone()
    return state


@torch.no_grad()
def unit_logits(learner: Learner, bags: Bags, device: torch.device, dtype: torch.dtype) -> npt.NDArray[np.float32]:
    """Pooled logits (U, K) of all units; every process does its share."""
    learner.eval()
    rank, world = idist.get_rank(), idist.get_world_size()
    mine = list(range(rank, len(bags.rows), world))
    found = np.zeros(bags.targets.shape, np.float32)
    own = Bags(bags.values, [bags.rows[unit] for unit in mine], bags.targets[mine])
    at = 0
    for batch in Loader(own, units_a_batch(own, _VALIDATION_SLICES)) if mine else ():
        on = batch.to(device)
        with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
            rows = torch.cat([learner(some) for some in torch.split(on.values, AT_ONCE)])
        pooled = pool(rows.float(), on.owner, len(on.targets), learner.head.pooling)
        found[mine[at : at + len(pooled)]] = pooled.cpu().numpy()
        at += len(pooled)
    if world > 1:
        total: torch.Tensor = idist.all_reduce(torch.from_numpy(found).to(idist.device()))
        found = total.cpu().numpy()
    return found


@torch.no_grad()
def work(trunk: nn.Module, slice_: torch.Tensor) -> float:
    """Floating-point operations of one slice (1, ...) through `trunk`; a copy is counted."""
    counter = FlopCounterMode(display=False)
    with counter:
        copy.deepcopy(trunk).eval()(slice_)
    return float(counter.get_total_flops())
