"""A backbone and what was measured of its layers on the training and validation patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load_file
from torch import nn

from pipeline.contract import TaskKind
from pipeline.files import read_json
from pipeline.training_config import Candidate, Features
from pipeline.transfer import activations, backbone, domain, layers, own_release, resolution, stem
from pipeline.transfer.transferability import Layer, Side, best, measure, segment


@dataclass(frozen=True)
class Network:
    """A one-channel trunk with its weights.

    Attributes:
        label: its name in tables, unique among candidates.
        trunk: (N, 1, H, W) in 0..1 to (N, F).
        facts: name, options, weights, origin, sha256.
    """

    label: str
    trunk: nn.Module
    facts: dict[str, Any]


@dataclass(frozen=True)
class Material:
    """What every network is measured on.

    Attributes:
        slices: uint8 (N, H, W), training, validation and test.
        key: that identifies them.
        train, val: the units of two sides.
        kind: of the task.
    """

    slices: npt.NDArray[np.uint8]
    key: str
    train: Side
    val: Side
    kind: TaskKind


@dataclass(frozen=True)
class Examined:
    """The figures of one network.

    Attributes:
        network: which.
        layers: those that were compared, from the stem up; the last is what a head is put on.
        features: of the best layer (N, F) of all slices, memory-mapped, in each form that its probe sees.
        distance: of the domain.
    """

    network: Network
    layers: list[Layer]
    features: list[npt.NDArray[np.floating]]
    distance: domain.Distance

    @property
    def best(self) -> Layer:
        """The layer of the highest validation AUROC."""
        return best(self.layers)

    def report(self) -> dict[str, Any]:
        """As it stands in reports/transferability.json."""
        distance: dict[str, Any] = {"domain_distance": round(self.distance.value, 6)}
        if self.distance.reason is not None:
            distance["domain_distance_reason"] = self.distance.reason
        rows = {layer.name: layer.row() for layer in self.layers}
        return {**self.network.facts, **distance, "best_layer": self.best.name, "layers": rows}


def of_stage(folder: Path) -> Network:
    """The network that the backbone stage wrote."""
    card = read_json(folder / "card.json")
    trunk = backbone.empty_trunk(card["name"], card["options"])
    trunk.load_state_dict(load_file(folder / "backbone.safetensors"))
    facts = {key: card.get(key) for key in ("name", "options", "weights", "origin", "sha256")}
    return Network(card["name"], trunk.eval(), facts)


def of_candidate(candidate: Candidate, size: int, taken: Sequence[str]) -> Network:
    """A candidate, proved to be its RGB network in one channel; of a release, its trunk after its checksums.

    Args:
        candidate: from params.yaml.
        size: pixels of a side, for which a network made for one side is built.
        taken: labels that are another's.

    Raises:
        ConfigError, WeightsError, StemError, ContractError: as the backbone stage has them.
    """
    if own_release.is_named(candidate):
        start = own_release.load(candidate).at(size)
        name, options, kind = start.manifest.backbone.name, start.options, "release"
        weights, trunk = start.weights, start.trunk
        backbone.feature_count(trunk, size)
    else:
        chosen = resolution.sized(candidate, size)
        name, options, kind = chosen.name, chosen.options, chosen.weights
        network, weights, source = backbone.load(chosen)
        adapted = stem.adapt(network, name, source.mean, source.std)
        stem.prove(network, adapted, name, source.mean, source.std, size)
        trunk = backbone.trunk(adapted)
        backbone.require_trainable(trunk, name, size)
    label, number = name, 2
    while label in taken:
        label, number = f"{name} ({number})", number + 1
    facts = {"name": name, "options": options, "weights": kind, "origin": weights.origin, "sha256": weights.sha256}
    return Network(label, trunk.eval(), facts)


def examine(
    network: Network, material: Material, settings: Features, cache: Path, seed: int, asked: Sequence[str] | None
) -> Examined:
    """Features, probe, LogME and domain distance by layer.

    Args:
        network: whose.
        material: on which.
        settings: of the stage.
        cache: folder of activations.
        seed: of the folds.
        asked: layers; None: an even choice.
    """
    names = [block.name for block in layers.blocks(network.trunk)]
    swept = activations.sweep(network.trunk, asked)
    features = activations.activations(
        network.trunk,
        material.slices,
        swept,
        activations.Cache(cache, int(settings.cache_gigabytes * 1e9)),
        keys=(activations.weights_key(network.trunk, network.facts["name"], network.facts["options"]), material.key),
        batch=settings.batch_slices,
        forms=settings.pooling,
    )
    distance = domain.distance(network.trunk, material.slices, material.train.rows, settings.batch_slices)
    near = segment(distance, names, swept)
    found = []
    for name in swept:
        values = features[name]
        fitted, figures = measure(values, material.train, material.val, material.kind, settings.probe_c, seed)
        figures["domain_distance"] = near[name]
        depth = (names.index(name) + 1) / len(names)
        found.append(Layer(name, depth, len(fitted.weight), fitted, figures))
    return Examined(network, found, features[best(found).name], distance)
