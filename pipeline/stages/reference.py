"""Stage `reference`: studies of every side -> data/reference.npz, what new ones are compared with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.clinical import calibration
from pipeline.config import Params
from pipeline.engine.confirm import chosen
from pipeline.files import read_csv, read_json
from pipeline.imaging import nifti
from pipeline.monitoring import reference as references
from pipeline.monitoring.observation import Model, observe
from pipeline.monitoring.schema import Observed
from pipeline.progress import say, track
from pipeline.stages import runner

INGESTED, SPLIT = Path("data/ingested"), Path("data/split.csv")
MODEL, CALIBRATION = Path("models/finetuned/model.safetensors"), Path("models/calibration.json")
EXPORT, OUT = Path("models/export"), Path("data/reference.npz")
#: Patients of a side that are looked at, at most, evenly spread: more make no better reference, and each is read anew.
MOST = 500

Volumes = Sequence[Mapping[str, str]]


def reference(params: Params) -> None:
    """Answer for one study of each patient as a box does, and keep its scores.

    No label is read, and nothing is chosen by what comes out; test patients were opened by `validate` before.

    Raises:
        ContractError: the calibration was changed, or is that of another model or split.
        DataError: too few patients.
        EngineError: this machine cannot run the rung of the precision ladder that was chosen.
    """
    fixed = calibration.read(CALIBRATION, MODEL, SPLIT)
    model = Model(chosen(EXPORT, fixed.model_sha256), params.prepare, fixed, params.data.label_level)
    studies = _studies()
    seen: dict[str, list[Observed]] = {"train": [], "val": [], "test": []}
    for side, volumes in track(studies, "reference", len(studies)):
        first = volumes[0]
        strength = float(first["field_strength_t"]) if first["field_strength_t"] else None
        read = [nifti.load(Path(row["path"])) for row in volumes]
        seen[side].append(observe(model, first["vendor"], strength, read))
    graph = read_json(EXPORT / "parity.json")["onnx_sha256"]
    made = references.make(graph, model.backend.name, seen["train"], [*seen["val"], *seen["test"]])
    made.save(OUT)
    say(f"reference: {OUT}, {len(made.studies)} studies of validation and test patients")


def _studies() -> list[tuple[str, Volumes]]:
    """The side and the volumes of one study of each patient, the first by its pseudonym."""
    sides = {row["patient"]: row["split"] for row in read_csv(SPLIT)}
    rows = sorted(read_csv(INGESTED / "index.csv"), key=lambda row: (row["patient"], row["study"], row["series"]))
    volumes: dict[str, list[Mapping[str, str]]] = defaultdict(list)
    for row in rows:
        of_patient = volumes[row["patient"]]
        if not of_patient or of_patient[0]["study"] == row["study"]:
            of_patient.append(row)
    found: list[tuple[str, Volumes]] = []
    for side in ("train", "val", "test"):
        patients = [patient for patient in volumes if sides.get(patient) == side]
        step = -(-len(patients) // MOST) or 1
        found += [(side, volumes[patient]) for patient in patients[::step]]
    return found


if __name__ == "__main__":
    runner.run("reference", reference)
