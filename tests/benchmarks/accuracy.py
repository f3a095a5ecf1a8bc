"""How well each way of training does with few and many patients, on a workspace's prepared slices.

    python -m tests.benchmarks.accuracy WORKSPACE [--sizes 4 8 16 0] [--seeds 1 2 3] [--folds 5] [--out FOLDER]
        [--only plain probe finetuned scratch] [--share 0/2] [--set finetune.warmup=0.1 ...] [--plain-set ...] [--table]
        [--store tests/benchmarks/results/accuracy-lgg.npz]

WORKSPACE is a checkout in which `dvc repro backbone prepare` has run. Patient-grouped folds, dealt anew by each seed;
a fifth of the patients who are not tested validate, and of the others SIZE are drawn to train on (0: all). Each is
trained by four ways: a plain PyTorch loop (`loops.plain`; flips and rotations, every slice once an epoch, and the
batches, epochs and precision of params.yaml), the logistic probe on the frozen layer of the highest validation AUROC,
fine-tuning as params.yaml says, and the control from random weights. Whatever is chosen is chosen without the tested
patients.

Every result is a file in the output folder, with validation units beside the tested ones, so that a run that was
stopped goes on where it was, and `--share I/N` does the I-th of N parts. `settings.json` there says what they were
measured with; other settings are refused. `--store` lays out what a store holds before, and collects the folder in it
after (`accuracy_store`): so what took hours elsewhere counts, and `--table` prints it. The table: AUROC of the tested
units by seed (mean of its folds), mean and spread over the seeds, and the differences with patient-bootstrap intervals,
each patient's units of all seeds drawn together. The files hold the logits of each slice by itself. Where slices are
labelled there are two tables: as answered, where all but the plain loop answer for a slice with its neighbours
(`calibrate.neighbours_sd`), and every slice by itself, which compares ways of training alone.
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
from pipeline.clinical.pooling import pool
from pipeline.clinical.units import units_of
from pipeline.config import Params
from pipeline.files import read_csv, sha256_file, write_csv
from pipeline.params import update
from pipeline.stages.scratch import control
from pipeline.transfer.batches import bags_of
from pipeline.transfer.candidates import Material, examine, of_stage
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import TransferModel, from_backbone
from pipeline.transfer.predict import rows as rows_of
from pipeline.transfer.train import Material as Trained
from pipeline.transfer.train import Training
from pipeline.transfer.transferability import side_of
from tests.benchmarks import accuracy_store, accuracy_table, loops, settings

#: What differs in the plain loop from params.yaml.
PLAIN = ["finetune.augment={flip_chance: 0.5, rotation_deg: 12.0}", "finetune.least_steps=1"]
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
    parser.add_argument("--plain-set", nargs="+", default=PLAIN, metavar="KEY=VALUE", help="of the plain loop alone")
    parser.add_argument("--table", action="store_true", help="only print what is there")
    parser.add_argument("--out", type=Path, default=Path("accuracy"))
    parser.add_argument("--store", type=Path, help="file of results to begin with and to add to")
    args = parser.parse_args()
    out, store = args.out.resolve(), args.store and args.store.resolve()
    os.chdir(args.workspace)
    params, plain = parameters(args.set), parameters([*args.set, *args.plain_set])
    if store or not args.table:
        asked = {"folds": args.folds, "plain_rate": args.plain_rate, "plain_set": args.plain_set}
        settings.require_same(out, settings.of(params, **asked))
    part, parts = map(int, args.share.split("/"))
    divisions = cases(params, args)
    if store:
        accuracy_store.lay_out(store, out, {case.name: case.index for case in divisions})
    jobs = [(case, way) for case in divisions for way in args.only]
    for case, way in [] if args.table else jobs[part::parts]:
        path = out / way / f"{case.name}.csv"
        if not path.exists():
            found = result(plain if way == "plain" else params, case, way, args.plain_rate)
            write_csv(path, found[0], found)
    if store and not args.table:
        accuracy_store.collect(out, store, WAYS)
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
    sides = {side: units_of(case.index, side) for side in ("val", "test")}
    if way == "probe":
        chosen, logits = _probe(params, case, slices)
    else:
        chosen, model = _trained(params, case, way, slices, plain_rate)
        logits = {
            side: pool(rows_of(model, slices[units.rows]), units.slice_units, model.head.pooling)[1][:, 0]
            for side, units in sides.items()
        }
    facts = {"val_auroc": round(chosen, 6), "seconds": round(time.monotonic() - begin, 1)}
    print(f"{way} {case.name}: validation {chosen:.3f}, {facts['seconds']} s", flush=True)
    return [
        {"side": side, "unit": unit, "patient": patient, "label": int(label), "logit": round(float(logit), 6), **facts}
        for side, units in sides.items()
        for unit, patient, label, logit in zip(units.ids, units.patients, units.labels[:, 0], logits[side], strict=True)
    ]


def _probe(params: Params, case: Case, slices: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """Validation AUROC of the probe on the layer that has most of it, and logits of both sides' units."""
    rows, encode = case.index, params.data.targets.encode
    train, val = (side_of(rows, side, encode) for side in ("train", "val"))
    material = Material(slices, sha256_file(PREPARED / "slices.npy"), train, val, params.data.task)
    found = examine(of_stage(BACKBONE), material, params.features, params.cache("features"), params.seed, None)
    logits = {}
    for side in ("val", "test"):
        logits[side] = found.best.probe.logits(side_of(rows, side, encode).means(found.features))[:, 0]
    return found.best.figures["val_auroc"], logits


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
    if way == "plain":
        given = loops.Setting(train, val, settings, settings.control_epochs, plain_rate, case.seed)
        auroc, state = loops.best(loops.plain(model, given))
        model.load_state_dict(state)
        return auroc, model.eval()
    phases, settings = (settings.phases, settings) if way == "finetuned" else control(params)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Checkpoint(Path(folder), way, [], {"case": case.name})
        training = Training(f"{way} {case.name}", model, phases, settings, case.seed, checkpoint)
        return training.run(Trained(train, val, targets.kind)).kept_auroc, training.model


if __name__ == "__main__":
    main()
