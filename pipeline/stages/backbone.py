"""Pre-trained weights to a one-channel trunk, with the proof that it is the same network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from pipeline.config import Params
from pipeline.engine import trunk as proof
from pipeline.files import write_atomic, write_json
from pipeline.progress import say
from pipeline.stages import runner
from pipeline.transfer import licence, own_release, stem
from pipeline.transfer.backbone import Source, feature_count, load, require_trainable, trunk
from pipeline.transfer.resolution import sized
from pipeline.transfer.weights import Weights

OUT = Path("models/backbone")


def backbone(params: Params) -> None:
    """Write `models/backbone/`: the one-channel trunk's tensors and its card, and with weights: hub what was fetched.

    Raises:
        ConfigError: no such network, or not the embedded one where that is asked for.
        WeightsError: no weights to be had, not those promised, of another architecture, or not allowed.
        StemError: the network cannot be taken to one channel.
        ContractError, EngineError: the release in backbone.file is not whole, or is of two models.
    """
    if own_release.is_named(params.backbone):
        _from_release(params)
    else:
        _from_elsewhere(params)


def _from_elsewhere(params: Params) -> None:
    """Weights for RGB pictures, embedded, from a file or from a hub, in the one-channel form."""
    torch.manual_seed(params.seed)
    chosen = sized(params.backbone, params.prepare.size)
    network, weights, source = load(chosen)
    _say_which(chosen.weights, chosen.name, weights, source)
    adapted = stem.adapt(network, chosen.name, source.mean, source.std)
    worst = stem.prove(network, adapted, chosen.name, source.mean, source.std, params.prepare.size)
    say(f"backbone: one channel, largest logit difference {worst:.1e} (allowed {stem.TOLERANCE:g})")
    one_channel = trunk(adapted)
    require_trainable(one_channel, chosen.name, params.prepare.size)
    tensors = {key: value.contiguous() for key, value in one_channel.state_dict().items()}
    write_atomic(OUT / "backbone.safetensors", lambda handle: handle.write(save(tensors)))
    if chosen.weights == "hub":  # so that DVC keeps it: a hub may be out of reach the next time
        with open(weights.path, "rb") as fetched:
            write_atomic(OUT / f"source{weights.path.suffix}", lambda handle: shutil.copyfileobj(fetched, handle))
    card: dict[str, Any] = {
        "name": chosen.name,
        "options": chosen.options,
        "weights": chosen.weights,
        "origin": weights.origin,
        "sha256": weights.sha256,
        "verified": weights.verified,
        "resampled": weights.resampled,
        "licence": source.licence,
        "restriction": licence.restriction(source.licence),
        "trained": source.trained,
        "mean": source.mean,
        "std": source.std,
        "parity": {"max_abs_logit_difference": worst, "tolerance": stem.TOLERANCE, "size": params.prepare.size},
        "origins": [],
    }
    write_json(OUT / "card.json", card)


def _from_release(params: Params) -> None:
    """The trunk of an earlier project's release: it has one channel, and its graph to be compared with at its side."""
    start = own_release.load(params.backbone)
    size = start.manifest.transform.size
    worst = proof.prove(start.trunk, start.graph, size)
    start = start.at(params.prepare.size)
    card = start.card({"max_abs_feature_difference": worst, "tolerance": proof.TOLERANCE, "size": size})
    say(f"backbone: {card['name']} as fine-tuned for {card['origin']}; SHA-256 {card['sha256']}, {card['verified']}")
    for origin in card["origins"]:
        say(f"backbone: learnt before: {origin['task']} from {origin['data']}; licence: {origin['licence']}")
    if card["restriction"] is not None:
        say(f"backbone: {card['restriction']}")
    say(f"backbone: largest feature difference to the release's graph {worst:.1e} (allowed {proof.TOLERANCE:g})")
    _say_resampled(start.weights)
    feature_count(start.trunk, params.prepare.size)
    write_atomic(OUT / "backbone.safetensors", lambda handle: handle.write(save(start.trunk.state_dict())))
    write_json(OUT / "card.json", card)


def _say_which(kind: str, name: str, weights: Weights, source: Source) -> None:
    """Which weights these are, for the log."""
    say(f"backbone: {name} with weights: {kind}, {weights.origin}; licence: {source.licence}")
    say(f"backbone: SHA-256 {weights.sha256}, {weights.verified}")
    _say_resampled(weights)
    if source.trained is not None:
        say(f"backbone: top-1 {source.trained['top1']:.3f} on {source.trained['top1_images']} images of its own kind")
    restriction = licence.restriction(source.licence)
    if restriction is not None:
        say(f"backbone: {restriction}")


def _say_resampled(weights: Weights) -> None:
    """Which tensors are for another side of pictures than those that were learnt."""
    if weights.resampled:
        say(f"backbone: resampled for prepare.size: {', '.join(weights.resampled)}")


if __name__ == "__main__":
    runner.run("backbone", backbone)
