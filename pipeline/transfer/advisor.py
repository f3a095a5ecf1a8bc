"""Which backbone, up to which layer, frozen or fine-tuned: a recommendation, its reasons and its evidence (T10).

The rule and what it stands on: `docs/decisions/013-the-advisors-rule.md`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import DataError
from pipeline.files import read_json
from pipeline.transfer.candidates import Examined, Material
from pipeline.transfer.probe import rarest

#: Training patients on the smaller side of the rarest class from which fine-tuning was measured to be ahead.
PATIENTS = 4
#: A domain distance from which images are far: typical activations lie a standard deviation off.
FAR = 1.0
#: The same number of patients for images that are far, whose frozen features lack more.
PATIENTS_FAR = 2
#: Nats a unit by which another backbone's LogME must be higher to displace the chosen one.
MARGIN = 0.01


def facts(found: Sequence[Examined], material: Material) -> dict[str, Any]:
    """What the recommendation stands on: counts, and the figures of each candidate, the first being the chosen one."""
    train = material.train
    return {
        "chosen": found[0].network.label,
        "training": {
            "patients": len(set(train.patients)),
            "patients_of_rarest": rarest(train.targets, material.kind, train.patients),
            "units": len(train.patients),
        },
        "candidates": {each.network.label: each.report() for each in found},
    }


def decide(known: Mapping[str, Any]) -> dict[str, Any]:
    """The recommendation: `backbone`, `layer` and `training` (freeze or fine-tune), each with reason and evidence.

    Args:
        known: as `facts` gives it, or as reports/transferability.json has it.
    """
    candidates = known["candidates"]
    training = {label: _training(known["training"], found) for label, found in candidates.items()}
    scores = {label: _score(found, training[label]["choice"]) for label, found in candidates.items()}
    backbone = _backbone(known["chosen"], scores)
    label = backbone["choice"]
    return {"backbone": backbone, "layer": _layer(candidates[label]), "training": training[label]}


def sentences(advice: Mapping[str, Any]) -> list[str]:
    """The recommendation in words, a sentence or two for each part."""
    leads = {"backbone": "Backbone", "layer": "Layer", "training": "Training"}
    return [f"{lead}: {advice[part]['choice']}. {advice[part]['reason']}" for part, lead in leads.items()]


def read(reports: Path) -> dict[str, Any]:
    """The recommendation that the stage `features` wrote.

    Raises:
        DataError: it did not run yet.
    """
    path = reports / "transferability.json"
    if not path.is_file():
        raise DataError(f"the figures of features in {path}", "no such file", "Run `dvc repro features` first.")
    return dict(read_json(path)["advice"])


def _score(candidate: Mapping[str, Any], way: str) -> float:
    """LogME of the layer that a classifier is put on: a probe's own, the last one of a network that is fine-tuned."""
    rows = candidate["layers"]
    layer = candidate["best_layer"] if way == "freeze" else max(rows, key=lambda name: float(rows[name]["depth"]))
    return _number(rows[layer]["logme"])


def _backbone(first: str, scores: Mapping[str, float]) -> dict[str, Any]:
    """The candidate whose features explain the labels best; near to equal, the one that is chosen already."""
    top = max(scores, key=lambda label: (scores[label], label == first))
    label = top if scores[top] > scores[first] + MARGIN else first
    if len(scores) == 1:
        reason = "There is no other candidate; features.candidates names some."
    elif top == first:
        reason = f"Its LogME, {scores[first]:.3f}, is the highest of {len(scores)} candidates."
    elif label == first:
        reason = (
            f"Its LogME, {scores[first]:.3f}, is no more than {MARGIN:g} below that of {top} ({scores[top]:.3f}): "
            "no reason to change."
        )
    else:
        reason = f"Its LogME, {scores[label]:.3f}, is above that of the chosen {first}, {scores[first]:.3f}."
    return {"choice": label, "reason": reason, "evidence": {"logme": dict(scores)}}


def _layer(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The boundary: as it is below, for this task above."""
    name = chosen["best_layer"]
    best = chosen["layers"][name]
    auroc = {layer: row["val_auroc"] for layer, row in chosen["layers"].items()}
    if best["val_auroc"] is None or math.isnan(best["val_auroc"]):
        reason = (
            "Validation patients do not hold both sides of a class, so layers cannot be compared; this is the last."
        )
    elif best["depth"] == 1:
        reason = f"Validation AUROC of a probe is highest at the last layer, {best['val_auroc']:.3f}."
    else:
        last = max(chosen["layers"].values(), key=lambda row: float(row["depth"]))
        reason = (
            f"Validation AUROC of a probe is highest there, {best['val_auroc']:.3f} against {last['val_auroc']:.3f} at "
            "the last layer: the layers above it serve this task less."
        )
    return {"choice": name, "reason": reason, "evidence": {"val_auroc": auroc, "depth": best["depth"]}}


def _training(counts: Mapping[str, Any], chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Freeze with few patients, fewer still when the images are far from those of the backbone."""
    distance = _number(chosen["domain_distance"], missing=math.nan)
    far = distance >= FAR
    needed = PATIENTS_FAR if far else PATIENTS
    patients = counts["patients_of_rarest"]
    if math.isnan(distance):
        where = "The domain distance is not known"
    else:
        where = f"The images are {'far from' if far else 'near to'} those of the backbone (distance {distance:.2f})"
    if patients < needed:
        choice = "freeze"
        reason = (
            f"{where}, and the rarest class has {patients} training patients, fewer than {needed}: a probe on frozen "
            "features has less to get wrong."
        )
    else:
        choice = "fine-tune"
        reason = (
            f"{where}, and the rarest class has {patients} training patients, {needed} or more: enough to adapt it."
        )
    evidence = {"patients_of_rarest": patients, "needed": needed, "domain_distance": distance}
    return {"choice": choice, "reason": reason, "evidence": evidence}


def _number(value: float | None, missing: float = -math.inf) -> float:
    """A figure, which JSON has as null where it is NaN."""
    return missing if value is None or math.isnan(value) else float(value)
