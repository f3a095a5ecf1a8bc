"""Pre-trained weights to a one-channel trunk, with the proof that it is the same network."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save

from pipeline.config import Params
from pipeline.files import write_atomic, write_json
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer import stem
from pipeline.transfer.backbone import load, trunk
from pipeline.transfer.model import check_blocks

OUT = Path("models/backbone")


def backbone(params: Params) -> None:
    """Write `models/backbone/`: the one-channel trunk's tensors and its card."""
    torch.manual_seed(params.seed)
    chosen = params.backbone
    network, weights, source = load(chosen)
    say(f"backbone: {chosen.name} with weights from {chosen.weights}: {weights.origin}")
    adapted = stem.adapt(network, chosen.name, source.mean, source.std)
    worst = stem.prove(network, adapted, chosen.name, source.mean, source.std, params.prepare.size)
    say(f"backbone: one channel, largest logit difference {worst:.1e} (allowed {stem.TOLERANCE:g})")
    one_channel = trunk(adapted)
    check_blocks(one_channel, chosen.name)
    tensors = {key: value.contiguous() for key, value in one_channel.state_dict().items()}
    write_atomic(OUT / "backbone.safetensors", lambda handle: handle.write(save(tensors)))
    card = {
        "name": chosen.name,
        "options": chosen.options,
        "weights": chosen.weights,
        "origin": weights.origin,
        "sha256": weights.sha256,
        "licence": source.licence,
        "mean": source.mean,
        "std": source.std,
        "parity": {"max_abs_logit_difference": worst, "tolerance": stem.TOLERANCE, "size": params.prepare.size},
    }
    write_json(OUT / "card.json", card)


if __name__ == "__main__":
    runner.run("backbone", backbone)
