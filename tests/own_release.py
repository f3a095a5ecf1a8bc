"""A project that went from its backbone to a release, by the stages themselves."""

from __future__ import annotations

from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import config
from pipeline.contract import Calibration
from pipeline.files import sha256_file, write_atomic, write_csv, write_json
from pipeline.stages.backbone import backbone
from pipeline.stages.export import export
from pipeline.stages.release import release
from pipeline.training_config import Backbone
from pipeline.transfer.model import from_backbone, save_model
from tests import compiled, embedded_backbone, observed

SIZE = 32
DATA = {"source": "Hospital B", "licence": "CC BY 4.0", "positive": "bleeding"}


def params(root: Path, *, data: dict[str, Any] | None = None, size: int = SIZE, **section: Any) -> config.Params:
    """The shipped parameters for small pictures, with this section `backbone`; of the embedded one by default."""
    shipped = config.load(root / "params.yaml")
    embedded = {"name": embedded_backbone.NAME, "options": embedded_backbone.OPTIONS, "weights": "embedded"}
    chosen = Backbone.model_validate({**embedded, "file": Path("models/weights"), **section})
    return shipped.model_copy(
        update={
            "backbone": chosen,
            "prepare": shipped.prepare.model_copy(update={"size": size}),
            "data": shipped.data.model_copy(update=data or {}),
        }
    )


def make(project: Path, chosen: config.Params, name: str) -> Path:
    """Backbone, a little training, export and release in the folder `project`; returns the release."""
    project.mkdir(parents=True, exist_ok=True)
    with chdir(project):
        if chosen.backbone.weights == "embedded":
            embedded_backbone.make(Path())
        backbone(chosen)
        _train(chosen.prepare.size)
        write_csv(Path("data/split.csv"), ["unit"], [])
        calibrate(temperature=1, threshold=0.5)
        export(chosen)
        _evidence()
        release(chosen.model_copy(update={"release": chosen.release.model_copy(update={"name": name})}))
    return project / "models/release"


def _train(size: int) -> None:
    """Slices, and a few steps on them, so that the trunk is no longer the backbone's."""
    slices = np.random.default_rng(0).integers(0, 255, (12, size, size)).astype(np.uint8)
    write_atomic(Path("data/prepared/slices.npy"), lambda handle: np.save(handle, slices))
    sides = ["val"] * 8 + ["train"] * 4
    rows = [
        {"series": f"S{n}", "slice_index": 0, "unit": f"S{n}", "patient": f"P{n}", "label": n % 2, "split": side}
        for n, side in enumerate(sides)
    ]
    write_csv(Path("data/prepared/slices.csv"), rows[0], rows)
    torch.manual_seed(2)
    model = from_backbone(Path("models/backbone"), size, 0.0, pretrained=True).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    values, labels = torch.from_numpy(slices)[:, None] / 255, torch.tensor([row["label"] for row in rows]).float()
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(model(values)[:, 0], labels).backward()
        optimizer.step()
    save_model(model, Path("models/finetuned"), Path("models/backbone"), {})


def calibrate(**given: Any) -> None:
    """What the stage would have written for the fine-tuned model and the split that are there."""
    model, split = (sha256_file(Path(path)) for path in ("models/finetuned/model.safetensors", "data/split.csv"))
    found = Calibration(rule="youden", model_sha256=model, split_sha256=split, **given)
    write_json(Path("models/calibration.json"), found.record())


def _evidence() -> None:
    """What the other stages between would have found."""
    criterion = {"metric": "m", "bound": "at least 0", "value": 1.0, "passed": True, "reason": None}
    write_json(Path("reports/metrics.json"), {})
    write_json(Path("reports/acceptance.json"), {"accepted": True, "criteria": [criterion]})
    onnx_sha256 = sha256_file(Path("models/export/model.onnx"))
    observed.write(Path("data/reference.npz"), onnx_sha256)
    write_json(
        Path("models/engine/compile.json"),
        compiled.record(Path("models/engine"), onnx_sha256, sha256_file(Path("models/finetuned/model.safetensors"))),
    )
