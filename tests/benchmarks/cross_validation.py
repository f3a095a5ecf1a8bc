"""Patient-grouped cross-validation of probe, fine-tuned and scratch on a workspace's prepared slices.

    python -m tests.benchmarks.cross_validation WORKSPACE [--folds 5] [--out FOLDER]
    python -m tests.benchmarks.cross_validation WORKSPACE --test-sites CS EZ [--out FOLDER]

WORKSPACE is a checkout in which `dvc repro features` has run, for example on the reader's own data. Each fold's
patients are predicted by models that never saw them; a fifth of the other patients chooses epochs. Every fold's
predictions are kept in the output folder, so that a run that was stopped goes on where it was. Nothing is tuned here:
the settings are those of the workspace's params.yaml. Prints AUROC over all units, patient-clustered intervals.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from pipeline import config
from pipeline.clinical import metrics, resampling, units
from pipeline.config import Params
from pipeline.files import read_csv, write_csv
from pipeline.inference.pooling import pool_mean
from pipeline.training_config import Phase
from pipeline.transfer import probe
from pipeline.transfer.batches import units_of
from pipeline.transfer.checkpoint import Checkpoint
from pipeline.transfer.model import from_backbone
from pipeline.transfer.predict import slice_logits
from pipeline.transfer.train import Material, Training

MODELS = ("probe", "finetuned", "scratch")
BACKBONE = Path("models/backbone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--test-sites", nargs="*", help="one division: these sites are tested, the others trained on")
    parser.add_argument("--only", type=int, nargs="*", help="run these folds and print no table: to share the work out")
    parser.add_argument("--out", type=Path, default=Path("cross_validation"))
    args = parser.parse_args()
    out = args.out.resolve()
    os.chdir(args.workspace)
    params = config.load()
    index = read_csv(Path("data/prepared/slices.csv"))
    divisions = by_site(index, args.test_sites) if args.test_sites else by_fold(index, args.folds, params.seed)
    for number, division in enumerate(divisions):
        path = out / f"fold{number}.csv"
        if not path.exists() and (args.only is None or number in args.only):
            write_csv(path, ["unit", "patient", "label", *MODELS, "seconds"], run(params, index, division, number))
    if args.only is None:
        table([read_csv(out / f"fold{number}.csv") for number in range(len(divisions))], params)


def by_fold(index: list[dict[str, str]], folds: int, seed: int) -> list[dict[str, str]]:
    """For each fold, the side of each patient."""
    labels = [int(row["label"]) for row in index]
    patients = np.array([row["patient"] for row in index])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return [sides(patients, patients[test], labels, seed) for _, test in splitter.split(patients, labels, patients)]


def by_site(index: list[dict[str, str]], test_sites: list[str]) -> list[dict[str, str]]:
    """One division: the patients of these sites on the test side."""
    site = {row["patient"]: row["site"] for row in read_csv(Path("data/ingested/labels.csv"))}
    patients = np.array([row["patient"] for row in index])
    tested = np.array([patient for patient in site if site[patient] in test_sites])
    return [sides(patients, tested, [int(row["label"]) for row in index], config.load().seed)]


def sides(patients: np.ndarray, tested: np.ndarray, labels: list[int], seed: int) -> dict[str, str]:
    """A fifth of the patients who are not tested become validation patients."""
    rest = ~np.isin(patients, tested)
    groups = patients[rest]
    inner = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    _, val = next(iter(inner.split(groups, np.array(labels)[rest], groups)))
    validated = set(groups[val])
    known = set(tested)
    return {name: "test" if name in known else "val" if name in validated else "train" for name in set(patients)}


def run(params: Params, index: list[dict[str, str]], division: dict[str, str], number: int) -> list[dict[str, object]]:
    """Train the three models on one division and predict its test units."""
    rows = [row | {"split": division[row["patient"]]} for row in index]
    slices = np.load("data/prepared/slices.npy", mmap_mode="r")
    features = np.load("data/features/features.npy", mmap_mode="r")
    test = np.array([row["split"] == "test" for row in rows])
    tested = [row["unit"] for row, chosen in zip(rows, test, strict=True) if chosen]
    begin = time.monotonic()
    names, found = pool_mean(fit_probe(params, rows, features).logits(features[test])[:, 0], tested)
    scores = {"probe": found}
    material = Material(
        units_of(slices, rows, "train"),
        units_of(slices, rows, "val"),
        units_of(features, rows, "train"),
        units_of(features, rows, "val"),
    )
    scratch = Phase(name="all", trunk=1, epochs=params.scratch.epochs, learning_rate=params.scratch.learning_rate)
    for name, phases in (("finetuned", params.finetune.phases), ("scratch", [scratch])):
        torch.manual_seed(params.seed)
        model = from_backbone(BACKBONE, params.prepare.size, params.finetune.dropout, pretrained=name == "finetuned")
        checkpoint = Checkpoint(params.cache("cross_validation"), name, [], {"fold": number, "sides": division})
        training = Training(f"fold {number} {name}", model, phases, params.finetune, params.seed, checkpoint)
        training.run(material if name == "finetuned" else Material(material.train, material.val))
        checkpoint.remove()
        scores[name] = pool_mean(slice_logits(training.model, slices[test]), tested)[1]
    facts = {row["unit"]: row for row in rows}
    seconds = round(time.monotonic() - begin, 1)
    return [
        {"unit": name, "patient": facts[name]["patient"], "label": facts[name]["label"], "seconds": seconds}
        | {model: round(float(scores[model][place]), 6) for model in MODELS}
        for place, name in enumerate(names)
    ]


def fit_probe(params: Params, rows: list[dict[str, str]], features: np.ndarray) -> probe.Probe:
    train = units.units_of(rows, "train")
    _, pooled = pool_mean(features[train.rows], train.slice_units)
    targets = train.labels[:, None].astype(np.float32)
    return probe.fit(pooled, targets, "binary", np.array(train.patients), params.features.probe_c, params.seed)[0]


def table(folds: list[list[dict[str, str]]], params: Params) -> None:
    """AUROC of each model and the paired differences, patient-clustered bootstrap; and the mean of the folds' AUROCs.

    Logits of folds are pooled as they are, though each fold's model has its own scale: the mean of the folds' own
    AUROCs stands beside, which does not depend on that.
    """
    rows = [row for fold in folds for row in fold]
    labels = np.array([int(row["label"]) for row in rows])
    patients = [row["patient"] for row in rows]
    draws = resampling.draw(patients, params.validate_.bootstrap, params.validate_.confidence, params.seed)
    scores = {name: np.array([float(row[name]) for row in rows]) for name in MODELS}
    print(f"{len(rows)} units, {int(labels.sum())} positive, {len(set(patients))} patients")
    for name in MODELS:
        found = metrics.auroc(labels, scores[name], draws)
        each = [
            roc_auc_score([int(row["label"]) for row in fold], [float(row[name]) for row in fold]) for fold in folds
        ]
        print(
            f"AUROC {name:9} {found.value:.3f} ({found.low:.3f} to {found.high:.3f}), mean of folds {np.mean(each):.3f}"
        )
    for other in ("probe", "scratch"):
        gap = metrics.auroc_difference(labels, scores["finetuned"], scores[other], draws)
        print(f"finetuned - {other:9} {gap.value:+.3f} ({gap.low:+.3f} to {gap.high:+.3f})")
    print(f"seconds: {sum(float(fold[0]['seconds']) for fold in folds):.0f}")


if __name__ == "__main__":
    main()
