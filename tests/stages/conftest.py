"""A project as it stands before `calibrate`: a small network, features and a probe on made-up slices."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline import config
from pipeline.files import sha256_file, write_atomic, write_csv, write_json
from pipeline.stages.export import export
from pipeline.transfer.backbone import empty_trunk, feature_count
from pipeline.transfer.model import TransferModel, save_model
from pipeline.transfer.probe import Probe
from tests import training_curves
from tests.pretrained import card

SIZE, SLICES = 32, 3
SIDES = ["train"] * 8 + ["val"] * 12 + ["test"] * 20


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder, which is also the current one. Positive series are brighter; logits follow brightness."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    patients = [(f"p{i:02}", side, "AB"[i // 2 % 2], i % 2) for i, side in enumerate(SIDES)]
    split = [dict(zip(("patient", "split", "site", "label"), row, strict=True)) for row in patients]
    write_csv(Path("data/split.csv"), split[0], split)
    index = [{"series": f"s{p}", "patient": p, "sex": "F", "vendor": "ACME"} for p, *_ in patients]
    write_csv(Path("data/ingested/index.csv"), index[0], index)
    labels = [
        {"series": f"s{p}", "patient": p, "slice_index": "", "label": label, "site": site}
        for p, _, site, label in patients
    ]
    write_csv(Path("data/ingested/labels.csv"), labels[0], labels)
    rejected = [{"source": "t0", "reason": "localizer", "message": "a localizer"}]
    write_csv(Path("data/ingested/rejected.csv"), rejected[0], rejected)
    slices = [
        {"series": f"s{p}", "patient": p, "slice_index": k, "unit": f"s{p}", "label": label, "split": side}
        for k in range(SLICES)  # not sorted by unit on purpose
        for p, side, _, label in patients
    ]
    write_csv(Path("data/prepared/slices.csv"), slices[0], slices)
    positive = np.array([row["label"] for row in slices])
    noise = rng.normal(scale=25, size=(len(slices), 1, 1)) + rng.normal(scale=10, size=(len(slices), SIZE, SIZE))
    pixels = np.clip(100 + 30 * positive[:, None, None] + noise, 0, 255).astype(np.uint8)
    write_atomic(Path("data/prepared/slices.npy"), lambda handle: np.save(handle, pixels))
    features = np.stack([pixels.mean((1, 2)) / 25, rng.normal(size=len(slices))], axis=1).astype(np.float32)
    # Reversed on the other sides, so that features of the wrong rows show.
    features[[row["split"] != "test" for row in slices]] *= -1
    write_atomic(Path("data/features/features.npy"), lambda handle: np.save(handle, features))
    Probe(np.array([[1], [0.1]], np.float32), np.array([-4.6], np.float32)).save(Path("models/probe"))
    write_json(Path("models/backbone/card.json"), card("test_resnet"))
    for seed, name in enumerate(("finetuned", "scratch")):
        _network(seed, Path("models") / name)
        training_curves.course(seed, Path("models") / name, np.array([[i % 2] for i in range(8, 20)], dtype=np.float32))
    return tmp_path


@pytest.fixture(scope="session")
def export_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[config.Params], None]:
    """The stage `export` in the current project; models of equal weights and calibration have it run once."""
    kept = tmp_path_factory.mktemp("exports")

    def run(params: config.Params) -> None:
        own = kept / sha256_file(Path("models/calibration.json"))
        if not own.exists():
            export(params)
            shutil.copytree("models/export", own)
        shutil.copytree(own, "models/export", dirs_exist_ok=True)

    return run


def _network(seed: int, folder: Path) -> None:
    """A network of random weights."""
    torch.manual_seed(seed)
    trunk = empty_trunk("test_resnet", {})
    model = TransferModel(trunk, feature_count(trunk, SIZE))
    torch.nn.init.normal_(model.head.logits.weight)
    save_model(model, folder, Path("models/backbone"), {})
