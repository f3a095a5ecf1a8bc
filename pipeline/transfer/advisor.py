"""Which backbone, up to which layer, frozen or fine-tuned: a recommendation, its reasons and its evidence (T10)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import DataError
from pipeline.files import read_json
from pipeline.transfer.candidates import Examined, Material
from pipeline.transfer.probe import rarest


def facts(found: Sequence[Examined], material: Material) -> dict[str, Any]:
    """What the recommendation stands on: the figures of each candidate, the first of them the chosen one, and counts."""
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
    return {"backbone": {"choice": known["chosen"]}, "training": {"choice": "fine-tune"}}


def sentences(advice): return []
