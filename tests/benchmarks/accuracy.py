"""How well each way of training does with few and many patients, on a workspace's prepared slices.

    python -m tests.benchmarks.accuracy WORKSPACE [--sizes 4 8 16 0] [--seeds 1 2 3] [--folds 5] [--out FOLDER]
        [--only plain probe finetuned scratch] [--share 0/2] [--set finetune.warmup=0.1 ...] [--table]

WORKSPACE is a checkout in which `dvc repro backbone prepare` has run. Patient-grouped folds, dealt anew by each seed; a
fifth of the patients who are not tested validate, and of the others SIZE are drawn to train on (0: all). Each is
trained by four ways: a plain PyTorch loop (`loops.plain`), the logistic probe on frozen features, fine-tuning as
params.yaml says, and the control from random weights. Whatever is chosen (epochs, the probe's regularisation) is chosen
without the tested patients.

Every result is a file in the output folder, so that a run that was stopped goes on where it was, and `--share I/N` does
the I-th of N parts. The table: AUROC of the tested units by seed (all folds together), mean and spread over the seeds,
and the differences with patient-bootstrap intervals, each patient's units of all seeds drawn together.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold

from pipeline import config
from pipeline.clinical.units import units_of
from pipeline.config import Params
from pipeline.files import read_csv, write_csv
from pipeline.inference.pooling import pool, pool_mean
from pipeline.params import update
from pipeline.training_config import Phase
from pipeline.transfer import probe
from pipeline.transfer.batches import bags_of
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import TransferModel, from_backbone
from pipeline.transfer.predict import rows as rows_of
from pipeline.transfer.predict import run
from pipeline.transfer.train import Material, Training
from tests.benchmarks import accuracy_table, loops

WAYS = ("plain", "probe", "finetuned", "scratch")
BACKBONE, PREPARED = Path("models/backbone"), Path("data/prepared")

Index = list[dict[str, str]]


@dataclass(frozen=True)
class Case:
    """One division of the patients: who trains, validates and is tested."""

    seed: int
    fold: int
    size: int
    index: Index

    @property
    def name(self) -> str:
        return f"size{self.size or 'all'}-seed{self.seed}-fold{self.fold}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4, 8, 16, 0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--share", default="0/1")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="parameters, as for pipeline.params")
    parser.add_argument("--plain-rate", type=float, default=3e-4)
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--out", type=Path, default=Path("accuracy"))
    args = parser.parse_args()
    out = args.out.resolve()
    os.chdir(args.workspace)
    params = parameters(args.set)
    part, parts = map(int, args.share.split("/"))
    jobs = [(case, way) for case in cases(params, args) for way in args.only]
    for case, way in [] if args.table else jobs[part::parts]:
        path = out / way / f"{case.name}.csv"
        if not path.exists():
            found = result(params, case, way, args.plain_rate)
            write_csv(path, found[0], found)
    if parts == 1:
        accuracy_table.show(out, args.sizes, args.only, params)


def parameters(assignments: list[str]) -> Params:
    """The workspace's params.yaml with some values set; the file stays as it is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy("params.yaml", folder))
        update(path, assignments)
        return config.load(path)


def cases(params: Params, args: argparse.Namespace) -> list[Case]:
    """All divisions, the small ones first."""
    index = read_csv(PREPARED / "slices.csv")
    labels = np.array([row["label"] for row in index])
    patients = np.array([row["patient"] for row in index])
    found = []
    for seed in args.seeds:
        outer = StratifiedGroupKFold(args.folds, shuffle=True, random_state=seed)
        for fold, (rest, test) in enumerate(outer.split(labels, labels, patients)):
            inner = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
            train, val = next(iter(inner.split(rest, labels[rest], patients[rest])))
            side = dict.fromkeys(patients[test], "test") | dict.fromkeys(patients[rest[val]], "val")
            order = np.random.default_rng([seed, fold]).permutation(sorted(set(patients[rest[train]])))
            for size in args.sizes:
                drawn = side | dict.fromkeys(order[: size or None].tolist(), "train")
                rows = [row | {"split": drawn.get(row["patient"], "unused")} for row in index]
                found.append(Case(seed, fold, size, rows))
    return sorted(found, key=lambda case: case.size or np.inf)


def result(params: Params, case: Case, way: str, plain_rate: float) -> list[dict[str, object]]:
    """Train one way on one case; a row for each tested unit."""
    begin = time.monotonic()
    slices = np.load(PREPARED / "slices.npy", mmap_mode="r")
    test = units_of(case.index, "test")
    if way == "probe":
        chosen, logits = _probe(params, case, slices)
    else:
        chosen, model = _trained(params, case, way, slices, plain_rate)
        logits = pool(rows_of(model, slices[test.rows]), test.slice_units, model.head.pooling)[1][:, 0]
    facts = {"val_auroc": round(chosen, 6), "seconds": round(time.monotonic() - begin, 1)}
    rows = zip(test.ids, test.patients, test.labels[:, 0], logits, strict=True)
    print(f"{way} {case.name}: validation {chosen:.3f}, {facts['seconds']} s", flush=True)
    return [
        {"unit": unit, "patient": patient, "label": int(label), "logit": round(float(logit), 6), **facts}
        for unit, patient, label, logit in rows
    ]


def _probe(params: Params, case: Case, slices: np.ndarray) -> tuple[float, np.ndarray]:
    """The probe's cross-validated AUROC on training patients, and logits of the tested units."""
    model = from_backbone(BACKBONE, params.prepare.size, 0.0, pretrained=True)
    train, test = units_of(case.index, "train"), units_of(case.index, "test")
    pooled = [
        pool_mean(run(model.trunk, slices[units.rows], 64, "features"), units.slice_units)[1] for units in (train, test)
    ]
    targets, patients = train.labels.astype(np.float32), np.array(train.patients)
    fitted, facts = probe.fit(pooled[0], targets, "binary", patients, params.features.probe_c, params.seed)
    return facts["cv_auroc"], fitted.logits(pooled[1])[:, 0]


def _trained(
    params: Params, case: Case, way: str, slices: np.ndarray, plain_rate: float
) -> tuple[float, TransferModel]:
    """The best validation AUROC and the model that had it."""
    settings, size, targets = params.finetune, params.prepare.size, params.data.targets
    torch.manual_seed(case.seed)
    model = from_backbone(
        BACKBONE, size, settings.dropout, pretrained=way != "scratch", pooling=settings.pooling, outputs=targets.outputs
    )
    train, val = (bags_of(slices, case.index, side, targets) for side in ("train", "val"))
    trunk = sum(phase.epochs for phase in settings.phases if phase.trunk != 0)
    if way == "plain":
        given = loops.Setting(train, val, settings, trunk, plain_rate, case.seed)
        auroc, state = loops.best(loops.plain(model, given))
        model.load_state_dict(state)
        return auroc, model.eval()
    phase = Phase(
        name="all", trunk=1, epochs=params.scratch.epochs or trunk, learning_rate=params.scratch.learning_rate
    )
    phases = settings.phases if way == "finetuned" else [phase]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder), way, [], {"case": case.name})
        training = Training(f"{way} {case.name}", model, phases, settings, case.seed, checkpoint)
        return training.run(Material(train, val, targets.kind)).best_auroc, training.model


if __name__ == "__main__":
    main()
